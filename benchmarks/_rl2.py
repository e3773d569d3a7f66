"""What the benchmarks of RL² on bandits and tabular MDPs share: train by the built-in config, score beside the rest."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import torch
from acclimate.stats import Interval, mean_interval
from acclimate_trainer.algorithms.ppo import Ppo
from acclimate_trainer.contract import Tensors
from acclimate_trainer.run_directory import RunDirectory
from acclimate_trainer.running import algorithm_of, run_training
from numpy.typing import NDArray

from benchmarks.harness import Figure

FOLDER = Path("runs/bench")
Scores: TypeAlias = NDArray[np.float64]


class Player(Protocol):
    """What has been trained by PPO."""

    def returns(
        self, meta: Tensors, tasks: int, rng: np.random.Generator, *, greedy: bool = True
    ) -> torch.Tensor: ...


def trained(name: str, seed: int) -> tuple[Player, Tensors, float]:
    """Train by the built-in config `name`, or go on where that was interrupted; and how long it took in all, s."""
    out = FOLDER / name / f"seed{seed}"
    run_training(
        argparse.Namespace(config=name, out=str(out), seed=seed, iterations=None, fresh=False, json=False)
    )
    run = RunDirectory.open(out)
    progress, algorithm = run.load(), algorithm_of(run.config)
    assert progress is not None
    assert isinstance(algorithm, Ppo)
    return algorithm, progress.meta, run.metrics()[-1]["seconds"]


def scores(
    name: str, seed: int, tasks: int, baselines: Mapping[str, Callable[[np.random.Generator], Scores]]
) -> dict[str, Figure]:
    """`rl2` takes the likeliest action, `rl2_sampled` plays as it was trained; each baseline by its name."""
    player, meta, train_s = trained(name, seed)
    figures: dict[str, Figure] = {"train_s": train_s}
    for way, greedy in (("rl2", True), ("rl2_sampled", False)):
        figures[way] = interval(player.returns(meta, tasks, np.random.default_rng([seed, 2]), greedy=greedy))
        print(f"{name}: {way} {figures[way]}", flush=True)
    for baseline, score in baselines.items():
        begin = time.monotonic()
        figures[baseline] = interval(score(np.random.default_rng([seed, 3])))
        print(f"{name}: {baseline} {figures[baseline]} in {time.monotonic() - begin:.0f} s", flush=True)
    return figures


def interval(values: Iterable[float]) -> Interval:
    """Mean with its 95 % interval."""
    return mean_interval([float(value) for value in values])
