"""Identify, then control, on servos that training never saw: beside MAML, RL², the robust
policy, the oracle with a memory, a tuned PID, and a PID tuned on each servo alone.

`benchmarks._servos` says what is trained and where, and what the intervals are over.
"""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.fields import Json

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
    """PRESET.CONTROLLER.MEASURE as in `servo_maml`; identify_K after K windows of 8 s."""
    seeds = range(seed, seed + TRAININGS)
    policies(seeds, (*POLICIES, "identify"))
    out: dict[str, Figure] = {}
    for preset in PRESETS:
        table = Table([_report(preset, s) for s in seeds])
        out |= {f"{preset}.{name}": figure for name, figure in compared(table, ADAPTIVE).items()}
        out |= {
            f"{preset}.{after}.worse_by_10_percent": table.worse_by_10_percent("identify_0", after)
            for after in ("identify_1", "identify_2")
        }
    return out


def _report(preset: str, seed: int) -> Mapping[str, Json]:
    main = Trained(preset, "identify", seed)
    return evaluated(main, main.beside("maml", *OTHERS), "steps", "--devices", str(DEVICES), "--tune-pid")
