"""RL² on bandits of 10 arms, 100 pulls, beside the classical baselines; the paper's RL² has 83.5."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks._rl2 import bandit_scores
from benchmarks.harness import Figure

TASKS = 50_000


def run(seed: int) -> Mapping[str, Figure]:
    """Total reward of 100 pulls by name."""
    return bandit_scores("bandit_100_10", arms=10, pulls=100, tasks=TASKS, seed=seed)
