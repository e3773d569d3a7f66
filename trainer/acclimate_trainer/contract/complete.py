"""A family with every capability: its own where it has one, and otherwise the default that follows from its spec.

Algorithms take this, so that none asks what a family can do but whether it can do what the algorithm needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Generic

import numpy as np
import torch
from acclimate.task import features
from acclimate.task.spec import TaskSpec
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.costs import headline_cost, limited
from acclimate_trainer.contract.family import (
    Changing,
    Cost,
    HasBaseline,
    HasCosts,
    HasFeatures,
    HasInputs,
    Property,
    Ranged,
    Rewarded,
    Session,
    TaskFamily,
    Tasks,
)
from acclimate_trainer.contract.policy import Window

_TYPICAL, _TYPICAL_SEED = 4096, 20261123  # tasks from which the scale of the true parameters is taken
_ERROR, _ABRUPT = 10.0, 10.0
_SMALL = 0.03  # of half a channel's range: differences well below it count as squares in a reward
_LEAST_SPREAD = 1e-3
PROGRESS = Property("progress", 0.0, 0.0, 1.0)
"""What families differ in that say nothing else: from the easier machines to all of them."""


class Complete(Generic[Tasks]):
    """See the module."""

    def __init__(self, family: TaskFamily[Tasks]) -> None:
        self.family, self.spec = family, family.spec

    @classmethod
    def of(cls, family: TaskFamily[Tasks] | Complete[Tasks]) -> Complete[Tasks]:
        return family if isinstance(family, Complete) else cls(family)

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        return self.family.sample(n, rng, progress)

    def parameters(self, tasks: Tasks) -> Tensor:
        return self.family.parameters(tasks)

    def open(self, tasks: Tasks, episodes: int, steps: int, rng: np.random.Generator) -> Session[Tasks]:
        return self.family.open(tasks, episodes, steps, rng)

    @cached_property
    def changes(self) -> bool:
        """Whether anything ever happens to its machines in mid-trial."""
        return isinstance(self.family, Changing)

    def change(self, tasks: Tasks, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """The same tasks, where nothing ever happens to them."""
        return self.family.change(tasks, rng, progress) if isinstance(self.family, Changing) else tasks

    @cached_property
    def properties(self) -> tuple[Property, ...]:
        """What its machines differ in, by place; none where nothing makes its ranges narrower."""
        if isinstance(self.family, Ranged):
            return tuple(self.family.properties)
        return (PROGRESS,) if self._progresses else ()

    @property
    def _progresses(self) -> bool:
        """Whether `progress` makes a difference to which machines are drawn."""
        first, last = (
            self.parameters(self.sample(_TYPICAL, np.random.default_rng(_TYPICAL_SEED), progress))
            for progress in (0.0, 1.0)
        )
        return not torch.equal(first, last)

    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Tasks:
        """Machines at these places (n, properties), each held to where a machine can be; see `Ranged`."""
        lowest, highest = np.array([(p.lowest, p.highest) for p in self.properties]).T
        held = np.clip(places, lowest, highest)
        if isinstance(self.family, Ranged):
            made: Tasks = self.family.placed(held, rng)
            return made
        return _stacked([self.family.sample(1, rng, float(progress)) for (progress,) in held])

    @cached_property
    def n_inputs(self) -> int:
        """Entries of `inputs`."""
        return int(self.inputs(torch.zeros(1, self.spec.n_obs)).shape[-1])

    def inputs(self, obs: Tensor) -> Tensor:
        """See `HasInputs`."""
        if isinstance(self.family, HasInputs):
            return self.family.inputs(obs)
        matrix, offset = self._scaling
        return torch.addmm(offset, obs.reshape(-1, obs.shape[-1]), matrix).view(*obs.shape[:-1], -1)

    @cached_property
    def _scaling(self) -> tuple[Tensor, Tensor]:
        return _scaling(self.spec)

    @property
    def rewarded(self) -> bool:
        """Whether a device can know its rewards: they follow from what is observed, or are observed."""
        by_spec = self.spec.reward is not None or bool(self.spec.headline.pairs)
        return isinstance(self.family, Rewarded) or by_spec

    def reward(self, window: Window) -> Tensor:
        """See `Rewarded`; for a family that is `rewarded`."""
        if isinstance(self.family, Rewarded):
            return self.family.reward(window)
        if self.spec.reward is not None:
            return window.obs[:, :, 1:, self.spec.index(self.spec.reward)]
        return _closeness(self.spec, window)

    def baseline(self, window: Window, discount: Tensor) -> Tensor:
        """See `HasBaseline`."""
        if isinstance(self.family, HasBaseline):
            return self.family.baseline(window, discount)
        return _baseline(self.spec, torch.tanh(self.inputs(window.obs)), window, discount)

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        """See `HasCosts`."""
        return self._costs(window, reward)

    @cached_property
    def _costs(self) -> Callable[[Window, Tensor], tuple[Cost, ...]]:
        if isinstance(self.family, HasCosts):
            return self.family.costs
        return lambda window, reward: (headline_cost(self.spec, window, reward),)

    @property
    def featured(self) -> bool:
        """Whether there is φ to be rewarded for."""
        terms = [feature.term for feature in self.spec.features]
        return isinstance(self.family, HasFeatures) or (bool(terms) and all(terms))

    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        """See `HasFeatures`; for a family that is `featured`."""
        if isinstance(self.family, HasFeatures):
            return self.family.features(window)
        return term_features(self.spec, window)

    def perceived(self, parameters: Tensor) -> Tensor:
        """True parameters (…, P) as a network sees them: logarithms where only ratios matter."""
        return self._by_scale(parameters, torch.log)

    def physical(self, perceived: Tensor) -> Tensor:
        """The inverse of `perceived`."""
        return self._by_scale(perceived, torch.exp)

    def _by_scale(self, x: Tensor, of_log: Callable[[Tensor], Tensor]) -> Tensor:
        columns = zip(self.spec.parameters, x.unbind(-1), strict=True)
        return torch.stack([of_log(c) if p.scale == "log" else c for p, c in columns], dim=-1)

    def standard(self, parameters: Tensor) -> Tensor:
        """True parameters (…, P) in typical units: as a network sees them, of mean 0 and standard deviation 1."""
        mean, spread = self.typical
        standard: Tensor = (self.perceived(parameters) - mean) / spread
        return standard

    @cached_property
    def typical(self) -> Tensor:
        """Mean and standard deviation of the perceived parameters over the family, (2, P)."""
        tasks = self.sample(_TYPICAL, np.random.default_rng(_TYPICAL_SEED))
        seen = self.perceived(self.parameters(tasks))
        return torch.stack([seen.mean(0), seen.std(0).clamp_min(_LEAST_SPREAD)])


def _stacked(each: Sequence[Tasks]) -> Tasks:
    """Machines, one by one, as one batch."""
    columns = zip(*each, strict=True)
    stacked: Tasks = type(each[0])(*(torch.cat(column) for column in columns))
    return stacked


def _closeness(spec: TaskSpec, window: Window) -> Tensor:
    """A reward by the headline's pairs: minus the mean of their near-absolute differences, (T, K, S)."""
    halves, parts = _half_ranges(spec), []
    for measured, wanted in spec.headline.pairs:
        i, j = spec.index(measured), spec.index(wanted)
        x = (window.obs[:, :, 1:, i] - window.obs[:, :, 1:, j]) / halves[i]
        parts.append(_SMALL - torch.sqrt(x * x + _SMALL**2))
    return torch.stack(parts).mean(0)


