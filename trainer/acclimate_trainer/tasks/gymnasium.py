"""Somebody else's environments as a family: an adapter of how one is made and what is set in it.

Gymnasium (Towers et al. 2024, "Gymnasium: A Standard Interface for Reinforcement Learning Environments") environments
are stateful and opaque. A family of them says three things: what they are (`spec`), how one is made (`make`), and
how it is given a task (`adjust`). For each machine and episode there is one environment; no gradient passes through
them, so that policies come from PPO or imitate a teacher.

What the environment observes comes first, in its order, then the reward, where the specification has a channel for
it. Where an episode ends the next one begins at once; who plays trials limits their length, so that environments are
best made without a time limit of their own.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import Parameter, TaskSpec
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.family import Property, Session, Step

if TYPE_CHECKING:
    import gymnasium

Env: TypeAlias = "gymnasium.Env[Any, Any]"
Tasks: TypeAlias = tuple[Tensor, ...]
"""T machines: a NamedTuple with a field (T, 1) for each parameter of the specification, in its order."""
_SEEDS = 2**31


def make(name: str, **options: object) -> Env:
    """`gymnasium.make` without a time limit. Raises UsageError where it is not installed."""
    try:
        library = importlib.import_module("gymnasium")
    except ModuleNotFoundError:
        raise UsageError(
            f"environment {name} needs gymnasium, which is not installed; pip install 'acclimate[gymnasium]' brings it"
        ) from None
    made: Env = library.make(name, max_episode_steps=-1, disable_env_checker=True, **options)
    return made


class GymnasiumFamily(ABC):
    """See the module. A subclass that is a frozen dataclass gets its fields from [family.options]."""

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """What the environments are; `differentiable` stays False."""

    @abstractmethod
    def make(self) -> Env:
        """A new environment."""

    @abstractmethod
    def adjust(self, env: Env, task: Mapping[str, float]) -> None:
        """Make `env` that of a task, by the names of the parameters; its state stays as it is."""

    @cached_property
    def tasks_type(self) -> type[Tasks]:
        return namedtuple("Tasks", [p.name for p in self.spec.parameters])

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """Draw every parameter from its range by itself, uniformly on its scale."""
        del progress
        return self.placed(rng.random((len(self.spec.parameters), n)).T, rng)

    @property
    def properties(self) -> tuple[Property, ...]:
        """The parameters; nothing is known of machines beyond their ranges."""
        easiest = {"sign": 1.0}
        return tuple(Property(p.name, easiest.get(p.scale, 0.5), 0.0, 1.0) for p in self.spec.parameters)

    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Tasks:
        """Environments by the places of their parameters, each on its scale."""
        del rng
        return self.tasks_type(*(_at(p, x) for p, x in zip(self.spec.parameters, places.T, strict=True)))

    def parameters(self, tasks: Tasks) -> Tensor:
        return torch.cat([*tasks], -1)

    def open(self, tasks: Tasks, episodes: int, steps: int, rng: np.random.Generator) -> Session[Tasks]:
        """Environments that begin anew, each with a seed of its own; they may be stepped as long as one likes."""
        del steps
        seeds = rng.integers(0, _SEEDS, (len(tasks[0]), episodes))
        return GymnasiumSession(self, tasks, seeds.tolist())


class GymnasiumSession:
    """Environments side by side; a `contract.family.Session`, opaque."""

    def __init__(self, family: GymnasiumFamily, tasks: Tasks, seeds: Sequence[Sequence[int]]) -> None:
        self._family, spec = family, family.spec
        self._envs = [[family.make() for _ in row] for row in seeds]
        self.become(tasks, torch.ones(len(seeds), dtype=torch.bool))
        pairs = zip(self._envs, seeds, strict=True)
        begun = [[env.reset(seed=seed)[0] for env, seed in zip(*pair, strict=True)] for pair in pairs]
        low, high = (np.array(ends, np.float32) for ends in spec.limits())
        self._low, self._high, self._shape = low, high, (len(seeds), len(seeds[0]))
        self._choices = bool(spec.choices)
        reward = [c for c in spec.sensors if c.source == "reward"]
        self._rewards = [(c.minimum, c.maximum) for c in reward]
        self._seen = self._measured(np.array(begun), np.zeros(self._shape))

    @property
    def obs(self) -> Tensor:
        return self._seen

    def step(self, action: Tensor) -> Step:
        commands = np.clip(action.detach().numpy(), self._low, self._high)
        steps = [
            [self._one(env, command) for env, command in zip(*pair, strict=True)]
            for pair in zip(self._envs, commands, strict=True)
        ]
        seen, reward, terminated, truncated = (
            np.array([[one[i] for one in row] for row in steps]) for i in range(4)
        )
        self._seen = self._measured(seen, reward)
        return Step(
            torch.from_numpy(reward.astype(np.float32)),
            torch.from_numpy(terminated.astype(np.bool_)),
            torch.from_numpy(truncated.astype(np.bool_)),
        )

    def become(self, tasks: Tasks, where: Tensor) -> None:
        names = [p.name for p in self._family.spec.parameters]
        columns = [column[:, 0].tolist() for column in tasks]
        for t in where.nonzero().flatten().tolist():
            task = {name: column[t] for name, column in zip(names, columns, strict=True)}
            for env in self._envs[t]:
                self._family.adjust(env, task)

    def _one(self, env: Env, command: np.ndarray) -> tuple[object, float, bool, bool]:
        obs, reward, terminated, truncated, _ = env.step(int(command[0]) if self._choices else command)
        if terminated or truncated:
            obs, _ = env.reset()
        return obs, float(reward), terminated, truncated

    def _measured(self, seen: np.ndarray, reward: np.ndarray) -> Tensor:
        columns = [seen.reshape(*self._shape, -1)]
        columns += [np.clip(reward, low, high)[..., None] for low, high in self._rewards]
        return torch.from_numpy(np.concatenate(columns, -1).astype(np.float32))


def _at(p: Parameter, place: NDArray[np.float64]) -> Tensor:
    """The values (n, 1) at these places (n,) of a parameter's range."""
    if p.scale == "sign":
        value = np.where(place < 0.5, p.low, p.high)
    elif p.scale == "log":
        value = np.exp(np.log(p.low) + (np.log(p.high) - np.log(p.low)) * place)
    else:
        value = p.low + (p.high - p.low) * place
    return torch.tensor(value[:, None], dtype=torch.float32)
