"""What engines are given to compute, and what torch makes of it: taken from simulated machines of the family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from acclimate_export.bundle.practice import Stage, outputs, practise, replay
from acclimate_export.bundle.trained import Trained

_BATCH = 32  # tasks that torch works on at once
_MASKED = 0.3  # at most this share of a window is hidden
_WINDOWS = 0.1  # windows that adapt gets per input that act gets


class Case(NamedTuple):
    """Inputs of a graph, by name, and what torch makes of them."""

    graph: str
    given: Mapping[str, Tensor]
    expected: Mapping[str, Tensor]


@torch.no_grad()
def cases(trained: Trained, inputs: int, seed: int, windows: float = _WINDOWS) -> Iterator[Case]:
    """At least `inputs` ticks of `act`, and, for a policy that has it, `windows` of `adapt` for each of these."""
    rng = np.random.default_rng([seed, 0])
    for stage, ticks in _stages(trained, inputs, windows, rng):
        yield from _ticks(trained, stage, ticks, rng)
        if stage.adapted is not None:
            yield from _windows(stage)


def _stages(
    trained: Trained, inputs: int, windows: float, rng: np.random.Generator
) -> Iterator[tuple[Stage, int]]:
    """Stages of simulated trials, and how many ticks of each task to compare."""
    adaptation = trained.policy.adaptation
    per_trial = adaptation.max_steps if adaptation else 1
    tasks = math.ceil(inputs * windows / per_trial)
    ticks = math.ceil(inputs / (tasks * per_trial))
    for first in range(0, tasks, _BATCH):
        for stage in practise(trained, min(_BATCH, tasks - first), rng, masked=_MASKED):
            yield stage, ticks


def _ticks(trained: Trained, stage: Stage, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """`count` random ticks of every task."""
    obs = stage.window.obs[:, :, :-1]
    ticks = replay(trained.policy, stage.state, obs, stage.noise)
    tasks, episodes, steps = obs.shape[:3]
    for task in np.repeat(np.arange(tasks), count):
        at = (int(task), int(rng.integers(episodes)), int(rng.integers(steps)))
        state = _at(stage.state, at[:1]) | _at(ticks.before, at)
        given = {"obs": obs[at], "noise": stage.noise[at]} | _named("state", state)
        yield Case("act", given, _at(ticks.after, at))


def _windows(stage: Stage) -> Iterator[Case]:
    """The window of every task."""
    assert stage.adapted is not None
    expected = outputs({}, stage.adapted.next, stage.adapted.info)
    # Where adapt reads a tensor that act writes, it is that of an episode's begin.
    for task in range(stage.noise.shape[0]):
        window = _named("window", _at(stage.window._asdict(), (task,)))
        given = window | _named("state", _at(stage.state, (task,)))
        yield Case("adapt", given, _at(expected, (task,)))


def _at(tensors: Mapping[str, Tensor], index: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: value[index] for name, value in tensors.items()}


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
