"""The arm: two links in a vertical plane, a servo at each joint, a payload that nobody has weighed, maybe a wrong wire.

Each joint is driven by a servo of the kind of `tasks.servo`, by duty cycle at 100 Hz, and the links couple them:
`arm_dynamics` has the equations. What differs from arm to arm: its size and with it both motors, their gains (driver,
supply, gearing), the links' lengths and masses, the payload, the delay of the link to the desktop, the encoders'
noise, and whether one of the motors is wired backwards. Both joints follow a reference of their own. Encoders measure
the angles; velocities are their differences over one period, as in firmware without a tachometer.

Shaking costs a gear train its teeth, and what shakes exploits the trainer's simple friction; so the loss puts a price
on the change of the action (`ArmFamily.price`).

There is no exact optimum. The classical opponent is a PID on each joint with a sign test, its gains tuned by search
over the family (`baselines.joint_pid`). Held-out devices have a richer friction than those of training
(`ArmFamily.rich`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
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

from acclimate_trainer.contract.family import Cost, Step
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.tasks.arm_dynamics import END_STOP, GRAVITY, Arms, Coefficients, Forces, forces, step

Floats: TypeAlias = NDArray[np.float64]

CONTROL_DT = 0.01  # s
SPEED = 40.0  # rad/s; hardly a joint is faster
MAX_LAG = 4  # commands in flight that a delay of up to 30 ms can reach back to, the newest included
SAG = (0.4, 0.9)  # what a sagging supply keeps of its voltage
JOINTS = ("shoulder", "elbow")
_REACH = 1.0  # rad; raw targets lie within ± this
_REFERENCE_SPEED = (0.5, 1.5)  # rad/s

# Motors of the smallest and the largest arm, as `tasks.servo.ServoRanges` has them, and links to go with them.
_ENDS = {
    "kt": (0.6, 2.2),  # N·m/A
    "resistance": (30.0, 2.6),  # Ω
    "voltage": (6.5, 15.5),  # V
    "armature": (0.001, 0.028),  # kg·m²
    "coulomb": (0.014, 0.11),  # N·m
    "viscous": (0.003, 0.04),  # N·m·s/rad
    "length": (0.05, 0.13),  # m
}
_UNITS = dict(zip(_ENDS, ("N·m/A", "Ω", "V", "kg·m²", "N·m", "N·m·s/rad", "m"), strict=True))
_SPREAD = 1.3  # each of the above times _SPREAD^U(−1, 1)
_SMALLER = 0.2  # of the way from smallest to largest: by how much the elbow's motor may be smaller than the shoulder's
_LINKS = {
    "upper_mass": (0.02, 0.1),
    "fore_mass": (0.02, 0.06),
}  # shares of what the arm could hold at its tip
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


@dataclass(frozen=True)
class ArmFamily:
    """Arms of every size; see the module. Ranges are (low, high)."""

    gain: tuple[float, float] = (0.5, 2.0)
    """Factor on either motor's supply: what driver, supply and gearing differ by; drawn log-uniformly."""
    payload: tuple[float, float] = (0.01, 0.2)
    """What the tip carries, the gripper included, as a share of what the weaker joint could hold out straight."""
    delay: tuple[float, float] = (0.0, 0.03)
    """Delay of the link, s."""
    noise: tuple[float, float] = (0.0002, 0.003)
    """Noise of the encoders, rad, standard deviation; drawn log-uniformly."""
    miswired: float = 0.5
    """Share of arms one of whose motors is wired backwards; it rises from none in the course of training."""
    price: float = 0.02
    """What the loss charges for the change of the action, rad per unit of its RMS; 0 for error alone."""
    rich: bool = False
    """Friction with Stribeck effect and load, measured on real servos: what held-out devices have."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no arm can be."""
        within = {
            "gain": (1e-3, math.inf),
            "payload": (1e-4, 0.6),
            "delay": (0.0, CONTROL_DT * (MAX_LAG - 1)),
            "noise": (1e-9, 0.1),
        }
        for name, (least, most) in within.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise UsageError(
                    f"{name} must be [low, high] with low <= high, both from {least:g} to {most:g}, found {[low, high]}"
                )
        if not 0.0 <= self.miswired <= 1.0:
            raise UsageError(f"miswired must be from 0 to 1, found {self.miswired:g}")
        if not 0.0 <= self.price < math.inf:
            raise UsageError(f"price must be at least 0, found {self.price:g}")

    @cached_property
    def spec(self) -> TaskSpec:
        pairs = tuple((joint, f"target_{joint}") for joint in JOINTS)
        tracks = tuple(Track(q, target, f"{target}_velocity", _REACH) for q, target in pairs)
        fastest = _REFERENCE_SPEED[1] * _REACH
        return TaskSpec(
            name="arm",
            control_dt=CONTROL_DT,
            observation=(
                *(ObservationChannel(q, "rad", -END_STOP, END_STOP) for q in JOINTS),
                *(ObservationChannel(f"{q}_velocity", "rad/s", -SPEED, SPEED) for q in JOINTS),
                *(ObservationChannel(t, "rad", -END_STOP, END_STOP, "reference") for _, t in pairs),
                *(
                    ObservationChannel(f"{t}_velocity", "rad/s", -fastest, fastest, "reference")
                    for _, t in pairs
                ),
            ),
            action=tuple(ActionChannel(f"{q}_duty", "1", -1.0, 1.0) for q in JOINTS),
            parameters=self._parameters(),
            metrics=(Metric("error", "rms", "rad", pairs), CHATTER, ENERGY, SATURATED),
            reference=TrackingReference(tracks, speed=_REFERENCE_SPEED),
            horizon=100,
            episodes=2,
            differentiable=True,
        )

    def _parameters(self) -> tuple[Parameter, ...]:
        """What each is drawn from, in the order of `TOLD`."""
        ends = {name: (min(e) / _SPREAD, max(e) * _SPREAD) for name, e in _ENDS.items()}
        volts, length = ends["voltage"], ends["length"]
        ends["voltage"] = (volts[0] * self.gain[0], volts[1] * self.gain[1])
        kt, resistance = ends["kt"], ends["resistance"]
        stall = (kt[0] * ends["voltage"][0] / resistance[1], kt[1] * ends["voltage"][1] / resistance[0])
        holds = (stall[0] / (2 * length[1] * GRAVITY), stall[1] / (2 * length[0] * GRAVITY))  # kg
        drawn = {name: Parameter("", _UNITS[name], *e, "log") for name, e in ends.items()}
        drawn["polarity"] = Parameter("", "1", -1.0 if self.miswired else 1.0, 1.0, "sign")
        drawn["delay"] = Parameter("", "s", *self.delay)
        drawn["payload"] = Parameter("", "kg", self.payload[0] * holds[0], self.payload[1] * holds[1], "log")
        for name, (low, high) in _LINKS.items():
            drawn[name] = Parameter("", "kg", low * holds[0], high * holds[1], "log")
        return tuple(replace(drawn.get(n) or drawn[n.split("_")[1]], name=n) for n in TOLD)

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> ArmTasks:
        """Draw n arms: the size first, and with it both motors and the links; `progress` is the share of `miswired`."""
        size = rng.random(n)
        smaller = np.clip(size - rng.uniform(0.0, _SMALLER, n), 0.0, 1.0)
        told: dict[str, Floats] = {}
        for joint, of in zip(JOINTS, (size, smaller), strict=True):
            for name in list(_ENDS)[:-1]:
                told[f"{joint}_{name}"] = _sized(name, of, rng)
            told[f"{joint}_voltage"] *= _draw(rng, self.gain, n)
        for link in ("upper", "fore"):
            told[f"{link}_length"] = _sized("length", size, rng)
        holds = _holds(told)
        for name, share in _LINKS.items():
            told[name] = holds * _draw(rng, share, n)
        told["payload"] = holds * rng.uniform(*self.payload, n)
        told["delay"], told["noise"] = rng.uniform(*self.delay, n), _draw(rng, self.noise, n)
        wrong = np.where(rng.random(n) < progress * self.miswired, rng.integers(0, 2, n), -1)
        for k, joint in enumerate(JOINTS):
            told[f"{joint}_polarity"] = np.where(wrong == k, -1.0, 1.0)
        columns = {k: torch.tensor(v, dtype=torch.float32).unsqueeze(-1) for k, v in told.items()}
        return ArmTasks(**columns, gears=torch.from_numpy(rng.integers(0, len(GEARS), (n, 2))))

    def change(self, tasks: ArmTasks, rng: np.random.Generator, progress: float = 1.0) -> ArmTasks:
        """The same arms after something happened to each of them, one thing or several.

        Their payload is dropped or another one (half of them), their supply has sagged (a third), or the wires of
        one motor were swapped (half, `progress` of them, in a family that has such).
        """
        n = len(tasks.payload)
        share = 0.5 * progress if self.miswired else 0.0
        what = rng.random((3, n, 1)) < np.array([0.5, 1.0 / 3.0, share])[:, None, None]
        what[0] |= ~what.any(axis=0)  # something does happen
        which = rng.integers(0, 2, (n, 1))
        payload, sags, swapped = (torch.from_numpy(row) for row in what)
        holds = _holds({name: getattr(tasks, name).numpy() for name in TOLD})
        gripper = rng.random((n, 1)) < 0.5  # is all that is left
        other = holds * np.where(gripper, self.payload[0], rng.uniform(*self.payload, (n, 1)))
        left = torch.where(sags, torch.tensor(rng.uniform(*SAG, (n, 1)), dtype=torch.float32), 1.0)
        changed = {"payload": torch.where(payload, torch.tensor(other, dtype=torch.float32), tasks.payload)}
        for k, joint in enumerate(JOINTS):
            volts, polarity = f"{joint}_voltage", f"{joint}_polarity"
            changed[volts] = getattr(tasks, volts) * left
            turned = swapped & torch.from_numpy(which == k)
            changed[polarity] = torch.where(turned, -getattr(tasks, polarity), getattr(tasks, polarity))
        return tasks._replace(**changed)

    def parameters(self, tasks: ArmTasks) -> Tensor:
        return torch.cat([getattr(tasks, name) for name in TOLD], -1)

    def open(self, tasks: ArmTasks, episodes: int, steps: int, rng: np.random.Generator) -> ArmSession:
        """Arms at rest anywhere between the end stops, a fair share of the joints at one."""
        shape = (len(tasks.payload), episodes)
        angle = np.clip(rng.uniform(-1.3, 1.3, (*shape, 2)) * END_STOP, -END_STOP, END_STOP)
        noise = rng.standard_normal((*shape, steps, 2), dtype=np.float32)
        return ArmSession(tasks, torch.tensor(angle, dtype=torch.float32), torch.from_numpy(noise), self.rich)

    def held_out(self) -> ArmFamily:
        """The family whose machines evaluations are made on: the same arms, with richer friction."""
        return replace(self, rich=True)

    def inputs(self, obs: Tensor) -> Tensor:
        """Errors, speeds, the references' speeds, and what gravity goes by."""
        angle, speed, target, rate = torch.split(obs, 2, -1)
        shoulder, elbow = torch.split(angle, 1, -1)
        weight = torch.sin(torch.cat([shoulder, shoulder + elbow], -1))
        return torch.cat([6.0 * (target - angle), 0.12 * speed, 0.4 * rate, weight], -1)

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        """The error of both joints, and what the change of the action costs; each to the root."""
        del reward
        after = window.obs[:, :, 1:]
        error = (after[..., :2] - after[..., 4:6]).square().mean(-1)
        duty = F.hardtanh(window.action)
        change = F.pad((duty[:, :, 1:] - duty[:, :, :-1]).square().mean(-1), (1, 0))
        return Cost("error", error), Cost("change", change, self.price)


