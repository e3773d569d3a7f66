"""A model of a machine's dynamics that adapts to its own prediction errors, and what drives by it.

What is learned on the sources is how machines of the family move, and how to tell from few transitions how this one
does: no reward says so, only the difference between what was predicted and what came. There are three forms of it
(`gradient`, `context`, `priors`), and two ways to drive by it (`policies`, `planner`).

Trained by driving as a device does: in every trial a window is driven, the model adapts to it, and the next one is
driven with what it thinks then. The model minimises, summed over sensors s and windows after the first,

    ½·log(mean of (y_s − ŷ_s)² over the next window)        before it has adapted to that one

by backpropagation through its steps (Nagabandi et al. 2019, "Learning to Adapt", equation 3); the logarithm makes a
machine that moves little count as one that moves much. The policy minimises what the family says that driving costs,
by backpropagation through the simulator, as RL² does, and what it is told is a fact: no gradient leads through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, TypeAlias

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.model.context import Context
from acclimate_trainer.algorithms.model.episodes import Places, Trials
from acclimate_trainer.algorithms.model.form import Form
from acclimate_trainer.algorithms.model.gradient import Gradient
from acclimate_trainer.algorithms.model.planner import Planning, PlanningPolicy
from acclimate_trainer.algorithms.model.policies import MODEL, ModelPolicy
from acclimate_trainer.algorithms.model.priors import Priors
from acclimate_trainer.algorithms.model.rows import Layout
from acclimate_trainer.algorithms.reactive import risen
from acclimate_trainer.algorithms.rl2.rl2 import initial_parameters, n_inputs
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses, LossesOf
from acclimate_trainer.play.rollouts import headline, total_cost
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

FormName: TypeAlias = Literal["gradient", "context", "priors"]
Acts: TypeAlias = Literal["policy", "planner"]
_LEAST = 1e-4  # of a mean square that is predicted: no sensor is more exact


@dataclass(frozen=True)
class ModelConfig:
    """Section [model] of a config."""

    form: FormName = "context"
    """How the model adapts: gradient, context or priors."""
    act: Acts = "policy"
    """What drives a device: policy, a network that is told what the model thinks, or planner, the model alone. In
    training it is the policy, either way."""
    model_hidden: int = 32
    """Width of both hidden layers of the model."""
    size: int = 8
    """Entries of the context vector, prior models, or situations in which a policy is told what is predicted."""
    ahead: int = 4
    """Ticks ahead that the model predicts."""
    past: int = 3
    """Ticks before, whose actions it sees: as many as a link can be late by."""
    transitions: int = 16
    """Predictions that one step learns from; a window has these, and the ticks that they reach back and ahead."""
    rate: float = 0.05
    """Step size of the gradient step at the start of training."""
    hidden: int = 17
    """Width of the policy's GRU."""
    episodes: int = 3
    """Episodes of a trial."""
    trials: int = 2
    """Trials that follow one another in an iteration; the optimizer takes a step after each episode."""
    windows: int = 4
    """Windows of an episode."""
    side_by_side: int = 4
    """Trials on each task in every iteration; the model adapts to the first of them, for all."""
    change: float = 0.5
    """Share of trials in the middle of which something happens to the machine, in a family where anything does."""
    explore: float = 0.25
    """Share of tasks on which the policy explores, for the model's sake: there, what driving costs does not count."""
    curriculum: tuple[float, float] = (0.0, 0.5)
    """Shares of training between which the family's harder machines become as frequent as in the family."""
    adjoint_decay: float = 0.97
    """Factor on the gradient through the simulated state and the hidden one, per tick backwards."""
    block: int = 22
    """Ticks over which the error is averaged before its root is taken: short ones make small errors count."""
    prediction: float = 0.1
    """Weight of the model's loss beside the cost of driving."""
    blocks: int = 4
    """Actions of a plan, each of which is held for `ahead` ticks."""
    samples: int = 48
    """Variations of the plan that are tried."""
    refinements: int = 2
    """Times that the plan is varied at every tick, each time half as widely as before."""
    spread: float = 0.4
    """Standard deviation of the first variations, of full scale."""
    temperature: float = 0.1
    """How much the cost of a variation may be above the best one, of what they are on average, and still count."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        trials = ("episodes", "trials", "windows", "side_by_side", "block")
        sizes = ("model_hidden", "size", "ahead", "transitions", "hidden")
        planned = ("blocks", "samples", "refinements")
        shares = ("change", "explore", "adjoint_decay")
        positive = ("rate", "prediction", "spread", "temperature")
        others = {"past": NOT_NEGATIVE, **dict.fromkeys(positive, POSITIVE)}
        require(
            self,
            {**dict.fromkeys((*trials, *sizes, *planned), COUNT), **dict.fromkeys(shares, SHARE), **others},
        )


class Model(Generic[Tasks]):
    """Trains a `ModelPolicy`."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: ModelConfig) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config = config
        self._view = View.of(self._family)
        self._layout = Layout(self._view, config.past, config.ahead)
        self._form = self._chosen()
        if config.act == "planner" and not (self._family.rewarded or self._family.spec.headline.pairs):
            raise UsageError(
                f'[model] act = "planner" needs a reward that follows from what is observed, and the family '
                f'{self._family.spec.name!r} has none; use act = "policy"'
            )

    def _chosen(self) -> Form:
        c, layout = self._config, self._layout
        sizes = (layout.n_x, layout.n_y, c.model_hidden, c.size)
        match c.form:
            case "gradient":
                return Gradient(*sizes, c.rate)
            case "context":
                return Context(*sizes)
            case "priors":
                return Priors(*sizes)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        told = self._form.n_told
        policy = initial_parameters(n_inputs(self._view), self._view.n_act, self._config.hidden, rng, told)
        return policy | {MODEL + name: value for name, value in self._form.initial(rng).items()}

    def policy(self, meta: Tensors) -> ModelPolicy:
        c = self._config
        if c.act == "policy":
            return self._driver(meta)
        planning = Planning(c.blocks, c.samples, c.refinements, c.spread, c.temperature)
        return PlanningPolicy(meta, self._layout, self._form, c.transitions, planning)

    def _driver(self, meta: Tensors) -> ModelPolicy:
        """What drives in training."""
        return ModelPolicy(meta, self._layout, self._form, self._config.transitions)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """Over a whole trial; each task's own."""
        places = self._places(tasks, rng, progress)
        losses = [self._losses(places, meta) for _ in range(self._config.episodes)]
        report = {n: torch.stack([each.report[n] for each in losses]).mean(0) for n in losses[0].report}
        return Losses(torch.stack([each.total for each in losses]).mean(0), report)

    def pieces(self, tasks: int, rng: np.random.Generator, progress: float) -> Iterator[LossesOf]:
        """Episodes of several trials."""
        places = self._places(tasks, rng, progress)
        for _ in range(self._config.trials * self._config.episodes):
            yield partial(self._losses, places)

    def _places(self, tasks: int, rng: np.random.Generator, progress: float) -> Places[Tasks]:
        c = self._config
        plan = Trials(
            places=tasks,
            side_by_side=c.side_by_side,
            episodes=c.episodes,
            windows=c.windows,
            change=c.change,
            explore=c.explore,
            progress=risen(progress, c.curriculum),
            adjoint_decay=c.adjoint_decay,
        )
        return Places(self._family, plan, rng)

    def _losses(self, places: Places[Tasks], meta: Tensors) -> Losses:
        """What the next episode costs, by block, roots taken; and the model's loss."""
        c, driven = self._config, places.drive(self._driver(meta), meta)
        costs = self._family.costs(driven.episode.window(), driven.episode.reward)
        cost = torch.where(places.explores, 0.0, total_cost(costs, c.block))
        errors = torch.stack(driven.errors, dim=1)  # (T, windows, n_y)
        known = torch.ones(errors.shape[:2])
        known[:, 0] = (~driven.new).float()  # nothing is known of a machine that has not moved
        logs = 0.5 * torch.log(errors + _LEAST).mean(-1)
        learned = (logs * known).sum(-1) / known.sum(-1)
        report = {
            costs[0].name: torch.where(places.explores, torch.nan, headline(costs[0])),
            "prediction": torch.exp(learned),
        }
        return Losses(cost + c.prediction * learned, report)
