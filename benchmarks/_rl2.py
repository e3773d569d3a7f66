"""What the benchmarks of RL² on bandits and tabular MDPs share: train by the built-in config, score beside the rest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from acclimate.stats import Interval, mean_interval
from acclimate_trainer.algorithms.rl2.ppo import Ppo
from acclimate_trainer.api import train
from acclimate_trainer.baselines import bandit_players, mdp_players
from acclimate_trainer.baselines.bandit_optimum import BanditOptimum
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.tasks.bandit import BanditFamily
from acclimate_trainer.tasks.tabular import TabularFamily, oracle_value

from benchmarks.harness import Figure

FOLDER = Path("runs/bench")
MDPS = 20_000
TRIED = 10_000  # tasks on which it is decided how to play
FEWER = {
    "ots": 4_000,
    "psrl": 3_000,
    "psrl_informed": 3_000,
    "opsrl": 1_500,
    "ucrl2": 1_500,
}  # which compute much
BASELINE_TASKS = 20_000


class Player(Protocol):
    """What has been trained by PPO."""

    def returns(
        self, meta: Tensors, tasks: int, rng: np.random.Generator, *, greedy: bool = True
    ) -> torch.Tensor: ...


def trained(name: str, seed: int) -> tuple[Player, Tensors, float]:
    """Train by the built-in config `name`, or go on where that was interrupted; and how long it took in all, s."""
    out = FOLDER / name / f"seed{seed}"
    run = train(name, out=out, seed=seed).directory
    progress, algorithm = run.load(), algorithm_of(run.config)
    assert progress is not None
    assert isinstance(algorithm, Ppo)
    return algorithm, progress.meta, run.metrics()[-1]["seconds"]


def bandit_scores(name: str, *, arms: int, pulls: int, tasks: int, seed: int) -> dict[str, Figure]:
    """Train, and score RL² on `tasks` bandits, and every classical baseline."""
    figures, family = rl2_scores(name, tasks, seed), BanditFamily(arms, pulls)
    for baseline in bandit_players.BASELINES:
        if baseline != "optimum" or pulls <= 10:  # beyond that no table of all states fits
            figures[baseline] = interval(
                bandit_players.score(baseline, family, _tasks(baseline), np.random.default_rng([seed, 3]))
            )
            print(f"{name}: {baseline} {figures[baseline]}", flush=True)
    return figures


def share_of_optimum(figures: dict[str, Figure], *, arms: int, pulls: int) -> dict[str, Figure]:
    """Add the exact optimum, and the share of it that `rl2` reaches."""
    exact, rl2 = BanditOptimum(arms, pulls).value, figures["rl2"]
    assert isinstance(rl2, Interval)
    share = Interval(rl2.mean / exact, rl2.low / exact, rl2.high / exact, rl2.n)
    return {**figures, "exact_optimum": exact, "share_of_optimum": share}


def tabular_scores(name: str, *, episodes: int, seed: int) -> dict[str, Figure]:
    """Train, and score RL², every classical baseline, and the oracle that knows the MDP."""
    figures, family = rl2_scores(name, MDPS, seed), TabularFamily(episodes)
    for baseline in mdp_players.BASELINES:
        figures[baseline] = interval(
            mdp_players.score(baseline, family, _tasks(baseline), np.random.default_rng([seed, 3]))
        )
        print(f"{name}: {baseline} {figures[baseline]}", flush=True)
    mdps = family.sample(MDPS, np.random.default_rng([seed, 4]))
    figures["oracle"] = interval(oracle_value(mdps, episodes))
    return figures


def _tasks(baseline: str) -> int:
    return FEWER.get(baseline, BASELINE_TASKS)


def rl2_scores(name: str, tasks: int, seed: int) -> dict[str, Figure]:
    """`rl2_sampled` plays as it was trained, `rl2_greedy` takes the likeliest action.

    `rl2` is the way that was better on other tasks; `train_s` is how long training took.
    """
    player, meta, train_s = trained(name, seed)

    def returns(tasks: int, key: int) -> dict[str, Interval]:
        ways = {"rl2_sampled": False, "rl2_greedy": True}
        return {
            way: interval(player.returns(meta, tasks, np.random.default_rng([seed, key]), greedy=greedy))
            for way, greedy in ways.items()
        }

    tried = returns(TRIED, 5)
    better = max(tried, key=lambda way: tried[way].mean)
    found = returns(tasks, 2)
    print(f"{name}: {found}", flush=True)
    return {"train_s": train_s, "rl2": found[better], **found}


def interval(values: Iterable[float]) -> Interval:
    """Mean with its 95 % interval."""
    return mean_interval([float(value) for value in values])
