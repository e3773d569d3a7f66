"""Identify, then control, on servos that training never saw: beside MAML, RL², the robust
policy, the oracle with a memory, a tuned PID, and a PID tuned on each servo alone.

`benchmarks._servos` says what is trained and where, and what the intervals are over.
"""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.fields import Json
from acclimate.stats import mean_interval
from acclimate_bridge.evaluation.rig import GUARDED, PID_TUNED
from acclimate_demo.report import mapping, rows_of

from benchmarks._servos import (
    DEVICES,
    POLICIES,
    PRESETS,
    Table,
    Trained,
    compared,
    evaluated,
    policies,
)
from benchmarks.harness import Figure
from benchmarks.servo_maml import OTHERS

TRAININGS = 3
ADAPTIVE = ("identify_0", "identify_1", "identify_2", "rl2")


def run(seed: int) -> Mapping[str, Figure]:
    """PRESET.CONTROLLER.MEASURE as in `servo_maml`; identify_K after K windows of 8 s. Of pid_tuned, the PID that is
    tuned on each servo alone and knows nothing of trainings, intervals are over servos."""
    seeds = range(seed, seed + TRAININGS)
    policies(seeds, (*POLICIES, "identify"))
    out: dict[str, Figure] = {}
    for preset in PRESETS:
        first, *others = (_report(preset, s, tune=s == seed) for s in seeds)
        table = Table([_without(first, PID_TUNED), *others])
        out |= {f"{preset}.{name}": figure for name, figure in compared(table, ADAPTIVE).items()}
        out |= {
            f"{preset}.{after}.worse_by_10_percent": table.worse_by_10_percent("identify_0", after)
            for after in ("identify_1", "identify_2", GUARDED)  # the guard is that of identify here
        }
        tuned = Table([first])
        for measure in ("error", "chatter", "energy", "saturated"):
            out[f"{preset}.{PID_TUNED}.{measure}"] = mean_interval(tuned.values(PID_TUNED, measure)[0])
    return out


def _report(preset: str, seed: int, *, tune: bool) -> Mapping[str, Json]:
    main = Trained(preset, "identify", seed)
    label, options = ("steps_tuned", ("--tune-pid",)) if tune else ("steps", ())
    return evaluated(main, main.beside("maml", *OTHERS), label, "--devices", str(DEVICES), *options)


def _without(report: Mapping[str, Json], controller: str) -> dict[str, Json]:
    machines: list[Json] = []
    for row in rows_of(report, "machines"):
        figures = {name: each for name, each in mapping(row["figures"]).items() if name != controller}
        machines.append({**row, "figures": figures})
    return {**report, "machines": machines}
