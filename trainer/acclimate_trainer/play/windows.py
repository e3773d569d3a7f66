"""Trials one after another on the same places, played in windows of some ticks, so that learning may step in between.

A window goes on from where the one before has left machines and policy, without its gradient: truncated
backpropagation through time. Each place begins at another window of its first trial, so that in every window some
trials begin and others come to their end, and no step of the optimizer sees nothing but beginnings.

Only differentiable sessions can be gone on from: their state is all that changes, and may be set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Differentiable, Session, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.play.rollouts import (
    Episodes,
    Surroundings,
    drive,
    initial_of,
    one_machine,
    references_from,
)
from acclimate_trainer.play.trials import Course, change_in, some, times_of_change


@dataclass(frozen=True)
class Windowing:
    """T places, E episodes side by side on each, in which `trials` trials follow one another.

    A trial is `episodes` episodes of `steps` ticks, each of which is a whole number of windows of `window` ticks.
    change: as of `trials.draw_trial`.
    """

    places: int
    side_by_side: int
    episodes: int
    steps: int
    window: int
    trials: int
    change: float = 0.0
    progress: float = 1.0

    @property
    def per_episode(self) -> int:
        return self.steps // self.window

    @property
    def per_trial(self) -> int:
        return self.episodes * self.per_episode

    @property
    def windows(self) -> int:
        return self.trials * self.per_trial


class _Now(NamedTuple):
    """Where each place is in its trials, (T,)."""

    machine: Tensor  # index among all that were drawn
    episode: Tensor  # of the trial
    ticks: Tensor  # of the trial, up to this window
    new_trial: Tensor  # bool
    new_episode: Tensor  # bool


class _Carried(NamedTuple):
    """What a window leaves to the next."""

    session: tuple[Tensor, ...]
    policy: Tensors
    earned: Tensor  # (T, E) the last reward
    age: Tensor  # (T,) ticks of the episode


class Windows(Generic[Tasks]):
    """See the module. All that is random but the sessions' noise is drawn at the start."""

    def __init__(self, family: Complete[Tasks], plan: Windowing, rng: np.random.Generator) -> None:
        self._family, self._plan, self._rng = family, plan, rng
        machines = plan.places * (plan.trials + 1)  # the first trial of most places is not a whole one
        before = family.sample(machines, rng, plan.progress)
        at = times_of_change(family, machines, plan.episodes * plan.steps, plan.change, rng)
        self._course = Course(before, family.change(before, rng, plan.progress), at)
        starts = family.open(before, plan.side_by_side * plan.episodes, 1, rng)
        self._starts = [self._by_episode(x) for x in _state_of(starts)]
        self._reference = self._by_episode(references_from(family.spec, starts.obs, plan.steps, rng))
        self._begin = torch.arange(plan.places) * plan.per_trial // plan.places
        self._number = 0
        self._carried: _Carried | None = None

    def _by_episode(self, x: Tensor) -> Tensor:
        """Of every episode of each machine's trial, (N, P, E, …)."""
        return x.view(len(x), self._plan.episodes, self._plan.side_by_side, *x.shape[2:])

    @property
    def count(self) -> int:
        """Windows that there are to play."""
        return self._plan.windows

    def play(self, policy: Policy, state: Tensors, adjoint_decay: float = 1.0) -> Episodes:
        """The next window; `state` and `adjoint_decay` are those of `rollouts.rollout`."""
        now, family, plan = self._now(), self._family, self._plan
        course = Course(
            some(self._course.before, now.machine),
            some(self._course.after, now.machine),
            self._course.at[now.machine] - now.ticks,
        )
        session = family.open(course.before, plan.side_by_side, plan.window, self._rng)
        self._go_on(session, now)
        live = {**state, **self._live(policy, now)}
        if policy.privileged:
            live["task"] = course.told(family, -1)  # of what happens now, as the next tick begins
        age = torch.where(now.new_episode, 0, self._age())
        surroundings = self._surroundings(session, course.before, policy, now, age)
        change = change_in(family, course, 0, tells=bool(policy.privileged))
        earned = self._earned(session, now)
        episodes, live = drive(policy, live, family.spec, surroundings, adjoint_decay, change, earned)
        written = {t.name: live[t.name].detach() for t in policy.state if t.written_by == "act"}
        left = tuple(x.detach() for x in _state_of(session))
        self._carried = _Carried(left, written, episodes.reward[:, :, -1].detach(), age + plan.window)
        self._number += 1
        return episodes

    def _now(self) -> _Now:
        plan = self._plan
        since = self._begin + self._number
        trial, window = since // plan.per_trial, since % plan.per_trial
        first = torch.full_like(window, self._number == 0, dtype=torch.bool)
        new_trial = first | (window == 0)
        return _Now(
            machine=trial * plan.places + torch.arange(plan.places),
            episode=window // plan.per_episode,
            ticks=window * plan.window,
            new_trial=new_trial,
            new_episode=new_trial | (window % plan.per_episode == 0),
        )

    def _age(self) -> Tensor:
        return (
            torch.zeros(self._plan.places, dtype=torch.long) if self._carried is None else self._carried.age
        )

    def _go_on(self, session: Session[Tasks], now: _Now) -> None:
        """Machines as the window before has left them, but where an episode begins."""
        starts = [x[now.machine, now.episode] for x in self._starts]
        before = starts if self._carried is None else self._carried.session
        assert isinstance(session, Differentiable)  # as `_state_of` has found
        session.state = tuple(_where(now.new_episode, a, b) for a, b in zip(starts, before, strict=True))

    def _live(self, policy: Policy, now: _Now) -> Tensors:
        """What `act` has written, but where an episode or a trial begins."""
        axes = (self._plan.places, self._plan.side_by_side)
        initial = initial_of(policy, axes)
        if self._carried is None:
            return initial
        of_episode = initial_of(policy, axes, ("episode",))
        return {
            name: _where(
                now.new_episode if name in of_episode else now.new_trial, value, self._carried.policy[name]
            )
            for name, value in initial.items()
        }

    def _earned(self, session: Session[Tasks], now: _Now) -> Tensor | None:
        """The last reward, as a trial goes on; where one begins, what its first observation holds."""
        spec = self._family.spec
        if spec.reward is None or self._carried is None:
            return None
        at = spec.sensor_scalars.index(spec.reward)
        return _where(now.new_trial, session.obs[..., at].detach(), self._carried.earned)

    def _surroundings(
        self, session: Session[Tasks], machines: Tasks, policy: Policy, now: _Now, age: Tensor
    ) -> Surroundings[Tasks]:
        plan = self._plan
        ticks = age.unsqueeze(-1) + torch.arange(plan.window + 1)  # (T, window + 1)
        reference = self._reference[now.machine, now.episode]  # (T, E, S + 1, n)
        places = torch.arange(plan.places).unsqueeze(-1)
        noise = torch.zeros(plan.places, plan.side_by_side, plan.window, policy.n_noise)
        return Surroundings(
            session,
            reference.transpose(1, 2)[places, ticks].transpose(1, 2),
            noise,
            partial(one_machine, self._family, machines, plan.window),
        )


def _state_of(session: object) -> tuple[Tensor, ...]:
    assert isinstance(session, Differentiable)  # or `algorithms.needs` would have refused the family
    return session.state


def _where(which: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Of places (T,)."""
    return torch.where(which.view(-1, *[1] * (a.dim() - 1)), a, b)
