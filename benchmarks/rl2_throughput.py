"""How fast RL² trains, and where the time goes: on one thread, iteration by iteration of the built-in configs.

Environment is what families compute, policy is the rest of playing, update is everything after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from acclimate.stats import mean_interval
from acclimate_trainer.algorithms.rl2.ppo import Ppo
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Session, Step
from acclimate_trainer.outer_loop.training import meta_gradient, start
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import Config, load_config
from torch import Tensor

from benchmarks.harness import Figure

BY_PPO = ("bandit_10_5", "bandit_100_10", "tabular_10", "tabular_25", "servo_wide_ppo")
THROUGH_THE_SIMULATOR = ("servo_wide_rl2",)
ROUNDS = 4
R = TypeVar("R")
Work: TypeAlias = Callable[[np.random.Generator], None]


def run(seed: int) -> Mapping[str, Figure]:
    """By config: env_steps_per_s, and the shares of environment, policy and update, with intervals over iterations."""
    torch.set_num_threads(1)
    figures: dict[str, Figure] = {}
    for name in (*BY_PPO, *THROUGH_THE_SIMULATOR):
        steps, rows = (_by_ppo if name in BY_PPO else _through_the_simulator)(
            load_config(built_in()[name]), seed
        )
        figures[f"{name}.env_steps_per_s"] = mean_interval([steps / row.whole for row in rows])
        for key in ("environment", "policy", "update"):
            figures[f"{name}.{key}_share"] = mean_interval([getattr(row, key) / row.whole for row in rows])
    return figures


class Row(NamedTuple):
    """One iteration: all of it, playing, and what of that families took, s."""

    whole: float
    playing: float
    environment: float

    @property
    def policy(self) -> float:
        return self.playing - self.environment

    @property
    def update(self) -> float:
        return self.whole - self.playing


class Timed(Complete[object]):
    """A family that adds up the time that it and its sessions take."""

    spent = 0.0  # s

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> object:
        return self._timed(partial(super().sample, n, rng, progress))

    def open(self, tasks: object, episodes: int, steps: int, rng: np.random.Generator) -> Session[object]:
        session = self._timed(partial(super().open, tasks, episodes, steps, rng))
        take = session.step

        def step(action: Tensor) -> Step:
            return self._timed(partial(take, action))

        session.step = step  # type: ignore[method-assign]
        return session

    def _timed(self, work: Callable[[], R]) -> R:
        begin = time.perf_counter()
        try:
            return work()
        finally:
            self.spent += time.perf_counter() - begin


def _by_ppo(config: Config, seed: int) -> tuple[int, list[Row]]:
    """env-steps of an iteration, and measured iterations, after one to warm up."""
    ppo, training, family = config.ppo, config.training, Timed(config.opened.family)
    assert ppo is not None
    algorithm = Ppo(family, ppo)
    meta = {name: value.requires_grad_() for name, value in start(algorithm, seed).meta.items()}
    adam = torch.optim.Adam(meta.values())

    def play(rng: np.random.Generator) -> None:
        algorithm.play(meta, algorithm.trial(training.meta_batch_size, rng, 0.0))

    def iterate(rng: np.random.Generator) -> None:
        for _ in algorithm.updates(meta, training, rng, 0.0):
            adam.step()

    rows = [_row(family, play, iterate, seed, k) for k in range(1 + ROUNDS)]
    return training.meta_batch_size * ppo.side_by_side * algorithm.ticks, rows[1:]


def _through_the_simulator(config: Config, seed: int) -> tuple[int, list[Row]]:
    """The same; playing is the pass forwards, the update the one backwards and Adam."""
    rl2, training, family = config.rl2, config.training, Timed(config.opened.family)
    assert rl2 is not None
    algorithm, tasks = Rl2(family, rl2), config.training.meta_batch_size
    meta = {name: value.requires_grad_() for name, value in start(algorithm, seed).meta.items()}
    stacked = {name: value.expand(tasks, *value.shape) for name, value in meta.items()}
    adam = torch.optim.Adam(meta.values())

    def play(rng: np.random.Generator) -> None:
        algorithm.losses(stacked, tasks, rng, 1.0)

    def iterate(rng: np.random.Generator) -> None:
        meta_gradient(algorithm, meta, training, rng, 1.0)
        adam.step()

    rows = [_row(family, play, iterate, seed, k) for k in range(1 + ROUNDS)]
    return tasks * rl2.side_by_side * rl2.episodes * rl2.episode_steps, rows[1:]


def _row(family: Timed, play: Work, iterate: Work, seed: int, number: int) -> Row:
    """Play once by itself, then a whole iteration of training."""
    family.spent = 0.0
    playing = _seconds(partial(play, np.random.default_rng([seed, number])))
    environment = family.spent
    return Row(_seconds(partial(iterate, np.random.default_rng([seed, number]))), playing, environment)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
