"""The policy contract: a policy is two pure functions and a state, and every algorithm here fulfils it.

The trainer evaluates these functions, export traces them, the device runs them: nothing is written twice. All
tensors carry tasks first. With T tasks, each in E episodes at once, of n_obs observations and n_act actions:

    a state tensor of shape S       (T, E, *S) where `act` writes it, (T, *S) otherwise
    obs, noise, action              (T, E, n_obs), (T, E, n_noise), (T, E, n_act)
    window                          see `Window`

A device is T = E = 1; export drops these two axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

Tensors: TypeAlias = Mapping[str, Tensor]


class Window(NamedTuple):
    """What one adaptation step sees: K exploring episodes of S steps on each of T tasks.

    `action` is as sampled, before the device's limits; `mask` is 1 where a transition may be learned from.
    """

    obs: Tensor  # (T, K, S + 1, n_obs)
    action: Tensor  # (T, K, S, n_act)
    mask: Tensor  # (T, K, S)


class Act(NamedTuple):
    """What `act` gives: the action, the next value of every tensor that it writes, scalars for logs (T, E)."""

    action: Tensor  # (T, E, n_act)
    next: Tensors
    info: Tensors


class Adapt(NamedTuple):
    """What `adapt` gives: the next value of every tensor that it writes, and scalars for logs and guards (T,)."""

    next: Tensors
    info: Tensors


class Policy(Protocol):
    """See the module. Implementations hold constants only; whatever changes is in the state."""

    @property
    def algorithm(self) -> str: ...

    @property
    def spec(self) -> TaskSpec:
        """What it observes and commands: the family's, perhaps with a reward to learn from."""
        ...

    @property
    def state(self) -> tuple[StateTensor, ...]:
        """Every state tensor: name, shape on a device, when it is reset, which function writes it."""
        ...

    @property
    def n_noise(self) -> int:
        """Standard normal numbers that `act` takes per step; zeros mean noise-free."""
        ...

    @property
    def window(self) -> WindowSpec | None:
        """None for a policy without `adapt`."""
        ...

    @property
    def adaptation(self) -> AdaptationSpec | None:
        """How often `adapt` may be called in a trial; None for a policy without it."""
        ...

    @property
    def privileged(self) -> tuple[str, ...]:
        """Names of the true parameters that state `task` holds, for an oracle; empty for the others."""
        ...

    def initial(self) -> dict[str, Tensor]:
        """The value of every state tensor on a new device, in its shape on a device."""
        ...

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act: ...

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """Raises NotImplementedError where `window` is None."""
        ...


def stacked(policy: Policy, tasks: int, episodes: int) -> dict[str, Tensor]:
    """The initial state for `tasks` devices with `episodes` episodes each."""
    axes = {t.name: (tasks, episodes) if t.written_by == "act" else (tasks,) for t in policy.state}
    return {name: value.expand(*axes[name], *value.shape) for name, value in policy.initial().items()}
