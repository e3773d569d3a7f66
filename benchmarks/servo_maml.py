"""Every controller of servos on servos that training never saw, over five trainings of each: eight seconds and one or
two steps, a memory, the robust policy, an oracle with a memory, and a tuned PID.

`benchmarks._servos` says what is trained and where, and what the intervals are over.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from acclimate.fields import Json
from acclimate.stats import Floats

from benchmarks._servos import DEVICES, PRESETS, SEEDS, Table, Trained, compared, evaluated, policies
from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

OTHERS = ("rl2", "robust", "rl2_oracle")
ADAPTIVE = ("maml_0", "maml_1", "maml_2", "guarded", "rl2")


def run(seed: int) -> Mapping[str, Figure]:
    """PRESET.CONTROLLER.MEASURE: error (rad), the RMS over 4 episodes of 1 s on each servo, from the first tick on;
    chatter, energy, saturated; gap_closed, regret (rad) and worse_by_10_percent."""
    seeds = range(seed, seed + SEEDS)
    policies(seeds)
    out: dict[str, Figure] = {}
    dots: dict[str, Json] = {}
    for preset in PRESETS:
        reports = [after_steps(preset, s) for s in seeds]
        table = Table(reports)
        out |= {f"{preset}.{name}": figure for name, figure in compared(table, ADAPTIVE).items()}
        dots[preset] = {name: _rounded(table.values(name, "error")) for name in table.controllers}
    keep_plot("servo_maml", {"errors": dots})
    return out


def after_steps(preset: str, seed: int) -> Mapping[str, Json]:
    """The report of one training of each."""
    main = Trained(preset, "maml", seed)
    return evaluated(main, main.beside(*OTHERS), "steps", "--devices", str(DEVICES))


def _rounded(values: Floats) -> Json:
    numbers: Json = np.round(values, 5).tolist()
    return numbers