def term_features(spec: TaskSpec, window: Window) -> tuple[Tensor, Tensor]:
    """φ of every transition, (T, K, S, d), by the terms of the spec's features; and which of them are known.

    Before an episode's begin a machine is taken to have been as it was then, and the actions 0.
    """
    past = max(features.reach(spec.features), 1)
    seen = _observed(spec, window, past)
    action = dict(zip(spec.action_scalars, limited(spec, window.action).unbind(-1), strict=True))
    before = {
        name: torch.cat([torch.zeros_like(x[:, :, :1]), x[:, :, :-1]], dim=2) for name, x in action.items()
    }

    def observed(name: str, ago: int) -> Tensor:
        return seen[name][ago]

    def commanded(name: str, ago: int) -> Tensor:
        return before[name] if ago else action[name]

    phi = torch.stack(features.features(spec.features, observed, commanded), dim=-1)
    return phi, _known(window.mask, past)


def _observed(spec: TaskSpec, window: Window, past: int) -> dict[str, list[Tensor]]:
    """Of each scalar that a feature names, its values at each transition's end, a tick before that, … `past` before."""
    names = dict.fromkeys(
        name for f in spec.features if f.term and f.term.of in ("error", "jerk") for name in f.term.channels
    )
    steps, out = window.action.shape[2], {}
    for name in names:
        x = window.obs[..., spec.index(name)]
        padded = torch.cat([*[x[:, :, :1]] * max(past - 1, 0), x], dim=2)  # (T, K, S + past)
        out[name] = [padded[:, :, past - ago : past - ago + steps] for ago in range(past + 1)]
    return out


