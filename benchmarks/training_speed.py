"""How much faster compiled roll-outs train, by the built-in configs: env-steps with their gradient, on one thread.

Iterations by torch and compiled ones alternate and are told the same random numbers, so that their gradients can be
compared; each is timed after another of its kind, as in training, where no other code uses the caches in between. Of
RL² it is playing a trial, judging it and the gradient, clipped by task; of MAML, whose inner step stands between two
roll-outs, and of policies without memory the whole iteration, drawing included. What it took is the thread's own time:
whatever else the machine does falls on neither. Libraries go into a cache of this run's own, empty at first. Beside the
ratios: a kernel written by hand. `training_time` has whole trainings.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from acclimate.cache import VARIABLE
from acclimate.stats import mean_interval
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.compiled.driving import compiling, forget, notes
from acclimate_trainer.compiled.stopwatch import ROLL_OUTS, STOPWATCH
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.outer_loop.training import Iterative, LossesOf, gradient_of, start
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import Config, load_config
from torch import Tensor

from benchmarks._by_hand import Case
from benchmarks.harness import BenchmarkError, Figure

ROWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "rl2_servo": ("servo_wide_rl2", ("rl2.episodes=2", "rl2.window=0")),
    "rl2_servo_windows": ("servo_wide_rl2", ()),
    "maml_servo": ("servo_wide_maml", ()),
    "reactive_servo": ("servo_wide_robust", ()),
    "rl2_arm": ("arm_rl2", ()),
    "quadrotor": ("quadrotor_rl2", ()),
}
"""Names of figures, and the configs that they are of: whole trials of RL², and its windows as they are trained."""
ROUNDS, BY_HAND_ROUNDS, THREADS_ROUNDS = 6, 60, 6
WINDOWS = 2  # of a training that steps in windows


def run(seed: int) -> Mapping[str, Figure]:
    """By row: env-steps per second of both, their ratio, the gradients' difference, seconds to compile, what a second
    thread gives; and the compiled tick beside the one by hand."""
    torch.set_num_threads(1)
    figures: dict[str, Figure] = {}
    with _own_cache():
        for name, (config, changes) in ROWS.items():
            found = _row(Row(load_config(built_in()[config], changes), seed))
            figures |= {f"{name}.{key}": figure for key, figure in found.items()}
        figures |= _beside_by_hand(seed)
    return figures


class Iterated(NamedTuple):
    seconds: float
    gradient: Tensor  # of all parameters, side by side, and of one window after the other


class Row:
    """Iterations of a config's training, none of which changes what is trained."""

    def __init__(self, config: Config, seed: int) -> None:
        algorithm = algorithm_of(config)
        assert not isinstance(algorithm, Iterative)
        self._algorithm, self._config, self._seed = algorithm, config, seed
        self._training = replace(config.training, task_clip=1e9, clip=1e9)  # the gradient as it is
        self._meta: Tensors = {n: x.requires_grad_() for n, x in start(algorithm, seed).meta.items()}
        self.steps = config.training.meta_batch_size * _steps_per_task(config)

    def iterate(self, number: int, *, compiled: bool) -> Iterated:
        """With these random numbers."""
        gradients, seconds = list[Tensor](), 0.0
        with compiling(compiled):
            for losses_of in self._drawn(np.random.default_rng([self._seed, number])):
                begin = time.thread_time()
                gradient_of(losses_of, self._meta, self._training)
                seconds += time.thread_time() - begin
                gradients += [x.grad.flatten() for x in self._meta.values() if x.grad is not None]
        return Iterated(seconds, torch.cat(gradients))

    def _drawn(self, rng: np.random.Generator) -> Iterator[LossesOf]:
        """Losses whose trial, or whose first windows, are drawn; of MAML and the like those of a whole iteration."""
        algorithm, tasks = self._algorithm, self._training.meta_batch_size
        if not isinstance(algorithm, Rl2):
            yield lambda meta: algorithm.losses(meta, tasks, rng, 1.0)
        elif self._config.rl2 is not None and self._config.rl2.window:
            yield from islice(algorithm.pieces(tasks, rng, 1.0), WINDOWS)
        else:
            yield partial(algorithm.losses_in, algorithm.trial(tasks, rng, 1.0))


