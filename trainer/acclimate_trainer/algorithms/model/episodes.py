"""Episodes in windows, driven as on a device: the model adapts to each window while the policy drives the next one.

Trials follow one another on T places, an episode at a time, so that learning may step in between. What the policy
remembers and what the model thinks lives through a trial, but the gradient of an episode ends where it began. The
places begin their trials at different times: no step of the optimizer sees nothing but beginnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.model.policies import ModelPolicy
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Tasks
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.play.rollouts import Episodes, Surroundings, draw, drive, initial_of
from acclimate_trainer.play.trials import Course, change_in
from acclimate_trainer.play.watched import chosen


@dataclass(frozen=True)
class Trials:
    """T places, E episodes side by side on each; a trial has `episodes` of them, of `windows` windows.

    change: share of trials in which something happens to the machine, not before the second episode.
    explore: share of places where the policy explores.
    """

    places: int
    side_by_side: int
    episodes: int
    windows: int
    change: float
    explore: float
    progress: float
    adjoint_decay: float


class Driven(NamedTuple):
    """An episode, and of each of its windows the model's mean square error before it adapted to that, (T, n_y)."""

    episode: Episodes
    errors: list[Tensor]
    new: Tensor  # where a trial has begun with it, bool (T,)


class Places(Generic[Tasks]):
    """See the module."""

    def __init__(self, family: Complete[Tasks], plan: Trials, rng: np.random.Generator) -> None:
        self._family, self._plan, self._rng = family, plan, rng
        self._machines = family.sample(plan.places, rng, plan.progress)
        self._live: dict[str, Tensor] = {}
        self._number = 0
        self.explores = torch.arange(plan.places) < round(plan.explore * plan.places)

    def drive(self, policy: ModelPolicy, meta: Tensors) -> Driven:
        """The next episode."""
        plan, axes = self._plan, (self._plan.places, self._plan.side_by_side)
        new = self._begins()
        if self._number:
            fresh = self._family.sample(plan.places, self._rng, plan.progress)
            self._machines = chosen(new, fresh, self._machines)
        live = {**meta, **self._begun(policy, new), **initial_of(policy, axes, ("episode",))}
        length = policy.window.steps * plan.windows
        around = draw(self._family, self._machines, self._rng, explore=axes[1], measure=0, steps=length)
        course, parts, errors = self._course(new, length), list[Episodes](), list[Tensor]()
        for k in range(plan.windows):
            part = self._window(around, k, policy.window.steps)
            change = change_in(self._family, course, k * policy.window.steps, tells=False)
            seen, live = drive(policy, live, self._family.spec, part, plan.adjoint_decay, change)
            window = Window(*(x.detach() for x in seen.window()))
            errors.append(policy.errors(live, window))
            live |= policy.learned(live, Window(*(x[:, :1] for x in window)))
            live["told"] = live["told"].detach()
            parts.append(seen)
        self._machines = chosen(course.at < length, course.after, self._machines)
        kept = [tensor.name for tensor in policy.state if tensor.reset == "trial"]
        self._live = {name: live[name].detach() for name in kept}
        self._number += 1
        return Driven(_joined(parts), errors, new)

    def _begins(self) -> Tensor:
        """Where a trial begins: at first everywhere, then each place in its turn."""
        turn = (torch.arange(self._plan.places) + self._number) % self._plan.episodes == 0
        return turn | torch.tensor(self._number == 0)

    def _begun(self, policy: ModelPolicy, new: Tensor) -> dict[str, Tensor]:
        """What lives through a trial, where one begins and where it goes on."""
        axes = (self._plan.places, self._plan.side_by_side)
        first = {**policy.begin(axes[0]), **initial_of(policy, axes, ("trial",))}
        if not self._live:
            return first
        return {
            name: torch.where(new.view(-1, *[1] * (x.dim() - 1)), x, self._live[name])
            for name, x in first.items()
        }

    def _course(self, new: Tensor, length: int) -> Course[Tasks]:
        """What happens to the machines in this episode."""
        plan, rng = self._plan, self._rng
        share = plan.change / max(plan.episodes - 1, 1) if self._family.changes else 0.0
        happens = torch.from_numpy(rng.random(plan.places) < share) & ~new
        at = torch.where(happens, torch.from_numpy(rng.integers(0, length, plan.places)), length)
        return Course(self._machines, self._family.change(self._machines, rng, plan.progress), at)

    def _window(self, around: Surroundings[Tasks], k: int, steps: int) -> Surroundings[Tasks]:
        ticks = slice(k * steps, (k + 1) * steps)
        return around._replace(
            noise=around.noise[:, :, ticks] * self.explores[:, None, None, None],
            reference=around.reference[:, :, ticks.start : ticks.stop + 1],
        )


def _joined(parts: Sequence[Episodes]) -> Episodes:
    """Windows of one episode as that episode."""
    obs = torch.cat([*(part.obs[:, :, :-1] for part in parts), parts[-1].obs[:, :, -1:]], dim=2)
    others = (torch.cat(column, dim=2) for column in list(zip(*parts, strict=True))[1:])
    return Episodes(obs, *others)