class ArmSession:
    """Arms under way, differentiable. `state`: angle, speed, their readings (T, E, 2), commands (T, E, 2, MAX_LAG)."""

    def __init__(self, tasks: ArmTasks, angle: Tensor, noise: Tensor, rich: bool) -> None:
        self._tasks, self._rich, self._tick = tasks, rich, 0
        self._noise = noise.unbind(2)  # in standard deviations
        rest = torch.zeros_like(angle)
        self.state: tuple[Tensor, ...] = (angle, rest, angle, rest, torch.zeros(*angle.shape, MAX_LAG))
        self._coefficients, self._lag = _coefficients(tasks), _lag_shares(tasks.delay)
        self._gears = _gears(tasks) if rich else None

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
        self._coefficients, self._lag = _coefficients(self._tasks), _lag_shares(self._tasks.delay)

    def _moved(self, arms: Arms, duty: Tensor) -> Arms:
        c = self._coefficients
        if self._gears is None:
            return step(arms, forces(arms, duty, c), c.coulomb, c, CONTROL_DT)
        for _ in range(_FINE):
            acting = forces(arms, duty, c)
            arms = step(arms, acting, _rich_friction(arms, acting, self._gears), c, CONTROL_DT / _FINE)
        return arms


def _rich_friction(arms: Arms, acting: Forces, gears: Tensor) -> Tensor:
    """What friction takes at most, N·m (T, E, 2), from `_gears`: model m6 without its quadratic terms."""
    base, stribeck, by_motor, by_load, by_motor_s, by_load_s, velocity, alpha = gears
    s = torch.exp(-torch.pow((arms.speed / velocity).abs().clamp_min(_STILL), alpha))
    motor, load = acting
    slow: Tensor = stribeck + (load * by_load_s - motor * by_motor_s).abs()
    fast: Tensor = base + (load * by_load - motor * by_motor).abs()
    return fast + s * slow


