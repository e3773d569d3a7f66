"""Quadrotors of all sizes: whatever hovers between 20 g and 5 kg, by commands to its four rotors at 100 Hz.

The machines are those that RAPTOR was trained on (Eschmann et al. 2025, "RAPTOR: A Foundation Policy for Quadrotor
Control"), drawn as there, with the equations of its simulator `l2f` (`dynamics`). What differs from one to the next:

    thrust to weight   U(1.5, 5)
    mass               its cube root uniform, .02 to 5 kg
    torque to inertia  U(40, 1200) 1/s²
    rotor distance     that of a Crazyflie times ∛(m/m₀)·f; with n ~ N(−.1, .1), f = 1/(1 − n) below 0 and 1 + n above
    torque constant    U(.005, .05) m
    rotors             rise in U(.03, .10) s and fall in U(.03, .30) s
    push               a constant force: each axis N(0, s) with s ~ U(0, .3(T/W − 1))·T/W/3 m/s²

and, which RAPTOR leaves out and real ones have, drag, a delay of up to two ticks, and noise of the sensors. Normal
numbers end at four standard deviations. A tenth of the flights begin level and at rest at 0, the others within ± .5 m,
turned by U(0, 1) rad about any axis, with velocities of U(±1) m/s and rad/s; rotors begin at up to half their speed.

A network sees 22 numbers: the errors of position and velocity, the rotation matrix, the rates and the previous action.
There is no exact optimum. Opponents are RAPTOR's published policy (`benchmarks/quadrotor.py`), [robust], which does not
adapt, and [rl2_oracle], which is told the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    SATURATED,
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

from acclimate_trainer.contract.costs import change_cost
from acclimate_trainer.contract.family import Cost
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.tasks.quadrotor.dynamics import ARM, MASS, Body
from acclimate_trainer.tasks.quadrotor.session import (
    CONTROL_DT,
    LAGS,
    NOISE,
    POSITION,
    RATES,
    TOLD,
    VELOCITY,
    Drones,
    QuadrotorSession,
)

Floats: TypeAlias = NDArray[np.float64]

_SPREAD = 0.1  # of n in the rotor distance, and minus its mean
_END = 4.0  # standard deviations
_SLOW = (0.0, 0.15)  # of the range of torque to inertia: these drones are slow
_LATE = {"torque_to_inertia": (0.5, 1.0), "fall": (0.5, 1.0), "delay": (0.75, 1.0)}  # of the ranges
_AT_ZERO = 0.1  # of the flights
_START, _ANGLE = 0.5, 1.0  # m, rad; also of velocities ±1 m/s and ±1 rad/s
_FASTEST = 5.0  # m/s, of a reference


@dataclass(frozen=True)
class QuadrotorFamily:
    """The distribution of quadrotors that training draws from; see the module."""

    thrust_to_weight: tuple[float, float] = (1.5, 5.0)
    """Thrust of all rotors at full speed over the weight."""
    mass: tuple[float, float] = (0.02, 5.0)
    """kg."""
    torque_to_inertia: tuple[float, float] = (40.0, 1200.0)
    """1/s²."""
    torque_constant: tuple[float, float] = (0.005, 0.05)
    """m."""
    rise: tuple[float, float] = (0.03, 0.10)
    """Time constant of a rotor that speeds up, s."""
    fall: tuple[float, float] = (0.03, 0.30)
    """Time constant of a rotor that slows down, s."""
    push: float = 0.3
    """Of the thrust that is left over: how large the constant force may be."""
    drag: tuple[float, float] = (0.0, 0.5)
    """1/s."""
    delay: tuple[float, float] = (0.0, 0.02)
    """From a command to the rotors, s."""
    noise: tuple[float, float] = (0.0, 1.0)
    """Of the sensors; 1 is .005 m, .01 rad, .03 m/s and .05 rad/s."""
    slow: float = 0.0
    """Share of the drones, in training, that are drawn from the slowest: with little torque to their inertia."""
    late: float = 0.0
    """Share of the drones, in training, that are drawn from those that answer late and violently: with much torque to
    their inertia, a long delay, and rotors that are slow to slow down."""
    price: float = 0.1
    """What the change of the action costs, m per unit of its RMS, as share of full scale."""
    damping: float = 0.05
    """What velocity, rates and tilt cost beside the error, m per unit."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no quadrotor can be."""
        for name in ("thrust_to_weight", "mass", "torque_to_inertia", "torque_constant", "rise", "fall"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high < math.inf:
                raise UsageError(f"{name} must be [low, high] above 0 with low <= high, found {[low, high]}")
        longest = (LAGS - 1) * CONTROL_DT
        for name, most in (("drag", math.inf), ("delay", longest), ("noise", math.inf)):
            low, high = getattr(self, name)
            if not (0.0 <= low <= high <= most and math.isfinite(high)):
                bound = "" if most == math.inf else f" to {most:g}"
                raise UsageError(
                    f"{name} must be [low, high] from 0{bound} with low <= high, found {[low, high]}"
                )
        if self.thrust_to_weight[0] <= 1.0:
            raise UsageError(
                f"thrust_to_weight must lie above 1, or nothing flies, found {self.thrust_to_weight[0]:g}"
            )
        for name, most in (
            ("push", math.inf),
            ("slow", 1.0),
            ("late", 1.0),
            ("price", math.inf),
            ("damping", math.inf),
        ):
            if not 0.0 <= getattr(self, name) <= most or not math.isfinite(getattr(self, name)):
                bound = "at least 0" if most == math.inf else f"from 0 to {most:g}"
                raise UsageError(f"{name} must be {bound}, found {getattr(self, name):g}")

    @cached_property
    def spec(self) -> TaskSpec:
        pairs = tuple((f"position.{i}", f"target.{i}") for i in range(3))
        tracks = tuple(Track(p, t, f"target_velocity.{i}", amplitude=0.5) for i, (p, t) in enumerate(pairs))
        return TaskSpec(
            name="quadrotor",
            control_dt=CONTROL_DT,
            observation=(
                ObservationChannel("position", "m", -POSITION, POSITION, shape=(3,)),
                ObservationChannel("rotation", "1", -1.0, 1.0, shape=(3, 3)),
                ObservationChannel("velocity", "m/s", -VELOCITY, VELOCITY, shape=(3,)),
                ObservationChannel("rates", "rad/s", -RATES, RATES, shape=(3,)),
                ObservationChannel("target", "m", -POSITION, POSITION, "reference", (3,)),
                ObservationChannel("target_velocity", "m/s", -_FASTEST, _FASTEST, "reference", (3,)),
            ),
            action=(ActionChannel("rotor", "1", -1.0, 1.0, (4,), neutral=-1.0),),
            parameters=self._parameters(),
            metrics=(Metric("error", "rms", "m", pairs), CHATTER, ENERGY, SATURATED),
            reference=TrackingReference(
                tracks, speed=(0.5, 10.0), smoothing=(0.05, 0.3), dwell=(1.5, 4.0), sine_hz=(0.1, 0.4)
            ),
            horizon=500,
            episodes=1,
            differentiable=True,
        )

    def _parameters(self) -> tuple[Parameter, ...]:
        """In the order of `TOLD`."""
        ends = (_size(np.array([-(1.0 + _END) * _SPREAD, (_END - 1.0) * _SPREAD]))).tolist()
        arm = [ARM * f * (m / MASS) ** (1.0 / 3.0) for f, m in zip(ends, self.mass, strict=True)]
        most = self.thrust_to_weight[1]
        push = _END * self.push * (most - 1.0) * most / 3.0
        drawn = {
            "thrust_to_weight": Parameter("", "1", *self.thrust_to_weight),
            "mass": Parameter("", "kg", *self.mass, "log"),
            "torque_to_inertia": Parameter("", "1/s^2", *self.torque_to_inertia, "log"),
            "arm": Parameter("", "m", arm[0], arm[1], "log"),
            "torque_constant": Parameter("", "m", *self.torque_constant, "log"),
            "rise": Parameter("", "s", *self.rise),
            "fall": Parameter("", "s", *self.fall),
            **{f"push_{axis}": Parameter("", "m/s^2", -push, push) for axis in "xyz"},
            "drag": Parameter("", "1/s", *self.drag),
            "delay": Parameter("", "s", *self.delay),
        }
        return tuple(replace(drawn[name], name=name) for name in TOLD)

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Drones:
        """Draw n quadrotors; `progress` changes nothing, as small drones are no easier than large ones."""
        del progress
        low, high = (float(np.cbrt(m)) for m in self.mass)
        size = rng.uniform(low, high, n)  # ∛kg
        late = rng.random(n) < self.late
        lift = rng.uniform(*self.thrust_to_weight, n)
        spread = rng.uniform(0.0, self.push, n) * (lift - 1.0) * lift / 3.0
        drawn = {
            "thrust_to_weight": lift,
            "mass": size**3,
            "arm": ARM * size / MASS ** (1.0 / 3.0) * _size(_SPREAD * (_normal(n, rng) - 1.0)),
            **{f"push_{axis}": spread * _normal(n, rng) for axis in "xyz"},
        }
        slow = rng.random(n) < self.slow
        for name in ("torque_to_inertia", "torque_constant", "rise", "fall", "drag", "delay", "noise"):
            low, high = getattr(self, name)
            share = rng.random(n)
            if name == "torque_to_inertia":
                share = _within(share, _SLOW, slow)
            share = _within(share, _LATE.get(name, (0.0, 1.0)), late)
            drawn[name] = low + (high - low) * share
        return Drones(**{k: torch.tensor(v, dtype=torch.float32).unsqueeze(-1) for k, v in drawn.items()})

    def parameters(self, tasks: Drones) -> Tensor:
        return torch.cat([getattr(tasks, name) for name in TOLD], -1)

    def open(self, tasks: Drones, episodes: int, steps: int, rng: np.random.Generator) -> QuadrotorSession:
        """Quadrotors in the air, as they have been thrown; some hover."""
        lanes = (len(tasks.mass), episodes)
        body = Body(*(torch.tensor(x, dtype=torch.float32) for x in _starts(lanes, rng)))
        noise = rng.standard_normal((*lanes, steps + 1, sum(n for _, n in NOISE)), dtype=np.float32)
        return QuadrotorSession(tasks, body, torch.from_numpy(noise))

    def held_out(self) -> QuadrotorFamily:
        """The family whose machines evaluations are made on: slow and late ones are as frequent as they are."""
        return replace(self, slow=0.0, late=0.0)

    def inputs(self, obs: Tensor) -> Tensor:
        """Errors of position and velocity, the rotation matrix, and the rates: 18 numbers."""
        position, rotation, velocity, rates, target, speed = torch.split(obs, [3, 9, 3, 3, 3, 3], -1)
        return torch.cat([position - target, rotation, 0.5 * (velocity - speed), 0.2 * rates], -1)

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        """The error, what the change of the action costs, and what restlessness does; each to the root."""
        del reward
        seen = torch.split(window.obs[:, :, 1:], [3, 9, 3, 3, 3, 3], -1)
        position, rotation, velocity, rates, target, speed = seen
        tilt = rotation[..., 2:6:3].square().sum(-1)  # of the sine of the angle to the vertical
        restless = (velocity - speed).square().mean(-1) + 0.1 * rates.square().mean(-1) + tilt
        return (
            Cost("error", (position - target).square().mean(-1)),
            change_cost(self.spec, window, self.price),
            Cost("restless", restless, self.damping),
        )


def _starts(lanes: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, ...]:
    """Position, velocity, attitude, rates and rotors."""
    rest = rng.random((*lanes, 1)) < _AT_ZERO
    place, velocity, rates = (np.where(rest, 0.0, rng.uniform(-1.0, 1.0, (*lanes, 3))) for _ in range(3))
    axis = rng.standard_normal((*lanes, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    half = 0.5 * np.where(rest, 0.0, rng.uniform(0.0, _ANGLE, (*lanes, 1)))
    attitude = np.concatenate([np.cos(half), np.sin(half) * axis], -1)
    return _START * place, velocity, attitude, rates, rng.uniform(0.0, 0.5, (*lanes, 4))


def _within(share: Floats, part: tuple[float, float], which: NDArray[np.bool_]) -> Floats:
    """Shares of a range, in that part of it where `which` is true."""
    low, high = part
    return np.where(which, low + (high - low) * share, share)


def _size(n: Floats) -> Floats:
    """A factor by as much up as down: 1/(1 − n) below 0 and 1 + n above."""
    return np.where(n < 0.0, 1.0 / (1.0 - n), 1.0 + n)


def _normal(n: int, rng: np.random.Generator) -> Floats:
    return np.clip(rng.standard_normal(n), -_END, _END)
