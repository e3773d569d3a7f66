"""Frozen features: a representation that was learned on many machines, and a new head for each that is met.

What is transferred is the body of a network. On a new machine only its last, linear layer is fitted, by least squares,
in closed form, to a window of motion, and without a reward: the head is an inverse model (`hindsight`). The body is
trained as it is used, through the fit and through the simulator (Bertinetto et al. 2019, "Meta-learning with
differentiable closed-form solvers"): it learns those features of which, whatever the machine, a few numbers of a head
make a good controller; and with it what a head is like before anything was seen, and how much a window is worth.

How much a device can know of its machine is the width of the body's last layer: `width`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic

import numpy as np
import torch
from acclimate.bundle.manifest import AdaptationSpec, WindowSpec
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.features.policy import HEAD, PRECISION, PRIOR, FeaturesPolicy
from acclimate_trainer.algorithms.reactive import risen
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.feedforward import SIGMA_START
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import Episodes, draw, headline, rollout, total_cost
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_FIRST, _HEAD = 2.0, 0.1  # scale of weights, times 1/√n_in, as in `networks.feedforward`


@dataclass(frozen=True)
class FeaturesConfig:
    """Section [features] of a config."""

    width: int = 8
    """Width of the frozen layer that the head sees, the bottleneck."""
    hidden: int = 32
    """Width of each layer before it."""
    depth: int = 1
    """Layers before it."""
    ahead: int = 4
    """Ticks after which it is looked where an action has led."""
    evidence: float = 30.0
    """How much a whole window of motion counts at the start of training, in units of what is thought before it."""
    adapt_steps: int = 2
    """Windows of a trial; what is thought after one is what the next begins with."""
    support_episodes: int = 4
    """Exploring episodes of a window."""
    query_episodes: int = 4
    """Noise-free episodes that the loss is measured on, before and after every window."""
    episode_steps: int = 100
    """Ticks of an episode."""
    unadapted_weight: float = 0.2
    """Weight of the cost before the first window in the loss; after one it is 1."""
    adjoint_decay: float = 0.93
    """Factor on the gradient through the simulated state, per tick backwards; 1 is the exact gradient."""
    curriculum: tuple[float, float] = (0.0, 0.4)
    """Shares of training between which the family's harder machines become as frequent as in the family."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        sizes = (
            "width",
            "hidden",
            "ahead",
            "adapt_steps",
            "support_episodes",
            "query_episodes",
            "episode_steps",
        )
        others = {"depth": NOT_NEGATIVE, "evidence": POSITIVE, "unadapted_weight": NOT_NEGATIVE}
        require(self, {**dict.fromkeys(sizes, COUNT), **others, "adjoint_decay": SHARE})
        if self.ahead > self.episode_steps:
            raise UsageError(
                f"ahead must fit into an episode of {self.episode_steps} steps, found {self.ahead}"
            )


class Features(Generic[Tasks]):
    """Trains a `FeaturesPolicy`."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: FeaturesConfig) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config = config
        self._view = View.of(self._family)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The body, the typical head, and what is known of heads before any window."""
        c, n_act = self._config, self._view.n_act
        widths = (self._view.n_in, *[c.hidden] * c.depth, c.width)
        meta: dict[str, Tensor] = {}
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            meta[f"w{i}"] = _normal(rng, (n_in, n_out), (_FIRST if i == 0 else 1.0) / math.sqrt(n_in))
            meta[f"b{i}"] = torch.zeros(1, n_out)
        meta |= {"scale": torch.ones(1, self._view.n_in), "sigma": torch.full((1, n_act), SIGMA_START)}
        meta[HEAD] = _normal(rng, (c.width + 1, n_act), _HEAD / math.sqrt(c.width))
        starts = (torch.zeros(1, c.width + 1), torch.full((1, 1), math.log(c.evidence)))
        return meta | dict(zip(PRIOR, starts, strict=True))

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """The costs of noise-free episodes before and after every window, and the headline of each."""
        c, policy = self._config, self.policy(meta)
        machines = self._family.sample(tasks, rng, risen(progress, c.curriculum))
        state = {**meta, PRECISION: policy.prior_precision}
        weight, total, report = c.unadapted_weight, torch.zeros(tasks), {}
        for k in range(c.adapt_steps + 1):
            if k:
                with torch.no_grad():
                    window = self._episodes(policy, state, machines, c.support_episodes, 0, rng).window()
                state |= policy.adapt(state, window).next
            driven = self._episodes(policy, state, machines, 0, c.query_episodes, rng)
            costs = self._family.costs(driven.window(), driven.reward)
            total = total + (1.0 if k else weight) * total_cost(costs)
            report[f"{costs[0].name}_{k}"] = headline(costs[0])
        return Losses(total, report)

    def _episodes(
        self,
        policy: FeaturesPolicy,
        state: Tensors,
        machines: Tasks,
        explore: int,
        measure: int,
        rng: np.random.Generator,
    ) -> Episodes:
        c = self._config
        around = draw(self._family, machines, rng, explore=explore, measure=measure, steps=c.episode_steps)
        return rollout(policy, state, self._family.spec, around, c.adjoint_decay)

    def policy(self, meta: Tensors) -> FeaturesPolicy:
        c = self._config
        window = WindowSpec(c.support_episodes, c.episode_steps)
        return FeaturesPolicy(meta, self._view, c.ahead, window, AdaptationSpec(c.adapt_steps))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Tensor:
    return torch.tensor(scale * rng.standard_normal(shape), dtype=torch.float32)
