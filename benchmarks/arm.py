"""The arm over the wire: two actuators, unknown payload, gains and wiring, on held-out arms of richer friction.

Robust policy, MAML after 0, 1 and 2 steps, RL², student, the recurrent oracle, and a PID tuned by search on each joint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks._compared import bundles_of, compared
from benchmarks.harness import Figure

FOLDER = Path("runs/bench/arm")
MACHINES = 48
CONFIGS = {name: f"arm_{name}" for name in ("robust", "rl2_oracle", "oracle", "rl2", "maml", "student")}


def run(seed: int) -> Mapping[str, Figure]:
    """CONTROLLER.METRIC, with intervals over arms; and what share of the robust-to-oracle gap each closes."""
    bundles = bundles_of(CONFIGS, FOLDER)
    return compared(bundles, ("rl2", "maml", "student"), MACHINES, seed)
