"""Pendulum-v1 of Gymnasium, with a mass, a length and a motor that nobody knows: somebody else's environment.

A rod hangs at a motor that is too weak to lift it at once. The environment, its observation (cosine and sine of the
angle from upright, angular velocity) and its reward are Gymnasium's:

    θ̈ = 3·g/(2·l)·sin θ + 3/(m·l²)·torque        r = −(θ² + 0.1·θ̇² + 0.001·torque²)

A task sets m and l, which are both 1 there, and multiplies the torque by a gain, as a motor with another gearing or
supply does. The reward is observed, as the policy of a device has no other way to know it.

With the option `model` the same equations are computed in torch, so that a gradient passes: a teacher that is trained
on the model can teach a student on the environment itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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

from acclimate_trainer.contract.family import Session, Step
from acclimate_trainer.tasks.gymnasium import Env, GymnasiumFamily, Tasks, make

CONTROL_DT = 0.05  # s
GRAVITY = 10.0  # m/s², the environment's
TORQUE, SPEED = 2.0, 8.0  # N·m and rad/s, the environment's own limits


@dataclass(frozen=True)
class PendulumFamily(GymnasiumFamily):
    """Pendulums, each range (low, high) and drawn log-uniformly; see the module."""

    mass: tuple[float, float] = (0.7, 1.4)
    """Mass of the rod, kg."""
    length: tuple[float, float] = (0.8, 1.25)
    """Its length, m."""
    gain: tuple[float, float] = (0.7, 1.6)
    """Factor on the motor's torque."""
    horizon: int = 200
    """Ticks of an episode."""
    model: bool = False
    """Compute the environment's equations in torch, differentiable, instead of running the environment."""

    def __post_init__(self) -> None:
        """Raises UsageError for ranges that no pendulum can have."""
        for name in ("mass", "length", "gain"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high < math.inf:
                raise UsageError(f"{name} must be [low, high] above 0 with low <= high, found {[low, high]}")

    @cached_property
    def spec(self) -> TaskSpec:
        worst = math.pi**2 + 0.1 * SPEED**2 + 0.001 * (TORQUE * self.gain[1]) ** 2
        return TaskSpec(
            name="pendulum",
            control_dt=CONTROL_DT,
            observation=(
                ObservationChannel("cos", "1", -1.0, 1.0),
                ObservationChannel("sin", "1", -1.0, 1.0),
                ObservationChannel("velocity", "rad/s", -SPEED, SPEED),
                ObservationChannel("reward", "1", -worst, 0.0, "reward"),
            ),
            action=(ActionChannel("torque", "N·m", -TORQUE, TORQUE),),
            parameters=(
                Parameter("mass", "kg", *self.mass, "log"),
                Parameter("length", "m", *self.length, "log"),
                Parameter("gain", "1", *self.gain, "log"),
            ),
            metrics=(Metric("reward", "reward"), CHATTER, ENERGY),
            horizon=self.horizon,
            differentiable=self.model,
        )

    def open(self, tasks: Tasks, episodes: int, steps: int, rng: np.random.Generator) -> Session[Tasks]:
        """Pendulums that begin at any angle, turning at up to 1 rad/s."""
        if not self.model:
            return super().open(tasks, episodes, steps, rng)
        ends = np.array([math.pi, 1.0])
        start = rng.uniform(-ends, ends, (len(tasks[0]), episodes, 2))
        return PendulumModel(tasks, torch.tensor(start, dtype=tasks[0].dtype))

    def make(self) -> Env:
        env = make("Pendulum-v1")
        from gymnasium.wrappers import (
            TransformAction,
        )  # which is installed, or else the line above has said so

        pendulum: Any = env.unwrapped
        pendulum.gain = 1.0  # an attribute of our own
        return TransformAction(env, lambda torque: pendulum.gain * torque, env.action_space)

    def adjust(self, env: Env, task: Mapping[str, float]) -> None:
        pendulum: Any = env.unwrapped
        pendulum.m, pendulum.l, pendulum.gain = task["mass"], task["length"], task["gain"]
        pendulum.max_torque = TORQUE * task["gain"]


class PendulumModel:
    """The environment's equations; a `contract.family.Session`. `state`: angle, velocity, reward, (T, E) each."""

    def __init__(self, tasks: Tasks, start: Tensor) -> None:
        self._tasks = tasks
        self.state: tuple[Tensor, ...] = (*start.unbind(-1), torch.zeros_like(start[..., 0]))

    @property
    def obs(self) -> Tensor:
        angle, velocity, reward = self.state
        return torch.stack([torch.cos(angle), torch.sin(angle), velocity, reward], -1)

    def step(self, action: Tensor) -> Step:
        (angle, velocity, _), (mass, length, gain) = self.state, self._tasks
        torque = gain * F.hardtanh(action[..., 0], -TORQUE, TORQUE)
        off = torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi
        reward = -(off.square() + 0.1 * velocity.square() + 0.001 * torque.square())
        push = 1.5 * GRAVITY / length * torch.sin(angle) + 3.0 / (mass * length.square()) * torque
        velocity = F.hardtanh(velocity + CONTROL_DT * push, -SPEED, SPEED)
        self.state = (angle + CONTROL_DT * velocity, velocity, reward)
        never = torch.zeros_like(angle, dtype=torch.bool)
        return Step(reward, never, never)

    def become(self, tasks: Tasks, where: Tensor) -> None:
        pairs = zip(tasks, self._tasks, strict=True)
        self._tasks = tuple(torch.where(where.unsqueeze(-1), new, old) for new, old in pairs)
