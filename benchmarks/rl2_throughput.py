"""How fast RL² trains, and where the time goes: on one thread, iteration by iteration of the built-in configs.

Environment is what families compute, policy is the rest of playing, update is everything after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from acclimate.stats import mean_interval
from acclimate_trainer.algorithms.rl2.ppo import Ppo
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.outer_loop.training import TrainingConfig, meta_gradient, start
from acclimate_trainer.play.discrete import play
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import Config, load_config
from acclimate_trainer.tasks.servo.family import ServoFamily
from acclimate_trainer.tasks.trials import State, Tasks, trial_steps

from benchmarks.harness import Figure

BY_PPO = ("bandit_10_5", "bandit_100_10", "tabular_10", "tabular_25")
THROUGH_THE_SIMULATOR = ("servo_wide_rl2",)
ROUNDS = 4
_DISCRETE = ("sample", "reset", "step", "critic_features", "facts")
_SERVO = ("sample", "reset", "reference", "coefficients", "step")
P = ParamSpec("P")
R = TypeVar("R")


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


def _by_ppo(config: Config, seed: int) -> tuple[int, list[Row]]:
    """env-steps of an iteration, and measured iterations, after one to warm up."""
    algorithm = algorithm_of(config)
    assert isinstance(algorithm, Ppo)
    watch = _Watch(algorithm.family, _DISCRETE)
    rows = [_ppo_iteration(algorithm, config.training, seed, k, watch) for k in range(1 + ROUNDS)]
    return config.training.meta_batch_size * trial_steps(algorithm.family), rows[1:]


def _through_the_simulator(config: Config, seed: int) -> tuple[int, list[Row]]:
    """The same; playing is the pass forwards, the update the one backwards and Adam."""
    rl2, tasks = config.rl2, config.training.meta_batch_size
    assert rl2 is not None
    family = ServoFamily(family_ranges(config.servos, config.name))
    algorithm, watch, rows = Rl2(family, rl2), _Watch(family, _SERVO), []
    meta = {name: value.requires_grad_() for name, value in start(algorithm, seed).meta.items()}
    stacked = {name: value.expand(tasks, *value.shape) for name, value in meta.items()}
    adam = torch.optim.Adam(meta.values())
    for k in range(1 + ROUNDS):
        watch.spent = 0.0
        playing = _seconds(lambda k=k: algorithm.losses(stacked, tasks, _rng(seed, k), 1.0))  # type: ignore[misc]
        environment = watch.spent

        def iteration(k: int = k) -> None:
            meta_gradient(algorithm, meta, config.training, _rng(seed, k), 1.0)
            adam.step()

        rows.append(Row(_seconds(iteration), playing, environment))
    return tasks * rl2.side_by_side * rl2.episodes * rl2.episode_steps, rows[1:]


class _Watch:
    """Adds up the time spent in methods of an object, s."""

    def __init__(self, watched: object, methods: Sequence[str]) -> None:
        self.spent = 0.0
        for method in methods:
            setattr(watched, method, self._timed(getattr(watched, method)))

    def _timed(self, function: Callable[P, R]) -> Callable[P, R]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent += time.perf_counter() - begin

        return timed


def _ppo_iteration(
    algorithm: Ppo[Tasks, State], config: TrainingConfig, seed: int, number: int, watch: _Watch
) -> Row:
    """Play once by itself, then a whole iteration of training."""
    meta = {name: value.requires_grad_() for name, value in start(algorithm, seed).meta.items()}
    adam, family, rng = torch.optim.Adam(meta.values()), algorithm.family, _rng(seed, number)
    watch.spent = 0.0
    playing = _seconds(
        lambda: play(algorithm.agent, meta, family, family.sample(config.meta_batch_size, rng), rng)
    )
    environment = watch.spent

    def iteration() -> None:
        for _ in algorithm.updates(meta, config, _rng(seed, number), 0.0):
            adam.step()

    return Row(_seconds(iteration), playing, environment)


def _rng(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
