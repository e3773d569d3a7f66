"""Arms under way: what is true of each, their motors and friction, and sessions on them; the equations: `dynamics`."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.family import Step
from acclimate_trainer.tasks.arm.dynamics import GRAVITY, Arms, Coefficients, Impulses, Links, impulses, step

CONTROL_DT = 0.01  # s
MAX_LAG = 4  # commands in flight that a delay of up to 30 ms can reach back to, the newest included
JOINTS = ("shoulder", "elbow")
_FINE = 5  # steps of a rich device in a period
_STILL = 1e-3  # of the Stribeck velocity: slower than this is at rest, and powers have a slope there


class ArmTasks(NamedTuple):
    """T arms, each number (T, 1)."""

    shoulder_kt: Tensor  # N·m/A
    shoulder_resistance: Tensor  # Ω
    shoulder_voltage: Tensor  # V, times the gain
    shoulder_armature: Tensor  # kg·m²
    shoulder_coulomb: Tensor  # N·m
    shoulder_viscous: Tensor  # N·m·s/rad
    shoulder_polarity: Tensor  # −1: wired backwards
    elbow_kt: Tensor
    elbow_resistance: Tensor
    elbow_voltage: Tensor
    elbow_armature: Tensor
    elbow_coulomb: Tensor
    elbow_viscous: Tensor
    elbow_polarity: Tensor
    upper_length: Tensor  # m
    fore_length: Tensor  # m
    upper_mass: Tensor  # kg
    fore_mass: Tensor  # kg
    payload: Tensor  # kg, at the tip
    delay: Tensor  # s
    noise: Tensor  # rad, of both encoders, standard deviation
    gears: Tensor  # which of `GEARS` a rich device has, of both joints, int64 (T, 2)

    def motors(self, name: str) -> Tensor:
        """One number of both motors, (T, 1, 2)."""
        return torch.stack([getattr(self, f"{joint}_{name}") for joint in JOINTS], -1)


TOLD = ArmTasks._fields[:-2]
"""What an oracle is told: all but the noise and what only rich devices have."""


class Gears(NamedTuple):
    """Friction of a measured servo by model m6 of Duclusaud and Passault; base and stribeck over Coulomb."""

    base: float
    stribeck: float
    load_motor: float
    load_external: float
    load_motor_stribeck: float
    load_external_stribeck: float
    stribeck_velocity: float  # rad/s
    alpha: float


GEARS = (
    Gears(0.0, 1.357, 0.31147, 0.0, 0.18774, 0.01407, 2.5753, 0.8409),  # MX-64
    Gears(0.0, 1.178, 0.19801, 0.02222, 0.19860, 0.08710, 1.7463, 1.1428),  # MX-106
    Gears(0.0, 0.593, 0.0, 0.15833, 0.0, 0.24548, 2.3011, 1.7067),  # XL-320
    Gears(0.372, 0.364, 0.26679, 0.0, 0.0, 0.08078, 2.8904, 8.6833),  # XL330
)


class ArmSession:
    """Arms under way, differentiable. `state`: angle, speed, their readings (T, E, 2), commands (T, E, 2, MAX_LAG)."""

    def __init__(self, tasks: ArmTasks, angle: Tensor, noise: Tensor, rich: bool) -> None:
        self._tasks, self._rich, self._tick = tasks, rich, 0
        self._noise = noise.unbind(2)  # in standard deviations
        rest = torch.zeros_like(angle)
        self.state: tuple[Tensor, ...] = (angle, rest, angle, rest, torch.zeros(*angle.shape, MAX_LAG))
        self._gears = gears_of(tasks) if rich else None
        self._h = CONTROL_DT / _FINE if rich else CONTROL_DT
        self._coefficients, self._lag = Coefficients.of(links(tasks), self._h), _lag_shares(tasks.delay)

    @property
    def obs(self) -> Tensor:
        return torch.cat(self.state[2:4], -1)

    def step(self, action: Tensor) -> Step:
        angle, speed, reading, _, commands = self.state
        commands = torch.cat([F.hardtanh(action).unsqueeze(-1), commands[..., :-1]], -1)
        arms = self._moved(Arms(angle, speed), (commands * self._lag).sum(-1))
        now = torch.addcmul(arms.angle, self._tasks.noise.unsqueeze(-1), self._noise[self._tick])
        self._tick += 1
        self.state = (*arms, now, (now - reading) / CONTROL_DT, commands)
        none = torch.zeros_like(now[..., 0])
        never = torch.zeros_like(none, dtype=torch.bool)
        return Step(none, never, never)

    def become(self, tasks: ArmTasks, where: Tensor) -> None:
        there = where.view(-1, 1)
        self._tasks = ArmTasks(*(torch.where(there, a, b) for a, b in zip(tasks, self._tasks, strict=True)))
        self._coefficients = Coefficients.of(links(self._tasks), self._h)
        self._lag = _lag_shares(self._tasks.delay)

    def _moved(self, arms: Arms, duty: Tensor) -> Arms:
        c = self._coefficients
        if self._gears is None:
            return step(arms, impulses(arms, duty, c), c.friction, c)
        for _ in range(_FINE):
            acting = impulses(arms, duty, c)
            arms = step(arms, acting, rich_friction(arms, acting, self._gears, self._h), c)
        return arms


def rich_friction(arms: Arms, acting: Impulses, gears: Tensor, h: float) -> Tensor:
    """What friction takes at most in h seconds, N·m·s (T, E, 2): model m6 without its quadratic terms.

    gears: as `gears_of` gives them.
    """
    base, stribeck, by_motor, by_load, by_motor_s, by_load_s, velocity, alpha = gears
    s = torch.exp(-torch.pow((arms.speed / velocity).abs().clamp_min(_STILL), alpha))
    motor, load = acting
    slow: Tensor = h * stribeck + (load * by_load_s - motor * by_motor_s).abs()
    fast: Tensor = h * base + (load * by_load - motor * by_motor).abs()
    return fast + s * slow


def gears_of(tasks: ArmTasks) -> Tensor:
    """The friction of both joints' gears, each number (T, 1, 2): (8, T, 1, 2)."""
    each = torch.tensor(GEARS)[tasks.gears].permute(2, 0, 1).unsqueeze(2)  # (8, T, 1, 2)
    times = torch.ones_like(each)
    times[:2] = tasks.motors("coulomb")
    return each * times


