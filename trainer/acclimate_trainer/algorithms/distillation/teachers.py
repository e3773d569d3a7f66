"""Who knows better: one that is told the machine's true parameters, or many, each of which knows one machine alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Generic, Protocol

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.distillation.pupils import Pupil, Seen, Thought
from acclimate_trainer.algorithms.reactive import Reactive
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.algorithms.successor.policies import LibraryPolicy, UniversalPolicy
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Tasks
from acclimate_trainer.contract.policy import Policy, Tensors, stacked
from acclimate_trainer.contract.sources import Sources
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, LossesOf, TrainingConfig
from acclimate_trainer.play.trials import Course

_OWN = FOR_TRAINING + "teacher."


class Teachers(Protocol[Tasks]):
    """What is asked of either kind."""

    family: Complete[Tasks]
    """Whose machines they know."""
    view: View

    @property
    def count(self) -> int: ...

    @property
    def n_features(self) -> int: ...

    def who(self, tasks: int) -> Tensor:
        """Which of them knows each of so many machines that are drawn, (T,)."""
        ...

    def thought(self, meta: Tensors, course: Course[Tasks], seen: Seen) -> Thought:
        """What they would have done in a student's place, in every tick of a trial."""
        ...


class Told(Generic[Tasks]):
    """An oracle without a memory, of any family: it is told of changes as they happen.

    Its features are what it is told: that is what the student lacks.
    """

    count = 1

    def __init__(self, family: Complete[Tasks], load: Callable[[], Policy]) -> None:
        """load: gives the oracle; it is asked when training begins, since a bundle is rebuilt without one."""
        self.family, self.view, self._load = family, View.of(family), load

    @cached_property
    def policy(self) -> Policy:
        return self._load()

    @property
    def n_features(self) -> int:
        return len(self.family.spec.parameters)

    def who(self, tasks: int) -> Tensor:
        return torch.zeros(tasks, dtype=torch.int64)

    def thought(self, meta: Tensors, course: Course[Tasks], seen: Seen) -> Thought:
        del meta
        before, after = (self._told(machines, seen) for machines in (course.before, course.after))
        changed = course.at.view(-1, 1, 1, 1) <= torch.arange(seen.obs.shape[2]).unsqueeze(-1)
        return Thought(*(torch.where(changed, *pair) for pair in zip(after, before, strict=True)))

    def _told(self, machines: Tasks, seen: Seen) -> Thought:
        """Were the machines these ones."""
        axes = seen.obs.shape[:3]
        count, rows = axes[0], axes[1] * axes[2]
        task = self.family.parameters(machines)
        state = stacked(self.policy, count, rows) | {"task": task}
        state["previous_action"] = seen.previous.reshape(count, rows, -1)
        obs, noise = seen.obs.reshape(count, rows, -1), torch.zeros(count, rows, self.policy.n_noise)
        action = self.view.normal(self.policy.act(state, obs, noise).action)
        return Thought(self.view.told(task, rows).view(*axes, -1), action.view(*axes, -1))


class Valued(Generic[Tasks]):
    """A library of successor features, told what every machine is rewarded for: how good each choice is there.

    Its features are what it is told, as those of `Told`.
    """

    count = 1

    def __init__(self, family: Complete[Tasks], load: Callable[[], Policy]) -> None:
        """load: as of `Told`, gives a policy of `successor`."""
        self.family, self.view, self._load = family, View.of(family), load

    @cached_property
    def policy(self) -> LibraryPolicy | UniversalPolicy:
        policy = self._load()
        assert isinstance(policy, LibraryPolicy | UniversalPolicy)
        return policy

    @property
    def n_features(self) -> int:
        return len(self.family.spec.parameters)

    def who(self, tasks: int) -> Tensor:
        return torch.zeros(tasks, dtype=torch.int64)

    def thought(self, meta: Tensors, course: Course[Tasks], seen: Seen) -> Thought:
        """Values of all choices, the best policy for each taken: max_i wᵀψ_i(s, a)."""
        del meta
        tasks, side_by_side, ticks = seen.obs.shape[:3]
        told = course.told(self.family, torch.arange(ticks).unsqueeze(1)).transpose(0, 1)  # (T, L, d)
        w = told.unsqueeze(1).expand(-1, side_by_side, -1, -1)
        state = stacked(self.policy, tasks, 1)
        values = self.policy.values(state, seen.obs.flatten(1, 2), w.flatten(1, 2))
        features = self.family.standard(w)
        return Thought(features, values.view(tasks, side_by_side, ticks, -1))


class Specialists(Generic[Tasks]):
    """One for each of some machines, trained on it alone; their parameters are stacked over machines."""

    def __init__(
        self, sources: Sources[Tasks], pupil: Pupil, trained_by: Rl2[Tasks] | Reactive[Tasks]
    ) -> None:
        """pupil: what each of them is. trained_by: what trains that on `sources`."""
        self.family: Complete[Tasks] = sources
        self.view = View.of(sources)
        self._sources, self._pupil, self._by = sources, pupil, trained_by

    @property
    def count(self) -> int:
        return len(self._sources)

    @property
    def n_features(self) -> int:
        return self._pupil.n_features

    def who(self, tasks: int) -> Tensor:
        return self._sources.turns(tasks)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Meta-parameters that only training has."""
        each = [self._pupil.initial(rng) for _ in range(self.count)]
        return {_OWN + name: torch.stack([params[name] for params in each]) for name in each[0]}

    def own(self, meta: Tensors) -> dict[str, Tensor]:
        """Their parameters, stacked over machines, named as the network's."""
        return {name.removeprefix(_OWN): value for name, value in meta.items() if name.startswith(_OWN)}

    def policy(self, meta: Tensors, number: int) -> Policy:
        """One of them."""
        return self._pupil.policy({name: value[number].detach() for name, value in self.own(meta).items()})

    def pieces(self, rng: np.random.Generator, progress: float) -> Iterator[LossesOf]:
        """What an iteration of their training has to make small, each by itself."""
        if isinstance(self._by, Rl2):
            yield from self._by.pieces(self.count, rng, progress)
            return
        reactive = self._by
        yield lambda own: reactive.losses(own, self.count, rng, progress)

    def thought(self, meta: Tensors, course: Course[Tasks], seen: Seen) -> Thought:
        turns = self.who(len(course.at))
        return self._pupil.thought({name: value[turns] for name, value in self.own(meta).items()}, seen)


def learn_alone(losses: LossesOf, own: Tensors, config: TrainingConfig) -> dict[str, float]:
    """Write the gradient of stacked parameters, machine by machine and clipped, into their `.grad`; mean figures.

    A machine whose gradient is not finite is left out.
    """
    found = losses(own)
    gradients = torch.autograd.grad(found.total.sum(), list(own.values()))
    norm = torch.stack([g.flatten(1).square().sum(-1) for g in gradients]).sum(0).sqrt()  # (N,)
    scale = torch.where(torch.isfinite(norm), (config.task_clip / norm.clamp_min(1e-12)).clamp_max(1.0), 0.0)
    for value, gradient in zip(own.values(), gradients, strict=True):
        each = scale.view(-1, *[1] * (gradient.dim() - 1))
        value.grad = torch.where(each > 0.0, each * gradient, 0.0)
    return {name: float(value.detach().nanmean()) for name, value in found.report.items()}
