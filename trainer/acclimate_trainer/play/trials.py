"""Trials: several episodes on one machine each, to which something may happen in the middle of one of them.

What a policy keeps between episodes is what its state's reset rules say. At the begin of each episode the machine
starts anew somewhere, while what it is, and all that has happened to it, stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Generic, NamedTuple, Never, cast

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.compiled.ride import Change
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Cost, Session, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.rollouts import Episodes, Surroundings, draw, drive, initial_of, joined


class Course(NamedTuple, Generic[Tasks]):
    """T machines over a trial: what they are at first, and what they are from tick `at` of the trial on."""

    before: Tasks
    after: Tasks
    at: Tensor  # (T,); beyond the trial's end for machines that nothing happens to

    def told(self, family: Complete[Tasks], tick: int | Tensor) -> Tensor:
        """What an oracle is told at a tick of the trial, (T, P); at ticks (L, 1), (L, T, P)."""
        changed = (self.at <= tick).unsqueeze(-1)
        return torch.where(changed, family.parameters(self.after), family.parameters(self.before))


class Trial(NamedTuple, Generic[Tasks]):
    """What is random about P episodes of a trial on each of T machines, E times side by side, drawn beforehand."""

    course: Course[Tasks]
    episodes: tuple[Surroundings[Tasks], ...]  # P, each (T, E, S, …)

    @property
    def ticks(self) -> int:
        return sum(part.steps for part in self.episodes)


def draw_trial(
    family: Complete[Tasks],
    tasks: int,
    rng: np.random.Generator,
    *,
    side_by_side: int,
    episodes: int,
    steps: int,
    change: float = 0.0,
    progress: float = 1.0,
    explore: int = 0,
    n_noise: int | None = None,
) -> Trial[Tasks]:
    """A trial on newly drawn machines.

    change: share of the machines that something happens to, anywhere in the middle half of the trial.
    progress: see `contract.family.TaskFamily.sample`.
    explore: how many of those side by side get noise.
    """
    before = family.sample(tasks, rng, progress)
    at = times_of_change(family, tasks, episodes * steps, change, rng)
    course = Course(before, family.change(before, rng, progress), at)
    one = partial(draw, explore=explore, measure=side_by_side - explore, steps=steps, n_noise=n_noise)
    return Trial(course, tuple(one(family, before, rng) for _ in range(episodes)))


def times_of_change(
    family: Complete[Tasks], tasks: int, ticks: int, share: float, rng: np.random.Generator
) -> Tensor:
    """Ticks (T,) at which something happens to that share of machines; at the others, after the trial's end."""
    at = rng.integers(ticks // 4, 3 * ticks // 4 + 1, tasks)
    happens = rng.random(tasks) < (share if family.changes else 0.0)
    return torch.from_numpy(np.where(happens, at, ticks))


def run_trial(
    policy: Policy, state: Tensors, family: Complete[Tasks], trial: Trial[Tasks], adjoint_decay: float = 1.0
) -> list[Episodes]:
    """Drive a trial; returns its episodes in order. `state` and `adjoint_decay` are those of `rollout`.

    A policy that is told the true parameters, in its state `task`, is told of each change as it happens. Where rewards
    are observed, the last one of an episode is seen at the begin of the next.
    """
    axes = trial.episodes[0].session.obs.shape[:2]
    live, out, first = {**state, **initial_of(policy, axes)}, list[Episodes](), 0
    tells = bool(policy.privileged)
    if tells:
        live["task"] = trial.course.told(family, 0)
    for part in trial.episodes:
        live |= initial_of(policy, axes, ("episode",))
        change = change_in(family, trial.course, first, tells=tells)
        earned = out[-1].reward[:, :, -1] if out else None
        episodes, live = drive(policy, live, family.spec, part, adjoint_decay, change, earned)
        out.append(episodes)
        first += part.steps
    return out


def change_in(family: Complete[Tasks], course: Course[Tasks], first: int, *, tells: bool) -> Change | None:
    """What happens in an episode that begins at tick `first` of the trial; None in a family where nothing ever does."""
    if not family.changes:
        return None

    def become(session: Session[Never], where: Tensor) -> None:
        cast("Session[Tasks]", session).become(course.after, where)

    told = ({"task": family.parameters(tasks)} for tasks in (course.before, course.after))
    return Change(become, course.at - first, tuple(told) if tells else None)  # type: ignore[arg-type]


def some(tasks: Tasks, which: Tensor) -> Tasks:
    """Machines by index (N,)."""
    chosen: Tasks = type(tasks)(*(column[which] for column in tasks))  # type: ignore[attr-defined]
    return chosen


def trial_costs(family: Complete[Tasks], episodes: Sequence[Episodes]) -> list[Cost]:
    """What training minimises, over the ticks of a trial: values (T, E, ticks)."""
    return joined([family.costs(part.window(), part.reward) for part in episodes])


def previous_actions(view: View, action: Tensor) -> Tensor:
    """What a policy remembers as its previous action in each tick of episodes (T, E, S, n_act), within ±1."""
    held = view.taken(action.detach())
    return torch.cat([torch.zeros_like(held[:, :, :1]), held[:, :, :-1]], dim=2)