def links(tasks: ArmTasks) -> Links:
    """The few numbers that the equations of motion need, from the physical ones."""
    kt, resistance = tasks.motors("kt"), tasks.motors("resistance")
    upper, fore = tasks.upper_length, tasks.fore_length
    beyond = tasks.fore_mass + tasks.payload
    lower = (tasks.fore_mass / 3.0 + tasks.payload) * fore**2
    first = (0.5 * tasks.fore_mass + tasks.payload) * fore  # kg·m
    return Links(
        drive=tasks.motors("polarity") * kt * tasks.motors("voltage") / resistance,
        damping=kt**2 / resistance + tasks.motors("viscous"),
        coulomb=tasks.motors("coulomb"),
        shoulder=tasks.shoulder_armature + (tasks.upper_mass / 3.0 + beyond) * upper**2 + lower,
        lower=lower,
        elbow=tasks.elbow_armature + lower,
        coupling=first * upper,
        weight=GRAVITY * torch.stack([(0.5 * tasks.upper_mass + beyond) * upper, first], -1),
    )


def _lag_shares(delay: Tensor) -> Tensor:
    """Share of each of the last MAX_LAG commands in one control period, for delays (T, 1) in s: (T, 1, 1, MAX_LAG)."""
    lag = torch.arange(MAX_LAG) - delay / CONTROL_DT
    return (1.0 - lag.abs()).clamp_min(0.0).view(-1, 1, 1, MAX_LAG)
