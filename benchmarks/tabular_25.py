"""RL² on random MDPs, 25 episodes, beside the classical baselines; the paper's RL² has 445.7."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks._rl2 import tabular_scores
from benchmarks.harness import Figure


def run(seed: int) -> Mapping[str, Figure]:
    """Total reward of 25 episodes by name; `oracle` knows the MDP."""
    return tabular_scores("tabular_25", episodes=25, seed=seed)
