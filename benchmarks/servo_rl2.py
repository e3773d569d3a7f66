"""How soon each controller of servos is good, after a start and a change in mid-drive, over five trainings of each; and
a minute of driving with a change in the middle of it.

`benchmarks._servos` says what is trained and where, and what the intervals are over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.fields import Json
from acclimate.stats import mean_interval
from acclimate_bridge.evaluation.courses import Course, drive_main
from acclimate_bridge.evaluation.evaluation import Plan, Work, on_all, open_plan
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.plant import END_STOP
from acclimate_demo.report import ALL, Row, mapping, number, rows_of

from benchmarks._servos import CORES, MACHINES_SEED, PRESETS, SEEDS, SERVOS, Trained, evaluated, policies
from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

OTHERS = ("maml", "robust", "rl2_oracle")
CHANGES = {"wide": ("payload", "supply"), "miswired": ("polarity",)}
DEVICES, SECONDS = 8, 24  # of each servo; of driving, with the change in the middle
LONG = {"wide": Course(60.0, "payload", 30.0), "miswired": Course(60.0, "polarity", 30.0)}
_AT_STOP = 0.02  # rad from it
_ALLOWED = 1.0  # s at an end stop


def run(seed: int) -> Mapping[str, Figure]:
    """PRESET.CHANGE.SINCE.FROM_to_TO.CONTROLLER.MEASURE: error (rad) and chatter, means over servos with intervals over
    trainings; gap_closed from 1 s on. PRESET.long.…: RL² for a minute, a payload dropped or wires swapped after half."""
    seeds = range(seed, seed + SEEDS)
    policies(seeds)
    out: dict[str, Figure] = {}
    shown: list[Json] = []
    for preset, changes in CHANGES.items():
        for change in changes:
            options = ("--devices", str(DEVICES), "--seconds", str(SECONDS), "--change", change)
            mains = [Trained(preset, "rl2", s) for s in seeds]
            reports = [evaluated(main, main.beside(*OTHERS), change, *options) for main in mains]
            out |= dict(_figures(preset, change, reports))
            shown.append(_curves(reports[0]))
    keep_plot("servo_rl2", {"reports": shown})
    for preset in PRESETS:
        out |= dict(_long(preset, seeds))
    return out


def _curves(report: Mapping[str, Json]) -> dict[str, Json]:
    """What a picture shows of a report: of the first training."""
    curves: Json = [point for point in rows_of(report, "curves") if point["machine"] == ALL]
    return {**{name: report[name] for name in ("metric", "unit", "change")}, "curves": curves}


def _figures(preset: str, change: str, reports: Sequence[Mapping[str, Json]]) -> Iterator[tuple[str, Figure]]:
    found: dict[str, list[float]] = {}
    for report in reports:
        for row in rows_of(report, "summary"):
            if row["machine"] == ALL:
                name = f"{preset}.{change}.{_span(row)}.{row['controller']}"
                found.setdefault(f"{name}.error", []).append(number(row["mean"]))
                chatter = mapping(mapping(row["beside"])["chatter"])
                found.setdefault(f"{name}.chatter", []).append(number(chatter["mean"]))
        for row in rows_of(report, "gap_closed"):
            if row["controller"] in ("rl2", "maml") and row["share"] is not None and row["from"] != 0:
                name = f"{preset}.{change}.{_span(row)}.{row['controller']}.gap_closed"
                found.setdefault(name, []).append(number(row["share"]))
    for name, values in found.items():
        yield name, mean_interval(values)


def _span(row: Row) -> str:
    """Such as change.1_to_12."""
    return f"{row['since']}.{number(row['from']):g}_to_{number(row['to']):g}"


class Long(NamedTuple):
    """A minute on one servo: RMS error of every 5 s (rad), and the longest stretch at an end stop, s."""

    error: tuple[float, ...]
    at_stop: float


def _long(preset: str, seeds: Sequence[int]) -> Iterator[tuple[str, Figure]]:
    found = [list(_minute(Trained(preset, "rl2", seed).bundle, LONG[preset])) for seed in seeds]
    for k in range(len(found[0][0].error)):
        errors = [float(np.sqrt(np.mean([each.error[k] ** 2 for each in drives]))) for drives in found]
        yield f"{preset}.long.{5 * k}_to_{5 * k + 5}.rl2.error", mean_interval(errors)
    stuck = [float(np.mean([each.at_stop > _ALLOWED for each in drives])) for drives in found]
    yield f"{preset}.long.rl2.at_end_stop_over_1_s", mean_interval(stuck)
    yield f"{preset}.long.rl2.longest_at_end_stop_s", max(each.at_stop for drives in found for each in drives)


def _minute(bundle: Path, course: Course) -> Iterator[Long]:
    plan = Plan(bundle, ServoFleet.of(SERVOS), against=(), machines=DEVICES, seed=MACHINES_SEED)
    yield from on_all(Work(plan, partial(_drive, course)), open_plan(plan), CORES, None)


def _drive(course: Course, contest: Contest, place: Place) -> Long:
    obs = drive_main(course, contest, place).obs
    position, wanted = (obs[1:, contest.task.index(name)] for name in ("position", "target"))
    part = round(5.0 / contest.task.control_dt)
    squares = np.square(position - wanted).reshape(-1, part).mean(1)
    stopped = (np.abs(position) > END_STOP - _AT_STOP).tolist()
    longest = max((len([*run]) for at_stop, run in groupby(stopped) if at_stop), default=0)
    return Long(tuple(map(float, np.sqrt(squares))), longest * contest.task.control_dt)
