"""Trials on servos: several episodes on one device, to which something may happen in the middle of one of them.

What a policy keeps between episodes is what its state's reset rules say. At the begin of each episode the joint
stands anew anywhere, while the servo, and all that has happened to it, stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.play.rollouts import Episodes, Surroundings, draw, drive, initial_of
from acclimate_trainer.tasks.servo import Coefficients, ServoFamily, ServoTasks


class Course(NamedTuple):
    """T devices over a trial: what they are at first, and what they are from tick `at` of the trial on."""

    before: ServoTasks
    after: ServoTasks
    at: Tensor  # (T,); beyond the trial's end for devices that nothing happens to

    def told(self, tick: int | Tensor) -> Tensor:
        """What an oracle is told at a tick of the trial, (T, n_privileged); at ticks (L, 1), (L, T, n_privileged)."""
        changed = (self.at <= tick).unsqueeze(-1)
        return torch.where(changed, self.after.privileged(), self.before.privileged())

    def coefficients(self, family: ServoFamily, first: int, steps: int) -> list[Coefficients]:
        """One per tick from `first` on; the same object as long as nothing happens to any device."""
        before, after = family.coefficients(self.before), family.coefficients(self.after)
        moments = {first, *(int(tick) for tick in self.at if first < tick < first + steps)}
        out: list[Coefficients] = []
        for tick in range(first, first + steps):
            out.append(_where(self.at <= tick, after, before) if tick in moments else out[-1])
        return out


class Trial(NamedTuple):
    """What is random about P episodes of a trial on each of T devices, E times side by side, drawn beforehand."""

    course: Course
    episodes: tuple[Surroundings, ...]  # P, each (T, E, S, …)

    @property
    def ticks(self) -> int:
        return sum(part.encoder.shape[2] for part in self.episodes)


def draw_trial(
    family: ServoFamily,
    tasks: int,
    rng: np.random.Generator,
    *,
    side_by_side: int,
    episodes: int,
    steps: int,
    change: float = 0.0,
    miswired: float = 0.5,
    explore: int = 0,
) -> Trial:
    """A trial on newly drawn servos.

    change: share of the servos that something happens to, anywhere in the middle half of the trial.
    miswired: see `ServoFamily.sample` and `ServoFamily.change`.
    explore: how many of those side by side get noise.
    """
    before = family.sample(tasks, rng, miswired)
    ticks = episodes * steps
    at = rng.integers(ticks // 4, 3 * ticks // 4 + 1, tasks)
    happens = rng.random(tasks) < change
    course = Course(
        before, family.change(before, rng, miswired), torch.from_numpy(np.where(happens, at, ticks))
    )
    parts = (
        draw(family, before, rng, explore=explore, measure=side_by_side - explore, steps=steps)
        for _ in range(episodes)
    )
    return Trial(course, tuple(parts))


def run_trial(
    policy: Policy, state: Tensors, family: ServoFamily, trial: Trial, adjoint_decay: float = 1.0
) -> list[Episodes]:
    """Drive a trial; returns its episodes in order. `state` and `adjoint_decay` are those of `rollout`."""
    axes = trial.episodes[0].start.q.shape
    live, out, first = {**state, **initial_of(policy, axes)}, [], 0
    for part in trial.episodes:
        steps = part.encoder.shape[2]
        live |= initial_of(policy, axes, ("episode",))
        course = trial.course.coefficients(family, first, steps)
        episodes, live = drive(policy, live, family, course, part, adjoint_decay)
        out.append(episodes)
        first += steps
    return out


def squared_errors(episodes: list[Episodes]) -> Tensor:
    """Squared tracking errors over the ticks of a trial, rad² (T, E, ticks)."""
    obs = torch.cat([part.obs[:, :, 1:] for part in episodes], dim=2)
    return (obs[..., 0] - obs[..., 2]).square()


def previous_actions(action: Tensor) -> Tensor:
    """What a policy remembers as its previous action in each tick of episodes (T, E, S, 1), from what it did there."""
    held = F.hardtanh(action.detach())
    return torch.cat([torch.zeros_like(held[:, :, :1]), held[:, :, :-1]], dim=2)


def _where(changed: Tensor, after: Coefficients, before: Coefficients) -> Coefficients:
    pairs = zip(after, before, strict=True)
    return Coefficients(*(torch.where(changed.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
