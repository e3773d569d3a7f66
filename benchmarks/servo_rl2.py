"""RL² on servos that training never saw, over the wire: how soon it is good after a start and a change in mid-drive.

Beside MAML's one step, the robust policy, the oracle and the tuned PID. Trains and evaluates in
runs/bench/servo_rl2, and goes on there if it was interrupted; MAML, robust and oracle are those of `servo_maml`,
where that has been run with the same seed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from acclimate.fields import Json
from acclimate.stats import Interval
from acclimate_demo.full import SERVOS, make_bundles
from acclimate_demo.jobs import Job, run_jobs
from acclimate_demo.report import ALL, Row, mapping, number, rows_of

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

CHANGES = {"wide": ("payload", "supply"), "miswired": ("polarity",)}
DEVICES = 16  # per servo
SECONDS = 24  # of driving; the change comes in the middle
OTHERS = Path("runs/bench/servo_maml")
FOLDER = Path("runs/bench/servo_rl2")


def run(seed: int) -> Mapping[str, Figure]:
    """Per preset, change, and time since start or change: each controller's error, rad, and chatter.

    From 1 s on also the share of the robust-to-oracle gap that RL² and MAML close.
    """
    cores = len(os.sched_getaffinity(0))
    make_bundles(OTHERS / f"seed{seed}", seed, cores)
    out = FOLDER / f"seed{seed}"
    (out / "logs").mkdir(parents=True, exist_ok=True)
    _train(out, seed, cores)
    reports = [_evaluate(out, p, change, seed, cores) for p, changes in CHANGES.items() for change in changes]
    keep_plot("servo_rl2", {"reports": [_curves(report) for report in reports]})
    figures: dict[str, Figure] = {}
    for report in reports:
        figures |= _figures(report)
    return figures


def _train(out: Path, seed: int, cores: int) -> None:
    train = [
        Job(preset, ("train", f"servo_{preset}_rl2", "--out", str(out / preset), "--seed", str(seed)),
            out / "logs" / f"train_{preset}.txt")
        for preset in CHANGES
    ]  # fmt: skip
    run_jobs("training", train, cores)
    export = [
        Job(preset, ("export", str(out / preset), "--out", str(out / preset / "rl2.acclimate")),
            out / "logs" / f"export_{preset}.txt")
        for preset in CHANGES
    ]  # fmt: skip
    run_jobs("exporting", export, cores)


def _evaluate(out: Path, preset: str, change: str, seed: int, cores: int) -> dict[str, Json]:
    """The report of `acclimate evaluate --change`."""
    report, others = out / preset / f"{change}.json", OTHERS / f"seed{seed}" / preset
    against = [str(others / f"{name}.acclimate") for name in ("adaptive", "robust", "oracle")]
    arguments = ("evaluate", str(out / preset / "rl2.acclimate"), "--against", *against, "--servo", *SERVOS,
                 "--devices", str(DEVICES), "--seconds", str(SECONDS), "--change", change, "--seed", str(seed),
                 "--jobs", str(cores), "--output", str(report))  # fmt: skip
    job = Job(f"{preset} {change}", arguments, out / "logs" / f"evaluate_{preset}_{change}.txt")
    run_jobs("evaluating", [job], cores)
    read: dict[str, Json] = json.loads(report.read_text(encoding="utf-8"))
    return read


def _curves(report: Mapping[str, Json]) -> dict[str, Json]:
    """What a picture shows of a report."""
    curves: Json = [point for point in rows_of(report, "curves") if point["machine"] == ALL]
    return {**{name: report[name] for name in ("metric", "unit", "change")}, "curves": curves}


def _figures(report: Mapping[str, Json]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for row in rows_of(report, "summary"):
        if row["machine"] == ALL and _told(row):
            name = f"{_place(report, row)}.{row['controller']}"
            figures[f"error.{name}"] = _interval(row)
            figures[f"chatter.{name}"] = _interval(mapping(mapping(row["beside"])["chatter"]))
    for row in rows_of(report, "gap_closed"):
        if (
            row["controller"] in ("rl2", "maml")
            and row["share"] is not None
            and _told(row)
            and row["from"] != 0
        ):
            figures[f"gap_closed.{_place(report, row)}.{row['controller']}"] = number(row["share"])
    return figures


def _interval(of: Row) -> Interval:
    return Interval(number(of["mean"]), number(of["low"]), number(of["high"]), int(number(of["n"])))


def _told(row: Row) -> bool:
    """The first half second, the second second, and all from one second on."""
    return (row["from"], row["to"]) in ((0.0, 0.5), (1.0, 2.0), (1.0, SECONDS / 2))


def _place(report: Mapping[str, Json], row: Row) -> str:
    """Such as wide.payload.change.1_to_12."""
    span = f"{number(row['from']):g}_to_{number(row['to']):g}"
    preset = str(row["family"]).removeprefix("servo ")
    return f"{preset}.{report['change']}.{row['since']}.{span}"
