"""The arm: two links in a vertical plane, a servo at each joint, a payload that nobody has weighed, maybe a wrong wire.

Each joint is driven by a servo of the kind of `tasks.servo`, by duty cycle at 100 Hz, and the links couple them:
`dynamics` has the equations. What differs from arm to arm: its size and with it both motors, their gains (driver,
supply, gearing), the links' lengths and masses, the payload, the delay of the link to the desktop, the encoders'
noise, and whether one of the motors is wired backwards. Both joints follow a reference of their own. Encoders measure
the angles; velocities are their differences over one period, as in firmware without a tachometer.

Shaking costs a gear train its teeth, and what shakes exploits the trainer's simple friction; so the loss puts a price
on the change of the action (`ArmFamily.price`).

There is no exact optimum. The classical opponent is a PID on each joint with a sign test, its gains tuned by search
over the family (`tasks.pid_search`). Held-out devices have a richer friction than those of training
(`ArmFamily.rich`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

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

from acclimate_trainer.contract.costs import change_cost, headline_cost
from acclimate_trainer.contract.family import Cost, Property
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.tasks.arm.dynamics import END_STOP, GRAVITY
from acclimate_trainer.tasks.arm.session import (
    CONTROL_DT,
    GEARS,
    JOINTS,
    MAX_LAG,
    TOLD,
    ArmSession,
    ArmTasks,
)
from acclimate_trainer.tasks.pid_search import Joint, PidSearch
from acclimate_trainer.tasks.pid_search import search as pid_search

Floats: TypeAlias = NDArray[np.float64]

SPEED = 40.0  # rad/s; hardly a joint is faster
SAG = (0.4, 0.9)  # what a sagging supply keeps of its voltage
_JOINTS = tuple(Joint(q, f"{q}_velocity", f"target_{q}", f"target_{q}_velocity") for q in JOINTS)
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
_RUN_IN = (0.8, 1.25)  # a rich device's factor on Coulomb friction: what its load adds comes on top
_MOTOR = (*list(_ENDS)[:-1], "gain", "friction")
PROPERTIES = (
    "size",
    "smaller",
    *(f"{joint}_{name}" for joint in JOINTS for name in _MOTOR),
    *("upper_length", "fore_length", "upper_mass", "fore_mass", "payload", "delay", "noise", "polarity"),
)
"""What arms differ in, in the order in which it is drawn; that of what size sets is the place in its spread."""
_SPREAD = 1.3  # each of the above times _SPREAD^U(−1, 1)
_SMALLER = 0.2  # of the way from smallest to largest: by how much the elbow's motor may be smaller than the shoulder's
# Their masses, as shares of what the weaker joint could hold out straight at the tip.
_LINKS = {"upper_mass": (0.02, 0.1), "fore_mass": (0.02, 0.06)}


@dataclass(frozen=True)
class ArmFamily:
    """Arms of every size; see the module. Ranges are (low, high)."""

    gain: tuple[float, float] = (0.5, 2.0)
    """Factor on either motor's supply: what driver, supply and gearing differ by; drawn log-uniformly."""
    friction: tuple[float, float] = (0.8, 2.5)
    """Factor on either joint's Coulomb friction, for gears that run dry, and for what a load adds; log-uniformly."""
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
            "friction": (1e-3, math.inf),
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
        volts, rubs, length = ends["voltage"], ends["coulomb"], ends["length"]
        ends["voltage"] = (volts[0] * self.gain[0], volts[1] * self.gain[1])
        ends["coulomb"] = (rubs[0] * self.friction[0], rubs[1] * self.friction[1])
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
        return self._arms(rng.random((len(PROPERTIES), n)).T, rng, progress * self.miswired)

    @property
    def properties(self) -> tuple[Property, ...]:
        known = {"polarity": Property("polarity", 1.0, 0.0, 1.0)}
        for name, ends in {"payload": (1e-4, 0.6), "delay": (0.0, CONTROL_DT * (MAX_LAG - 1))}.items():
            low, high = getattr(self, name)
            reach = ((end - low) / (high - low) if high > low else 0.5 for end in ends)
            known[name] = Property(name, 0.5, *reach)
        return tuple(known.get(name, Property(name)) for name in PROPERTIES)

    def placed(self, places: Floats, rng: np.random.Generator) -> ArmTasks:
        return self._arms(places, rng, self.miswired)

    def _arms(self, places: Floats, rng: np.random.Generator, miswired: float) -> ArmTasks:
        """Arms by the places (n, properties) in their ranges; those below `miswired` in polarity are wired wrongly."""
        n, at = len(places), dict(zip(PROPERTIES, places.T, strict=True))
        smaller = np.clip(at["size"] - _SMALLER * at["smaller"], 0.0, 1.0)
        told: dict[str, Floats] = {}
        for joint, of in zip(JOINTS, (at["size"], smaller), strict=True):
            for name in list(_ENDS)[:-1]:
                told[f"{joint}_{name}"] = _sized(name, of, at[f"{joint}_{name}"])
            told[f"{joint}_voltage"] *= _between(self.gain, at[f"{joint}_gain"])
            rubs = _RUN_IN if self.rich else self.friction
            told[f"{joint}_coulomb"] *= _between(rubs, at[f"{joint}_friction"])
        for link in ("upper", "fore"):
            told[f"{link}_length"] = _sized("length", at["size"], at[f"{link}_length"])
        holds = _holds(told)
        for name, share in _LINKS.items():
            told[name] = holds * _between(share, at[name])
        low, high = self.payload
        told["payload"] = holds * (low + (high - low) * at["payload"])
        low, high = self.delay
        told["delay"], told["noise"] = low + (high - low) * at["delay"], _between(self.noise, at["noise"])
        wrong = np.where(at["polarity"] < miswired, rng.integers(0, 2, n), -1)
        for k, joint in enumerate(JOINTS):
            told[f"{joint}_polarity"] = np.where(wrong == k, -1.0, 1.0)
        columns = {k: torch.tensor(v, dtype=torch.float32).unsqueeze(-1) for k, v in told.items()}
        return ArmTasks(**columns, gears=torch.from_numpy(rng.integers(0, len(GEARS), (n, 2))))

    def change(self, tasks: ArmTasks, rng: np.random.Generator, progress: float = 1.0) -> ArmTasks:
        """The same arms after something happened to each of them, one thing or several.

        Their payload is dropped or another one (half of them), their supply has sagged (a third), or the wires of
        one motor were swapped (a quarter, times `progress`, in a family that has such).
        """
        n = len(tasks.payload)
        share = 0.25 * progress if self.miswired else 0.0
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

    @property
    def n_past(self) -> int:
        return MAX_LAG - 1

    def made(self, parameters: Tensor) -> ArmTasks:
        told = dict(zip(TOLD, parameters.unsqueeze(-1).unbind(-2), strict=True))
        plain = torch.zeros(len(parameters), len(JOINTS), dtype=torch.int64)
        return ArmTasks(**told, noise=torch.zeros_like(told["delay"]), gears=plain)

    def resume(self, tasks: ArmTasks, measured: Tensor, past: Tensor, steps: int) -> ArmSession:
        angle, speed = torch.split(measured, len(JOINTS), -1)
        session = ArmSession(
            tasks, angle, torch.zeros(*angle.shape[:2], steps, len(JOINTS), dtype=angle.dtype), rich=False
        )
        commands = F.pad(F.hardtanh(past).flip(2).transpose(2, 3), (0, 1))  # newest first
        session.state = (angle, speed, angle, speed, commands)
        return session

    def held_out(self) -> ArmFamily:
        """The family whose machines evaluations are made on: the same arms, with richer friction."""
        return replace(self, rich=True)

    def classical(self, rng: np.random.Generator) -> dict[str, dict[str, float]]:
        """A PID on each joint, its gains found by search over arms wired as expected; it tests the signs first."""
        search = PidSearch(rounds=8, price=self.price)
        found = pid_search(self, _JOINTS, self.sample(search.tasks, rng, progress=0.0), search, rng)
        return {"pid": found.settings(self.spec.action_scalars) | {"sign_test": float(self.miswired > 0.0)}}

    def inputs(self, obs: Tensor) -> Tensor:
        """Errors, speeds, the references' speeds, and what gravity goes by."""
        angle, speed, target, rate = torch.split(obs, 2, -1)
        shoulder, elbow = torch.split(angle, 1, -1)
        weight = torch.sin(torch.cat([shoulder, shoulder + elbow], -1))
        return torch.cat([6.0 * (target - angle), 0.12 * speed, 0.4 * rate, weight], -1)

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        """The error of both joints, and what the change of the action costs; each to the root."""
        return headline_cost(self.spec, window, reward), change_cost(self.spec, window, self.price)


def _holds(told: Mapping[str, Floats]) -> Floats:
    """What the weaker joint of each arm could hold out straight at the tip, kg."""

    def stall(joint: str) -> Floats:
        return told[f"{joint}_kt"] * told[f"{joint}_voltage"] / told[f"{joint}_resistance"]

    reach = told["upper_length"] + told["fore_length"]
    force: Floats = np.minimum(stall("shoulder") / reach, stall("elbow") / told["fore_length"])  # N
    return force / GRAVITY


def _sized(name: str, size: Floats, place: Floats) -> Floats:
    """One number of machines between the smallest, 0, and the largest, 1; by the place in its spread."""
    small, large = (math.log(end) for end in _ENDS[name])
    spread = math.log(_SPREAD) * (-1.0 + 2.0 * place)
    drawn: Floats = np.exp((1.0 - size) * small + size * large + spread)
    return drawn


def _between(ends: tuple[float, float], place: Floats) -> Floats:
    """The values at these places of a range, logarithmically."""
    low, high = (math.log(end) for end in ends)
    drawn: Floats = np.exp(low + (high - low) * place)
    return drawn
