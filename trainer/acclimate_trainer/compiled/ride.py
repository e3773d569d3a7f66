"""What is to be driven, and what came of it: between who plays, torch's way and the compiled one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Never, TypeAlias

import torch
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Session
from acclimate_trainer.contract.policy import Policy, Tensors

Compose: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""An observation (…, n_obs) of what is measured and the reference."""


class Change(NamedTuple):
    """What happens to machines in the course of the episodes.

    at: before the step of which tick, (T,); at or below 0: before the first one.
    told: what a policy is told before and after, (T, …); it is told as the next tick begins.
    """

    become: Callable[[Session[Never], Tensor], None]  # machines where it is true (T,), from the next step on
    at: Tensor
    told: tuple[Tensors, Tensors] | None

    def told_at(self, tick: int) -> dict[str, Tensor]:
        """What is told of what has happened up to this tick."""
        before, after = self.told or ({}, {})
        changed = (self.at <= tick).unsqueeze(-1)
        return {name: torch.where(changed, after[name], before[name]) for name in before}


class Ride(NamedTuple):
    """A policy and its whole state, and T machines with E episodes each, for S ticks."""

    policy: Policy
    live: Tensors
    anew: Tensors  # what of it an episode begins with (T, E, …)
    session: Session[Never]
    tiny: Callable[[], Session[Never]] | None  # another such session, with one task and one episode
    compose: Compose
    reference: Tensor  # (T, E, S + 1, n_references)
    noise: Tensor  # (T, E, S, n_noise)
    decay: float = 1.0
    change: Change | None = None
    earned: Tensor | None = None  # (T, E) what the first observation holds as the reward

    @property
    def ticks(self) -> int:
        return self.noise.shape[2]


class Ridden(NamedTuple):
    """Episodes, and the state at their end. The session has moved on."""

    obs: Tensor  # (T, E, S + 1, n_obs)
    action: Tensor  # (T, E, S, n_act)
    reward: Tensor  # (T, E, S)
    ended: Tensor  # bool (T, E, S)
    live: dict[str, Tensor]


def rewarded(spec: TaskSpec, obs: Tensor, reward: Tensor) -> Tensor:
    """Observations (T, E, n_obs) with this as the reward that is observed."""
    assert spec.reward is not None
    at = spec.index(spec.reward)
    return torch.cat([obs[..., :at], reward.unsqueeze(-1), obs[..., at + 1 :]], dim=-1)


def begun(live: Tensors, anew: Tensors, ended: Tensor) -> dict[str, Tensor]:
    """What of a policy's state begins anew where an episode has ended by itself (T, E), and another one has begun."""
    return {
        name: torch.where(ended.view(*ended.shape, *[1] * (value.dim() - 2)), value, live[name])
        for name, value in anew.items()
    }
