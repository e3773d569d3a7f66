"""A family under test: every call into its code, with what comes back looked at, and what it raises put into words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import ObservationChannel, TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Session, Step, TaskFamily
from acclimate_trainer.contract.policy import Window

Family: TypeAlias = TaskFamily[Any]  # the checks take tasks as they come: a tuple of tensors
Tasks: TypeAlias = Any
Value = TypeVar("Value")

BEYOND = 0.01  # of a channel's range: what a sensor's noise may add to it at the end of that range


class ContractError(UsageError):
    """A family that breaks the contract."""


class Trajectory(NamedTuple):
    """What a session gave under given actions over S steps."""

    obs: Tensor  # (T, E, S + 1, n_sensors)
    reward: Tensor  # (T, E, S)
    terminated: Tensor  # bool (T, E, S)
    truncated: Tensor  # bool (T, E, S)

    @property
    def ended(self) -> Tensor:
        return self.terminated | self.truncated


class Subject:
    """See the module. `machines` and `episodes` are side by side in its sessions, of `steps` steps."""

    def __init__(self, family: Family, where: str | None = None, *, quick: bool = False) -> None:
        self.family, self.quick = family, quick
        self.where = where or _place(type(family))
        self.machines, self.episodes, self.steps = (3, 2, 6) if quick else (6, 3, 20)

    def broken(self, sentence: str) -> ContractError:
        return ContractError(f"{self.where}: {sentence}")

    def call(self, member: str, run: Callable[[], Value]) -> Value:
        """What `run` gives. Raises ContractError for anything that it raises: it is the user's code that runs."""
        try:
            return run()
        except ContractError:
            raise
        except Exception as error:
            what = str(error).strip().split("\n", 1)[0]
            raise self.broken(f"{member} raised {type(error).__name__}: {what}") from error

    @property
    def spec(self) -> TaskSpec:
        return self.call("spec", lambda: self.family.spec)

    def tasks(self, n: int | None = None, seed: int = 0, progress: float = 1.0) -> Tasks:
        """`machines` drawn machines, or n."""
        count = self.machines if n is None else n
        rng = np.random.default_rng([seed, 7])
        return self.call("sample", lambda: self.family.sample(count, rng, progress))

    def parameters(self, tasks: Tasks) -> Tensor:
        return self.call("parameters", lambda: self.family.parameters(tasks))

    def open(self, tasks: Tasks, seed: int = 0, steps: int | None = None) -> Session[Tasks]:
        """A session of `steps` steps."""
        count, rng = steps or self.steps, np.random.default_rng([seed, 8])
        return self.call("open", lambda: self.family.open(tasks, self.episodes, count, rng))

    def step(self, session: Session[Tasks], action: Tensor) -> Step:
        return self.call("step", lambda: session.step(action))

    def play(self, session: Session[Tasks], actions: Tensor) -> Trajectory:
        """Drive `session` by actions (T, E, S, n_act)."""
        seen, steps = [self.obs(session)], []
        for action in actions.unbind(2):
            steps.append(self.step(session, action))
            seen.append(self.obs(session))
        parts = [torch.stack(part, 2) for part in zip(*steps, strict=True)]
        return Trajectory(torch.stack(seen, 2), *parts)

    def obs(self, session: Session[Tasks]) -> Tensor:
        return self.call("obs", lambda: session.obs)

    def actions(
        self, steps: int | None = None, seed: int = 0, share: float = 1.0, machines: int | None = None
    ) -> Tensor:
        """Actions anywhere within `share` of the limits, or any of the choices: (T, E, S, n_act)."""
        rng = np.random.default_rng([seed, 9])
        shape = (machines or self.machines, self.episodes, steps or self.steps)
        if self.spec.choices:
            choices = torch.tensor(self.spec.choices, dtype=torch.float32)
            return choices[torch.from_numpy(rng.integers(0, len(choices), shape))]
        low, high = self.limits()
        middle, half = 0.5 * (low + high), 0.5 * share * (high - low)
        drawn = torch.tensor(rng.uniform(-1.0, 1.0, (*shape, len(low))), dtype=torch.float32)
        return middle + half * drawn

    def limits(self) -> tuple[Tensor, Tensor]:
        low, high = self.spec.limits()
        return torch.tensor(low), torch.tensor(high)

    def ranges(self, sensors: bool) -> tuple[Tensor, Tensor]:
        """Lowest and highest value of each entry of what sensors measure, or of the whole observation."""
        channels = self.channels(sensors)
        return torch.tensor([c.minimum for c in channels]), torch.tensor([c.maximum for c in channels])

    def channels(self, sensors: bool) -> list[ObservationChannel]:
        """The channel of each of these entries."""
        spec = self.spec
        return [c for c in (spec.sensors if sensors else spec.observation) for _ in range(c.size)]

    def observations(self, shape: tuple[int, ...], seed: int = 0) -> Tensor:
        """Anything that can be observed: uniform over all channels, references included, (*shape, n_obs)."""
        low, high = self.ranges(sensors=False)
        rng = np.random.default_rng([seed, 10])
        drawn = torch.tensor(rng.random((*shape, len(low))), dtype=torch.float32)
        return low + (high - low) * drawn

    def window(self, seed: int = 0) -> Window:
        """A window of any observations and actions, the last transition of which is not valid."""
        obs = self.observations((self.machines, self.episodes, self.steps + 1), seed)
        mask = torch.ones(self.machines, self.episodes, self.steps)
        mask[:, :, -1] = 0.0
        return Window(obs, self.actions(seed=seed), mask)


def faults(member: str, found: object, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[str]:
    """What is wrong with a tensor that `member` gave."""
    name = str(dtype).removeprefix("torch.")
    if not isinstance(found, Tensor):
        yield f"{member} gave {type(found).__name__}, expected a tensor of shape {list(shape)}, {name}"
    elif found.shape != shape:
        yield f"{member} gave shape {list(found.shape)}, expected {list(shape)}"
    elif found.dtype != dtype:
        yield f"{member} gave {str(found.dtype).removeprefix('torch.')}, expected {name}"
    elif not found.isfinite().all():
        yield f"{member} gave NaN or infinity, expected finite numbers"


def unknown(value: object) -> object:
    """The same, of no known type: a family may give anything."""
    return value


def differ(a: Tensor, b: Tensor, scale: Tensor | float = 1.0) -> bool:
    """Whether two tensors differ by more than rounding does, in units of `scale`."""
    return a.shape != b.shape or bool(((a - b).abs() > 1e-5 * scale).any())


def _place(cls: type) -> str:
    """FILE.py:Class, as a config names a family."""
    try:
        return f"{Path(inspect.getfile(cls)).name}:{cls.__qualname__}"
    except (OSError, TypeError):
        return cls.__qualname__
