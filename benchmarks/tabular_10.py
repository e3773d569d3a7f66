"""RL² on random MDPs, 10 episodes, beside the classical baselines; the paper's RL² has 156.2."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks._rl2 import tabular_scores
from benchmarks.harness import Figure


def run(seed: int) -> Mapping[str, Figure]:
    """Total reward of 10 episodes by name; `oracle` knows the MDP."""
    return tabular_scores("tabular_10", episodes=10, seed=seed)
