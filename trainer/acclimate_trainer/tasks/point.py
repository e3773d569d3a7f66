"""Points in a plane that move to a goal which nobody tells, or whose actuators push in a frame of their own.

`PointFamily` is the 2D navigation of Finn et al., "Model-Agnostic Meta-Learning" (2017), section 5.3: a point starts at
the origin, an action moves it by at most 0.1 along either axis, and an episode has 100 steps. The goal is drawn
uniformly from [−0.5, 0.5]². The reward is minus the plain distance to it: the paper writes the squared one, but its
figures fit the plain one (standing still gives −38.25, as against −16.67). There an episode ends within 0.01 of the
goal on both axes; here a point that has come so near stays there and pays nothing more, which gives the same returns
without an end that branches on data.

`PointFrameFamily` is the smallest machine of two actuators that needs adaptation: the goal is known, as a reference to
follow, but not which way the actuators push, nor how strongly.

    p' = p + dt·strength·R(frame)·a,      a ∈ [−1, 1]²,      p stays within ±1 m
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
    Track,
    TrackingReference,
)
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.family import Property, Step

REACH = 0.1  # m; the farthest that an action moves a point along either axis
ARRIVED = 0.01  # m; a point as near as this to its goal, along both axes, stays
HALL = 1.0  # m; a point with a frame stays within ± this


class Goals(NamedTuple):
    """Where T points should go, m, each (T, 1)."""

    goal_x: Tensor
    goal_y: Tensor


@dataclass(frozen=True)
class PointFamily:
    """2D navigation to an unknown goal, as MAML's paper has it; see the module."""

    goal: float = 0.5
    """Goals lie within ± this along either axis, m."""
    horizon: int = 100
    """Steps of an episode."""

    def __post_init__(self) -> None:
        """Raises UsageError for goals that are none."""
        if not 0.0 < self.goal <= REACH * self.horizon:
            raise UsageError(
                f"goal must be above 0 and within {REACH * self.horizon:g} m, which a point can reach "
                f"in {self.horizon} steps, found {self.goal:g}"
            )

    @cached_property
    def spec(self) -> TaskSpec:
        far = REACH * self.horizon
        return TaskSpec(
            name="point",
            control_dt=0.05,
            observation=(
                ObservationChannel("x", "m", -far, far),
                ObservationChannel("y", "m", -far, far),
                ObservationChannel(
                    "reward", "m", -math.hypot(far + self.goal, far + self.goal), 0.0, "reward"
                ),
            ),
            action=(
                ActionChannel("move_x", "m", -REACH, REACH),
                ActionChannel("move_y", "m", -REACH, REACH),
            ),
            parameters=tuple(Parameter(name, "m", -self.goal, self.goal) for name in Goals._fields),
            metrics=(Metric("reward", "reward", "m"), CHATTER, ENERGY),
            horizon=self.horizon,
            episodes=2,
            differentiable=True,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Goals:
        """Draw n goals. All are as hard, so `progress` changes nothing."""
        del progress
        return self.placed(rng.random((2, n)).T, rng)

    @property
    def properties(self) -> tuple[Property, ...]:
        far = REACH * self.horizon / self.goal  # that a point can reach
        return tuple(Property(name, 0.5, 0.5 - 0.5 * far, 0.5 + 0.5 * far) for name in Goals._fields)

    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Goals:
        del rng
        goal = -self.goal + 2.0 * self.goal * places
        return Goals(*torch.tensor(goal.T[..., None], dtype=torch.float32))

    def parameters(self, tasks: Goals) -> Tensor:
        return torch.cat(tasks, -1)

    def open(self, tasks: Goals, episodes: int, steps: int, rng: np.random.Generator) -> PointSession:
        """Points at the origin; nothing about them is random."""
        del steps, rng
        return PointSession(tasks, episodes)

    def inputs(self, obs: Tensor) -> Tensor:
        """Place and reward in units of the goals' range: the channels' own range is twenty times as wide."""
        return obs / self.goal


class PointSession:
    """Points under way to their goals; differentiable. `state`: place (T, E, 2), under way and reward (T, E, 1)."""

    def __init__(self, tasks: Goals, episodes: int) -> None:
        self._goal = torch.stack(tasks, -1)  # (T, 1, 2)
        place = torch.zeros(len(self._goal), episodes, 2, dtype=self._goal.dtype)
        one = torch.ones_like(place[..., :1])
        self.state: tuple[Tensor, ...] = (place, one, torch.zeros_like(one))

    @property
    def obs(self) -> Tensor:
        position, _, reward = self.state
        return torch.cat([position, reward], -1)

    def step(self, action: Tensor) -> Step:
        position, under_way, _ = self.state
        position = position + under_way * F.hardtanh(action, -REACH, REACH)
        away = position - self._goal
        reward = -under_way * torch.linalg.vector_norm(away, dim=-1, keepdim=True)
        arrived = (away.abs() < ARRIVED).all(-1, keepdim=True)
        self.state = (position, torch.where(arrived, torch.zeros_like(under_way), under_way), reward)
        never = torch.zeros_like(arrived[..., 0])
        return Step(reward[..., 0], never, never)

    def become(self, tasks: Goals, where: Tensor) -> None:
        """The goals `where` are those of `tasks` from now on; a point that has arrived at its own has arrived."""
        self._goal = torch.where(where.view(-1, 1, 1), torch.stack(tasks, -1), self._goal)


class Frames(NamedTuple):
    """How the actuators of T points are mounted, each (T, 1)."""

    frame: Tensor  # rad, by which what they push is turned
    strength: Tensor  # m/s at full drive


@dataclass(frozen=True)
class PointFrameFamily:
    """Follow a known target with actuators of unknown direction and strength; see the module."""

    turn: float = math.pi
    """Frames are turned by up to this either way, rad."""
    strength: tuple[float, float] = (0.6, 2.4)
    """Speed at full drive, m/s, drawn log-uniformly."""
    horizon: int = 100
    """Ticks of an episode."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no point can be."""
        low, high = self.strength
        if not 0.0 <= self.turn <= math.pi:
            raise UsageError(f"turn must lie from 0 to {math.pi:.4f} rad, found {self.turn:g}")
        if not 0.0 < low <= high:
            raise UsageError(f"strength must be [low, high] above 0 with low <= high, found {[low, high]}")

    @cached_property
    def spec(self) -> TaskSpec:
        pairs = (("x", "target_x"), ("y", "target_y"))
        reference = TrackingReference(tuple(Track(*pair, amplitude=0.5) for pair in pairs), speed=(0.5, 1.0))
        return TaskSpec(
            name="point_frame",
            control_dt=0.02,
            observation=(
                *(ObservationChannel(name, "m", -HALL, HALL) for name, _ in pairs),
                *(ObservationChannel(name, "m", -HALL, HALL, "reference") for _, name in pairs),
            ),
            action=(ActionChannel("drive_x", "1", -1.0, 1.0), ActionChannel("drive_y", "1", -1.0, 1.0)),
            parameters=(
                Parameter("frame", "rad", -self.turn, self.turn),
                Parameter("strength", "m/s", *self.strength, "log"),
            ),
            metrics=(Metric("error", "rms", "m", pairs), CHATTER, ENERGY),
            reference=reference,
            horizon=self.horizon,
            episodes=2,
            differentiable=True,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Frames:
        """Draw n frames; early in training they are turned less, so that there is something to begin with."""
        return self._frames(rng.random((2, n)).T, progress * self.turn)

    @property
    def properties(self) -> tuple[Property, ...]:
        all_round = 0.5 * math.pi / self.turn if self.turn else 0.0  # of half a range: a whole turn
        return (Property("frame", 0.5, 0.5 - all_round, 0.5 + all_round), Property("strength"))

    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Frames:
        del rng
        return self._frames(places, self.turn)

    def _frames(self, places: NDArray[np.float64], turn: float) -> Frames:
        """By the places (n, 2) in the ranges of frame and strength."""
        turned, strong = np.split(places, 2, axis=-1)
        low, high = (math.log(end) for end in self.strength)
        frame, strength = turn * (-1.0 + 2.0 * turned), np.exp(low + (high - low) * strong)
        return Frames(torch.tensor(frame, dtype=torch.float32), torch.tensor(strength, dtype=torch.float32))

    def change(self, tasks: Frames, rng: np.random.Generator, progress: float = 1.0) -> Frames:
        """Something knocked against the actuators: another frame, and what strength is left."""
        other = self.sample(len(tasks.frame), rng, progress)
        return other._replace(strength=torch.minimum(other.strength, tasks.strength))

    def parameters(self, tasks: Frames) -> Tensor:
        return torch.cat(tasks, -1)

    def open(self, tasks: Frames, episodes: int, steps: int, rng: np.random.Generator) -> PointFrameSession:
        """Points at rest anywhere in the inner half of the hall."""
        del steps
        start = rng.uniform(-0.5, 0.5, (len(tasks.frame), episodes, 2))
        return PointFrameSession(tasks, torch.tensor(start, dtype=tasks.frame.dtype), self.spec.control_dt)

    n_past = 0

    def made(self, parameters: Tensor) -> Frames:
        return Frames(parameters[:, :1], parameters[:, 1:])

    def resume(self, tasks: Frames, measured: Tensor, past: Tensor, steps: int) -> PointFrameSession:
        del past, steps
        return PointFrameSession(tasks, measured, self.spec.control_dt)

    def inputs(self, obs: Tensor) -> Tensor:
        """Both errors, large enough to see small ones, and the place."""
        place, target = obs[..., :2], obs[..., 2:]
        return torch.cat([4.0 * (target - place), place], -1)


class PointFrameSession:
    """Points that follow their actuators; differentiable. `state` is the position (T, E, 2)."""

    def __init__(self, tasks: Frames, start: Tensor, dt: float) -> None:
        self._dt = dt
        self._push = _push(tasks, dt)
        self.state: tuple[Tensor, ...] = (start,)

    @property
    def obs(self) -> Tensor:
        return self.state[0]

    def step(self, action: Tensor) -> Step:
        (position,) = self.state
        moved = torch.baddbmm(position, F.hardtanh(action), self._push)
        self.state = (moved + (F.hardtanh(moved, -HALL, HALL) - moved).detach(),)  # walls stop no gradient
        none = torch.zeros_like(moved[..., 0])
        never = torch.zeros_like(none, dtype=torch.bool)
        return Step(none, never, never)

    def become(self, tasks: Frames, where: Tensor) -> None:
        self._push = torch.where(where.view(-1, 1, 1), _push(tasks, self._dt), self._push)


def _push(tasks: Frames, dt: float) -> Tensor:
    """What the actuators move a point by in a tick, m at full drive: strength·Rᵀ, (T, 2, 2)."""
    cos, sin = torch.cos(tasks.frame), torch.sin(tasks.frame)
    turned = torch.stack([torch.cat([cos, sin], -1), torch.cat([-sin, cos], -1)], 1)
    return dt * tasks.strength.unsqueeze(-1) * turned