def _gears(tasks: ArmTasks) -> Tensor:
    """The friction of both joints' gears, each number (T, 1, 2): (8, T, 1, 2)."""
    each = torch.tensor(GEARS)[tasks.gears].permute(2, 0, 1).unsqueeze(2)  # (8, T, 1, 2)
    times = torch.ones_like(each)
    times[:2] = tasks.motors("coulomb")
    return each * times


def _coefficients(tasks: ArmTasks) -> Coefficients:
    """The few numbers that a step needs, from the physical ones."""
    kt, resistance = tasks.motors("kt"), tasks.motors("resistance")
    upper, fore = tasks.upper_length, tasks.fore_length
    beyond = tasks.fore_mass + tasks.payload
    lower = (tasks.fore_mass / 3.0 + tasks.payload) * fore**2
    first = (0.5 * tasks.fore_mass + tasks.payload) * fore  # kg·m
    return Coefficients(
        drive=tasks.motors("polarity") * kt * tasks.motors("voltage") / resistance,
        damping=kt**2 / resistance + tasks.motors("viscous"),
        coulomb=tasks.motors("coulomb"),
        shoulder=tasks.shoulder_armature + (tasks.upper_mass / 3.0 + beyond) * upper**2 + lower,
        lower=lower,
        elbow=tasks.elbow_armature + lower,
        coupling=first * upper,
        upper_weight=GRAVITY * (0.5 * tasks.upper_mass + beyond) * upper,
        fore_weight=GRAVITY * first,
    )


