"""A point with momentum that is rewarded for being fast: in whatever direction, or in one.

    v' = v + dt·(strength·u − drag·v),      p' = p + dt·v',      top speed = strength/drag

The push u is that of a stick whose square is pressed into a disc, (x·√(1 − y²/2), y·√(1 − x²/2)), so that no direction
is stronger than another.

The reward is the share of the largest kinetic energy, (|v|/top)², wherever the point is farther than `beyond` from
where it began, in a direction within `within` of `heading`; elsewhere it is 0. With `beyond` = 0 and `within` = π,
being fast is all that counts, and any direction is as good: what can be learned before anybody says where to go. It
takes about a second of pushing the same way to be fast, and who pushes here and there neither is nor gets anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    ActionChannel,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
)
from torch import Tensor

from acclimate_trainer.contract.family import Step

DT = 0.1  # s
DRAG = 1.0  # 1/s
_TINY = 1e-9


class Dashers(NamedTuple):
    """T points, each (T, 1)."""

    strength: Tensor  # m/s² at full push


@dataclass(frozen=True)
class PointDashFamily:
    """Be fast, anywhere or in one direction; see the module."""

    heading: float = 0.0
    """Direction that is rewarded, rad from x towards y."""
    within: float = math.pi
    """How far off it a place may lie to be rewarded, rad; π: it may lie anywhere."""
    beyond: float = 0.0
    """Distance from the origin from which on speed is rewarded, m."""
    strength: tuple[float, float] = (1.6, 2.4)
    """Acceleration at full push, m/s², drawn uniformly."""
    horizon: int = 60
    """Ticks of an episode."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no point can be."""
        low, high = self.strength
        if not 0.0 < low <= high:
            raise UsageError(f"strength must be [low, high] above 0 with low <= high, found {[low, high]}")
        if not 0.0 < self.within <= math.pi:
            raise UsageError(f"within must be above 0 and at most {math.pi:.4f} rad, found {self.within:g}")
        if not math.isfinite(self.heading):
            raise UsageError(f"heading must be finite, found {self.heading:g}")
        far = high / DRAG * self.horizon * DT
        if not 0.0 <= self.beyond < far:
            raise UsageError(
                f"beyond must be at least 0 and below {far:g} m, where no point is after {self.horizon} ticks, "
                f"found {self.beyond:g}"
            )

    @cached_property
    def spec(self) -> TaskSpec:
        fastest = self.strength[1] / DRAG
        far = fastest * self.horizon * DT
        return TaskSpec(
            name="point_dash",
            control_dt=DT,
            observation=(
                *(ObservationChannel(name, "m", -far, far) for name in ("x", "y")),
                *(ObservationChannel(name, "m/s", -fastest, fastest) for name in ("vx", "vy")),
                ObservationChannel("reward", "1", 0.0, 1.0, "reward"),
            ),
            action=(ActionChannel("push_x", "1", -1.0, 1.0), ActionChannel("push_y", "1", -1.0, 1.0)),
            parameters=(Parameter("strength", "m/s²", *self.strength),),
            metrics=(Metric("reward", "reward"), CHATTER, ENERGY),
            horizon=self.horizon,
            episodes=2,
            differentiable=True,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Dashers:
        """Draw n points. All are as hard, so `progress` changes nothing."""
        del progress
        return Dashers(torch.tensor(rng.uniform(*self.strength, (n, 1)), dtype=torch.float32))

    def parameters(self, tasks: Dashers) -> Tensor:
        return tasks.strength

    def open(self, tasks: Dashers, episodes: int, steps: int, rng: np.random.Generator) -> DashSession:
        """Points at rest at the origin; nothing about them is random."""
        del steps, rng
        return DashSession(tasks, episodes, self)

    def inputs(self, obs: Tensor) -> Tensor:
        """Place and velocity, small, so that the tanh which they pass makes no direction longer than another."""
        return obs[..., :4] * (DRAG / sum(self.strength)) * torch.tensor([0.25, 0.25, 1.0, 1.0])


class DashSession:
    """Points under way; differentiable. `state`: place and velocity (T, E, 2), the last reward (T, E, 1)."""

    def __init__(self, tasks: Dashers, episodes: int, family: PointDashFamily) -> None:
        self._strength = tasks.strength.unsqueeze(1)  # (T, 1, 1)
        way = math.cos(family.heading), math.sin(family.heading)
        self._way = torch.tensor(way, dtype=tasks.strength.dtype)
        self._beyond, self._least = family.beyond, math.cos(family.within)
        none = self._strength.new_zeros(len(self._strength), episodes, 2)
        self.state: tuple[Tensor, ...] = (none, none, none[..., :1])

    @property
    def obs(self) -> Tensor:
        return torch.cat(self.state, -1)

    def step(self, action: Tensor) -> Step:
        place, velocity, _ = self.state
        x, y = F.hardtanh(action).unbind(-1)
        push = torch.stack([x * torch.sqrt(1.0 - 0.5 * y * y), y * torch.sqrt(1.0 - 0.5 * x * x)], -1)
        velocity = velocity + DT * (self._strength * push - DRAG * velocity)
        place = place + DT * velocity
        distance = torch.sqrt(place.square().sum(-1, keepdim=True) + _TINY)
        along = (place * self._way).sum(-1, keepdim=True)
        counts = ((distance >= self._beyond) & (along >= self._least * distance)).to(place.dtype)
        energy = velocity.square().sum(-1, keepdim=True) * (DRAG / self._strength).square()
        reward = counts * energy
        self.state = (place, velocity, reward)
        never = torch.zeros_like(reward[..., 0], dtype=torch.bool)
        return Step(reward[..., 0], never, never)

    def become(self, tasks: Dashers, where: Tensor) -> None:
        """The points `where` are as strong as those of `tasks` from now on."""
        self._strength = torch.where(where.view(-1, 1, 1), tasks.strength.unsqueeze(1), self._strength)
