"""Policies that do not adapt: the domain-randomised one, and the oracle that is told the true parameters.

Both are the network of every other policy here, trained on the same family by backpropagation through the
simulator. They bound what adaptation can be worth: the robust policy from above, the oracle from below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import (
    Activation,
    initial_parameters,
    layer_shapes,
    sampled_action,
)
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import draw, headline, rollout, total_cost
from acclimate_trainer.settings.limits import COUNT, SHARE, require

_CURRICULUM = (
    0.2,
    0.7,
)  # of training, over which the family's harder machines become as frequent as in the family


@dataclass(frozen=True)
class ReactiveConfig:
    """Section [robust] or [oracle] of a config."""

    hidden: int = 32
    """Width of each hidden layer."""
    depth: int = 2
    """Hidden layers."""
    activation: Activation = "tanh"
    """tanh, relu, elu or silu."""
    episodes: int = 10
    """Episodes on each task in every iteration."""
    episode_steps: int = 100
    """Ticks of an episode."""
    adjoint_decay: float = 0.93
    """Factor on the gradient through the simulated state, per tick backwards; 1 is the exact gradient."""
    curriculum: tuple[float, float] = _CURRICULUM
    """Shares of training between which the family's harder machines become as frequent as in the family."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = dict.fromkeys(("hidden", "depth", "episodes", "episode_steps"), COUNT)
        require(self, {**counts, "adjoint_decay": SHARE})


class ReactivePolicy:
    """act only: the network on the observation and the previous action; an oracle's, on the parameters as well."""

    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None

    def __init__(self, params: Tensors, view: View, config: ReactiveConfig, *, told: bool = False) -> None:
        """told: whether the true parameters are among the inputs."""
        self._params, self._view, self._config, self._told = params, view, config, told

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @property
    def algorithm(self) -> str:
        return "oracle" if self._told else "robust"

    @property
    def privileged(self) -> tuple[str, ...]:
        return tuple(p.name for p in self._view.family.spec.parameters) if self._told else ()

    @property
    def state(self) -> tuple[StateTensor, ...]:
        params = [StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()]
        task = [StateTensor("task", (len(self.privileged),), "trial")] if self._told else []
        return (*params, *task, StateTensor("previous_action", (self._view.n_act,), "episode", "act"))

    def initial(self) -> dict[str, Tensor]:
        """The initial task is the typical one."""
        task = {"task": self._view.typical_task()} if self._told else {}
        return {**self._params, **task, "previous_action": torch.zeros(self._view.n_act)}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = self._view.inputs(obs, state["previous_action"])
        if self._told:
            x = torch.cat([x, self._view.told(state["task"], x.shape[1])], dim=-1)
        action = sampled_action(state, x, noise, self._config.activation)
        return Act(self._view.physical(action), {"previous_action": F.hardtanh(action)}, {})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        raise NotImplementedError(f"a {self.algorithm} policy does not adapt")


class Reactive(Generic[Tasks]):
    """Trains a robust policy, or with `oracle` an oracle, on the family's costs themselves."""

    def __init__(
        self, family: TaskFamily[Tasks] | Complete[Tasks], config: ReactiveConfig, *, oracle: bool
    ) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config, self._oracle = config, oracle
        self._view = View.of(self._family)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        n_in = self._view.n_in + (len(self._family.spec.parameters) if self._oracle else 0)
        shapes = layer_shapes(n_in, self._config.hidden, self._view.n_act, self._config.depth)
        return initial_parameters(shapes, rng)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """The costs of noise-free episodes, per task."""
        c = self._config
        machines = self._family.sample(tasks, rng, risen(progress, c.curriculum))
        surroundings = draw(self._family, machines, rng, explore=0, measure=c.episodes, steps=c.episode_steps)
        told = {**meta, "task": self._family.parameters(machines)}
        episodes = rollout(self.policy(meta), told, self._family.spec, surroundings, c.adjoint_decay)
        costs = self._family.costs(episodes.window(), episodes.reward)
        return Losses(total_cost(costs), {costs[0].name: headline(costs[0])})

    def policy(self, meta: Tensors) -> ReactivePolicy:
        return ReactivePolicy(meta, self._view, self._config, told=self._oracle)


def risen(progress: float, between: tuple[float, float]) -> float:
    """From 0 to 1 over a part of training: the progress of a curriculum."""
    begin, end = between
    return min(max((progress - begin) / max(end - begin, 1e-9), 0.0), 1.0)