def _lag_shares(delay: Tensor) -> Tensor:
    """Share of each of the last MAX_LAG commands in one control period, for delays (T, 1) in s: (T, 1, 1, MAX_LAG)."""
    lag = torch.arange(MAX_LAG) - delay / CONTROL_DT
    return (1.0 - lag.abs()).clamp_min(0.0).view(-1, 1, 1, MAX_LAG)


def _holds(told: Mapping[str, Floats]) -> Floats:
    """What the weaker joint of each arm could hold out straight at the tip, kg."""

    def stall(joint: str) -> Floats:
        return told[f"{joint}_kt"] * told[f"{joint}_voltage"] / told[f"{joint}_resistance"]

    reach = told["upper_length"] + told["fore_length"]
    force: Floats = np.minimum(stall("shoulder") / reach, stall("elbow") / told["fore_length"])  # N
    return force / GRAVITY


def _sized(name: str, size: Floats, rng: np.random.Generator) -> Floats:
    """One number of machines between the smallest, 0, and the largest, 1."""
    small, large = (math.log(end) for end in _ENDS[name])
    spread = math.log(_SPREAD) * rng.uniform(-1.0, 1.0, len(size))
    drawn: Floats = np.exp((1.0 - size) * small + size * large + spread)
    return drawn


def _draw(rng: np.random.Generator, ends: tuple[float, float], n: int) -> Floats:
    low, high = (math.log(end) for end in ends)
    drawn: Floats = np.exp(rng.uniform(low, high, n))
    return drawn