def _known(mask: Tensor, past: int) -> Tensor:
    """Of which transitions (T, K, S) all that a feature asks for is valid."""
    known, shifted = torch.ones_like(mask), mask
    for _ in range(max(past - 1, 0)):
        shifted = torch.cat([torch.zeros_like(shifted[:, :, :1]), shifted[:, :, :-1]], dim=2)
        known = known * shifted
    return known


def _scaling(spec: TaskSpec) -> tuple[Tensor, Tensor]:
    """(n_obs, n) and (n,): differences of the headline's pairs, enlarged, then every observed scalar by its range."""
    scalars = [c for c in spec.observation for _ in range(c.size)]
    centers = torch.tensor([0.5 * (c.minimum + c.maximum) for c in scalars])
    halves = torch.tensor(_half_ranges(spec))
    pairs = torch.zeros(spec.n_obs, len(spec.headline.pairs))
    for column, (measured, wanted) in enumerate(spec.headline.pairs):
        scale = _ERROR / float(halves[spec.index(measured)])
        pairs[spec.index(wanted), column], pairs[spec.index(measured), column] = scale, -scale
    each = torch.diag(1.0 / halves)
    return torch.cat([pairs, each], dim=1), torch.cat([torch.zeros(pairs.shape[1]), -centers / halves])


def _half_ranges(spec: TaskSpec) -> list[float]:
    """Half the width of the range of every observed scalar: numbers, which tracing takes for constants."""
    return [0.5 * (c.maximum - c.minimum) for c in spec.observation for _ in range(c.size)]


def _baseline(spec: TaskSpec, x: Tensor, window: Window, discount: Tensor) -> Tensor:
    """Regressors from the squashed inputs x (T, K, S + 1, n): themselves, their squares, the time to go, the reference.

    The reference does what it does whatever the actions are, so that its future may enter without bias (Mao et al.
    2018, "Variance Reduction for Reinforcement Learning in Input-Driven Environments", section 4).
    """
    steps = window.action.shape[2]
    total = discount.sum(0)  # (S,) the discounted time to go
    now = x[:, :, :steps]
    time = torch.stack([torch.ones_like(total), total, total * total], dim=-1)
    columns = [time.expand(*now.shape[:3], 3), now, now * now, total.unsqueeze(-1) * now]
    halves = _half_ranges(spec)
    for measured, wanted in spec.headline.pairs:
        i, j = spec.index(measured), spec.index(wanted)
        target, error = window.obs[..., j], (window.obs[..., j] - window.obs[..., i])[:, :, :steps]
        coming = target[:, :, 1:] @ discount - target[:, :, :steps] * total
        size = _ABRUPT / halves[i]
        ahead = [coming, coming * torch.tanh(size * error), total * error.abs(), error.abs()]
        columns.append(torch.stack(ahead, dim=-1))
    return torch.cat(columns, dim=-1)
