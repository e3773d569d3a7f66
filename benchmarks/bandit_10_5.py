"""RL² on bandits of 5 arms, 10 pulls: its share of what is possible at all, beside the classical baselines."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks._rl2 import bandit_scores, share_of_optimum
from benchmarks.harness import Figure

TASKS = 50_000


def run(seed: int) -> Mapping[str, Figure]:
    """Total reward of 10 pulls by name; `share_of_optimum`: that of `rl2` over the exact Bayes-optimal value."""
    figures = bandit_scores("bandit_10_5", arms=5, pulls=10, tasks=TASKS, seed=seed)
    return share_of_optimum(figures, arms=5, pulls=10)
