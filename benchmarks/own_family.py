"""A machine that no package knows, examples/own_family.py, with MAML, RL² and student, over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks._compared import bundles_of, compared
from benchmarks.harness import Figure

FOLDER = Path("runs/bench/own_family")
MACHINES = 48
CONFIGS = {
    name: f"examples/own_family{'' if name == 'maml' else '_' + name}.toml"
    for name in ("robust", "rl2_oracle", "oracle", "rl2", "maml", "student")
}


def run(seed: int) -> Mapping[str, Figure]:
    """CONTROLLER.METRIC, with intervals over machines; and what share of the robust-to-oracle gap each closes."""
    return compared(bundles_of(CONFIGS, FOLDER), ("rl2", "maml", "student"), MACHINES, seed)
