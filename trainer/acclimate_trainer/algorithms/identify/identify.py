"""Identify, then control: the classical answer to an unknown machine, as a policy like any other.

`adapt` is a fit of the machine's parameters to what was driven (`fit`), and `act` RL²'s network, told the estimate and
how sure it is of it. Before the first window that is nothing, and the network finds out by itself what it can.

Trained by backpropagation through the simulator, as RL² is. What it is told in training is what a fit of a window
would find, of which none, little or much is valid: by the curvature of the prediction errors at the true parameters,
with the errors that a fit has there. A fit proper would take twenty times as long, and the network could not tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from acclimate.bundle.manifest import AdaptationSpec, WindowSpec
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.identify.fit import Belief, Fit, FitConfig
from acclimate_trainer.algorithms.identify.policy import IdentifyPolicy
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Config, initial_parameters, n_inputs, new_trial
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import draw, headline, rollout, total_cost
from acclimate_trainer.play.trials import run_trial, trial_costs
from acclimate_trainer.settings.limits import COUNT, SHARE, require


@dataclass(frozen=True)
class IdentifyConfig(FitConfig, Rl2Config):
    """Section [identify] of a config: as [rl2], and these."""

    change: float = 0.3
    """Share of trials in the middle of which something happens to the machine, of which the estimate says nothing."""
    adapt_steps: int = 2
    """Windows of a trial; what is thought after one is what the next begins with."""
    support_episodes: int = 8
    """Exploring episodes of a window."""
    support_steps: int = 100
    """Ticks of an exploring episode."""
    unknown: float = 0.25
    """Share of tasks on which the policy is told nothing, as before the first window."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        FitConfig.__post_init__(self)
        Rl2Config.__post_init__(self)
        counts = dict.fromkeys(("adapt_steps", "support_episodes", "support_steps"), COUNT)
        require(self, {**counts, "unknown": SHARE})


class Identify(Generic[Tasks]):
    """Trains an `IdentifyPolicy`."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: IdentifyConfig) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config = config
        self._view = View.of(self._family)
        self._fit = Fit(self._view.family, config)
        if self._fit.needs > config.support_steps:
            raise UsageError(
                f"a stretch of {config.stretch} ticks does not fit into an episode of {config.support_steps}: with "
                f"the actions before it, it takes {self._fit.needs}; make stretch shorter or support_steps longer"
            )

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        told = 2 * len(self._family.spec.parameters)
        return initial_parameters(n_inputs(self._view), self._view.n_act, self._config.hidden, rng, told)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """As RL²'s, of a policy that is told what a fit would have found before."""
        c, policy = self._config, self.policy(meta)
        trial = new_trial(self._family, c, tasks, rng, progress)
        state = {**meta, **self._told(policy, meta, trial.course.before, tasks, rng)}
        episodes = run_trial(policy, state, self._family, trial, c.adjoint_decay)
        costs = trial_costs(self._family, episodes)
        return Losses(total_cost(costs, c.block), {costs[0].name: headline(costs[0])})

    def policy(self, meta: Tensors) -> IdentifyPolicy:
        c = self._config
        window = WindowSpec(c.support_episodes, c.support_steps)
        return IdentifyPolicy(meta, self._view, self._fit, window, AdaptationSpec(c.adapt_steps))

    @torch.no_grad()
    def _told(
        self, policy: IdentifyPolicy, meta: Tensors, machines: Tasks, tasks: int, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """What is thought of each machine: nothing, or what some of a window's episodes have shown."""
        c, prior = self._config, self._fit.prior
        thought = {"estimate": prior.mean, "doubt": self._fit.unknown, "precision": prior.precision}
        unknown = {name: value.expand(tasks, *value.shape) for name, value in thought.items()}
        around = draw(
            self._family, machines, rng, explore=c.support_episodes, measure=0, steps=c.support_steps
        )
        window = rollout(policy, {**meta, **unknown}, self._family.spec, around).window()
        shown = torch.from_numpy(rng.integers(1, c.support_episodes + 1, (tasks, 1, 1)))
        window = window._replace(mask=window.mask * (torch.arange(c.support_episodes).view(-1, 1) < shown))
        z = self._family.standard(self._family.parameters(machines))
        noise = torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))
        belief = self._fit.imagined(z, Belief(unknown["estimate"], unknown["precision"]), window, noise)
        known = torch.from_numpy(rng.random((tasks, 1)) >= c.unknown)
        return {
            "estimate": torch.where(known, belief.mean.float(), unknown["estimate"]),
            "doubt": torch.where(known, self._fit.doubt(belief).float(), unknown["doubt"]),
            "precision": unknown["precision"],
        }