def _row(row: Row) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"compile_s": _compiling(row), "compile_again_s": _compiling(row)}
    rounds = [_round(row, k) for k in range(1 + ROUNDS)][1:]  # the first one warms up
    if said := notes():
        raise BenchmarkError(f"not all is compiled: {said[0]}")
    figures["env_steps_per_s"] = mean_interval([row.steps / r.compiled for r in rounds])
    figures["torch_env_steps_per_s"] = mean_interval([row.steps / r.by_torch for r in rounds])
    figures["compiled_over_torch"] = mean_interval([r.by_torch / r.compiled for r in rounds])
    figures["gradient_difference"] = max(r.difference for r in rounds)
    figures["two_threads_over_one"] = _two_threads(row)
    return figures


class _Round(NamedTuple):
    """Seconds of one iteration each way, and how far their gradients are from each other, of their size."""

    by_torch: float
    compiled: float
    difference: float


def _round(row: Row, number: int) -> _Round:
    (by_torch, expected), (compiled, found) = (_warm(row, number, compiled=on) for on in (False, True))
    return _Round(by_torch, compiled, float((found - expected).norm() / expected.norm()))


def _warm(row: Row, number: int, *, compiled: bool) -> Iterated:
    row.iterate(number, compiled=compiled)
    return row.iterate(number, compiled=compiled)


def _compiling(row: Row) -> float:
    """Seconds that the first iteration takes beyond the second: trace, C, the machine's compiler, the comparison."""
    forget()
    first, second = (_all_time(lambda: row.iterate(0, compiled=True)) for _ in range(2))
    return first - second


def _all_time(work: Callable[[], object]) -> float:
    """The processor's, also in processes that this one starts."""
    before = os.times()
    work()
    return sum(os.times()[:4]) - sum(before[:4])


def _two_threads(row: Row) -> Figure:
    """What a second thread makes of roll-outs; with what torch does around them it has nothing to do."""
    ratios = []
    for k in range(THREADS_ROUNDS):
        one, two = (_in_c(row, k, threads) for threads in (1, 2))
        ratios.append(one / two)
    return mean_interval(ratios)


def _in_c(row: Row, number: int, threads: int) -> float:
    before = dict(STOPWATCH.seconds)
    torch.set_num_threads(threads)
    row.iterate(number, compiled=True)
    torch.set_num_threads(1)
    return STOPWATCH.since(before)[ROLL_OUTS]


def _beside_by_hand(seed: int) -> dict[str, Figure]:
    """RL²'s tick on servos with its adjoint: the compiled one's time over that of the one by hand."""
    case = Case(seed)
    rounds = [case.compare() for _ in range(2 + BY_HAND_ROUNDS)][2:]
    return {
        "rl2_servo.over_by_hand": min(r.compiled for r in rounds) / min(r.by_hand for r in rounds),
        "rl2_servo.by_hand_difference": max(r.difference for r in rounds),
        "rl2_servo.us_per_tick": 1e6 * min(r.compiled for r in rounds) / case.ticks,
        "rl2_servo.by_hand_us_per_tick": 1e6 * min(r.by_hand for r in rounds) / case.ticks,
    }


def _steps_per_task(config: Config) -> int:
    """Of one iteration."""
    if (m := config.maml) is not None:
        exploring = m.adapt_steps * m.support_episodes
        return (exploring + (m.adapt_steps + 1) * m.query_episodes) * m.episode_steps
    if (r := config.rl2 or config.rl2_oracle) is not None:
        return r.side_by_side * (WINDOWS * r.window or r.episodes * r.episode_steps)
    one = config.robust or config.oracle
    assert one is not None
    return one.episodes * one.episode_steps


@contextmanager
def _own_cache() -> Iterator[None]:
    """An empty one, in which all is compiled anew."""
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory(prefix="acclimate-") as cache:
        os.environ[VARIABLE] = cache
        try:
            yield
        finally:
            forget()
            os.environ.pop(VARIABLE) if before is None else os.environ.update({VARIABLE: before})
