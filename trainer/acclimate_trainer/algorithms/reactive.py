"""Policies that do not adapt: the domain-randomised one, and the oracle that is told the true parameters.

Both are the network of every other policy here, trained on the same family by backpropagation through the
simulator. They bound what adaptation can be worth: the robust policy from above, the oracle from below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from torch import Tensor

from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import (
    N_FEATURES,
    initial_parameters,
    layer_shapes,
    sampled_action,
    tracking_features,
)
from acclimate_trainer.outer_loop.limits import COUNT, SHARE, require
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import draw, rollout, tracking_rms
from acclimate_trainer.tasks.servo import PRIVILEGED, ServoFamily

_LOGARITHMIC = frozenset({"kt", "resistance", "voltage", "inertia", "coulomb", "viscous"})
_CURRICULUM = (0.2, 0.7)  # of training, over which reversed servos become as frequent as in the family
_TYPICAL = 4096  # tasks from which the scale of the true parameters is taken
_TYPICAL_SEED = 20261123


@dataclass(frozen=True)
class ReactiveConfig:
    """Section [robust] or [oracle] of a config."""

    hidden: int = 32
    """Width of both hidden layers."""
    episodes: int = 10
    """Episodes on each task in every iteration."""
    episode_steps: int = 100
    """Ticks of an episode."""
    adjoint_decay: float = 0.93
    """Factor on the gradient through the simulated state, per tick backwards; 1 is the exact gradient."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = dict.fromkeys(("hidden", "episodes", "episode_steps"), COUNT)
        require(self, {**counts, "adjoint_decay": SHARE})


class ReactivePolicy:
    """act only: the network on the observation and the previous action; with `scales`, on the task as well."""

    n_noise = 1
    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None

    def __init__(self, params: Tensors, scales: Tensor | None = None) -> None:
        """`scales` (2, 9): mean and standard deviation of the true parameters as the network sees them."""
        self._params, self._scales = params, scales

    @property
    def algorithm(self) -> str:
        return "robust" if self._scales is None else "oracle"

    @property
    def privileged(self) -> tuple[str, ...]:
        return () if self._scales is None else PRIVILEGED

    @property
    def state(self) -> tuple[StateTensor, ...]:
        params = [StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()]
        task = [StateTensor("task", (len(PRIVILEGED),), "trial")] if self.privileged else []
        return (*params, *task, StateTensor("previous_action", (1,), "episode", "act"))

    def initial(self) -> dict[str, Tensor]:
        """The initial task is the typical one."""
        task = {} if self._scales is None else {"task": _physical(self._scales[0])}
        return {**self._params, **task, "previous_action": torch.zeros(1)}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = tracking_features(obs, state["previous_action"])
        if self._scales is not None:
            task = (perceived(state["task"]) - self._scales[0]) / self._scales[1]  # (T, 9)
            x = torch.cat([x, task.unsqueeze(1).expand(*x.shape[:2], -1)], dim=-1)
        action = sampled_action(state, x, noise)
        return Act(action, {"previous_action": F.hardtanh(action)}, {})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        raise NotImplementedError(f"a {self.algorithm} policy does not adapt")


class Reactive:
    """Trains a robust policy, or with `oracle` an oracle, on the tracking error itself."""

    def __init__(self, family: ServoFamily, config: ReactiveConfig, *, oracle: bool) -> None:
        self._family, self._config = family, config
        self._scales = typical_scales(family) if oracle else None

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        n_in = N_FEATURES + (0 if self._scales is None else len(PRIVILEGED))
        return initial_parameters(layer_shapes(n_in, self._config.hidden, 1), rng)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """RMS tracking error of noise-free episodes, per task."""
        c = self._config
        devices = self._family.sample(tasks, rng, 0.5 * _risen(progress))
        surroundings = draw(self._family, devices, rng, explore=0, measure=c.episodes, steps=c.episode_steps)
        told = {**meta, "task": devices.privileged()}
        episodes = rollout(self.policy(meta), told, self._family, devices, surroundings, c.adjoint_decay)
        error = tracking_rms(episodes)
        return Losses(error, {"error": error})

    def policy(self, meta: Tensors) -> ReactivePolicy:
        return ReactivePolicy(meta, self._scales)


def _risen(progress: float) -> float:
    """From 0 to 1 over the middle of training.

    Where polarity is unknown, a policy that meets reversed servos from the start learns to do nothing at all.
    """
    begin, end = _CURRICULUM
    return min(max((progress - begin) / (end - begin), 0.0), 1.0)


def perceived(task: Tensor) -> Tensor:
    """True parameters (…, 9) as the network sees them: logarithms where only the ratio matters."""
    columns = [
        torch.log(x) if name in _LOGARITHMIC else x
        for name, x in zip(PRIVILEGED, task.unbind(-1), strict=True)
    ]
    return torch.stack(columns, dim=-1)


def _physical(perceived: Tensor) -> Tensor:
    columns = [
        torch.exp(x) if name in _LOGARITHMIC else x
        for name, x in zip(PRIVILEGED, perceived.unbind(-1), strict=True)
    ]
    return torch.stack(columns, dim=-1)


def typical_scales(family: ServoFamily) -> Tensor:
    tasks = family.sample(_TYPICAL, np.random.default_rng(_TYPICAL_SEED))
    seen = perceived(tasks.privileged())
    return torch.stack([seen.mean(0), seen.std(0).clamp_min(1e-3)])
