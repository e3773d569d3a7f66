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

from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.context import Context
from acclimate_trainer.algorithms.model.form import Form, predicted, squares
from acclimate_trainer.algorithms.model.gradient import Gradient
from acclimate_trainer.algorithms.model.policies import MODEL, ModelPolicy
from acclimate_trainer.algorithms.model.priors import Priors
from acclimate_trainer.algorithms.model.rows import Layout
from acclimate_trainer.algorithms.reactive import risen
from acclimate_trainer.algorithms.rl2.rl2 import initial_parameters, n_inputs
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import Episodes, draw, drive, headline, initial_of, total_cost
from acclimate_trainer.play.trials import Course, change_in, times_of_change, trial_costs
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

FormName: TypeAlias = Literal["gradient", "context", "priors"]
_LEAST = 1e-4  # of a mean square that is predicted: no sensor is more exact


@dataclass(frozen=True)
class ModelConfig:
    """Section [model] of a config."""

    form: FormName = "context"
    """How the model adapts: gradient, context or priors."""
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
    episodes: int = 2
    """Episodes of a trial."""
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

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = ("model_hidden", "size", "ahead", "transitions", "hidden", "episodes", "windows", "side_by_side", "block")
        shares = ("change", "explore", "adjoint_decay")
        others = {"past": NOT_NEGATIVE, "rate": POSITIVE, "prediction": POSITIVE}
        require(self, {**dict.fromkeys(counts, COUNT), **dict.fromkeys(shares, SHARE), **others})


class Model(Generic[Tasks]):
    """Trains a `ModelPolicy`."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: ModelConfig) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config = config
        self._view = View.of(self._family)
        self._layout = Layout(self._view, config.past, config.ahead)
        self._form = self._chosen()

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
        policy = initial_parameters(
            n_inputs(self._view), self._view.n_act, self._config.hidden, rng, told
        )
        return policy | {MODEL + name: value for name, value in self._form.initial(rng).items()}

    def policy(self, meta: Tensors) -> ModelPolicy:
        return ModelPolicy(meta, self._layout, self._form, self._config.transitions)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """What driving costs, by block, roots taken; and the model's loss. Each task's own."""
        c = self._config
        explores = torch.arange(tasks) < round(c.explore * tasks)
        driven = self._trial(meta, explores, rng, risen(progress, c.curriculum))
        costs = trial_costs(self._family, driven.episodes)
        cost = torch.where(explores, 0.0, total_cost(costs, c.block))
        seen = costs[0]._replace(values=costs[0].values[~explores])
        learned = torch.stack(driven.errors[1:]).mean(0)  # (T, n_y)
        report = {
            costs[0].name: headline(seen),
            "predicted": learned.sqrt().mean(-1),
            "unadapted": driven.errors[0].sqrt().mean(-1),
        }
        logs = 0.5 * torch.log(torch.stack(driven.errors[1:]) + _LEAST).mean((0, 2))
        return Losses(cost + c.prediction * logs, report)

    def _trial(
        self, meta: Tensors, explores: Tensor, rng: np.random.Generator, progress: float
    ) -> _Driven:
        """Drive windows, and adapt to each of them, as a device does."""
        c, policy, tasks = self._config, self.policy(meta), len(explores)
        steps = policy.window.steps
        length = steps * c.windows
        before = self._family.sample(tasks, rng, progress)
        at = times_of_change(self._family, tasks, c.episodes * length, c.change, rng)
        course = Course(before, self._family.change(before, rng, progress), at)
        axes = (tasks, c.side_by_side)
        live = {**meta, **policy.begin(tasks), **initial_of(policy, axes)}
        driven = _Driven([], [])
        for episode in range(c.episodes):
            live |= initial_of(policy, axes, ("episode",))
            around = draw(self._family, before, rng, explore=c.side_by_side, measure=0, steps=length)
            noise = around.noise * explores[:, None, None, None]
            parts = []
            for k in range(c.windows):
                ticks = slice(k * steps, (k + 1) * steps)
                part = around._replace(
                    noise=noise[:, :, ticks],
                    reference=around.reference[:, :, ticks.start : ticks.stop + 1],
                )
                first = episode * length + ticks.start
                change = change_in(self._family, course, first, tells=False)
                episodes, live = drive(policy, live, self._family.spec, part, c.adjoint_decay, change)
                window = Window(*(x.detach() for x in episodes.window()))
                driven.errors.append(self._error(policy, meta, live, window))
                live |= policy.adapt(live, Window(*(x[:, :1] for x in window))).next
                live["told"] = live["told"].detach()
                parts.append(episodes)
            driven.episodes.append(_one_after_the_other(parts))
        return driven

    def _error(self, policy: ModelPolicy, meta: Tensors, live: Tensors, window: Window) -> Tensor:
        """Mean square of each sensor's prediction errors, (T, n_y), with what is thought before the window."""
        rows = self._layout.rows(window)
        return policy.errors(live, rows)


class _Driven(NamedTuple):
    """Episodes of a trial, and the model's errors in each window, (T, n_y)."""

    episodes: list[Episodes]
    errors: list[Tensor]


def _one_after_the_other(parts: list[Episodes]) -> Episodes:
    """Windows of one episode as that episode."""
    obs = torch.cat([*(part.obs[:, :, :-1] for part in parts), parts[-1].obs[:, :, -1:]], dim=2)
    others = (torch.cat(column, dim=2) for column in list(zip(*parts, strict=True))[1:])
    return Episodes(obs, *others)
