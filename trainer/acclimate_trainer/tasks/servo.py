"""The servo family: position servos of every size, driven by duty cycle at 100 Hz, tracking a random reference.

Motor and joint follow Duclusaud and Passault, "Extended Friction Models for the Physics Simulation of Servo
Actuators" (ICRA 2025), model m1 (Coulomb and viscous friction):

    (J_load + armature)·dω/dt = kt·V·duty/R − kt²·ω/R + gravity·sin(q) − friction

Over one control period h the command is held, so the linear part is solved exactly, and friction, bounded by what
stops the joint, becomes a soft threshold. With λ = (kt²/R + viscous)/J, φ = exp(−λh) and ψ = (1 − φ)/λ:

    ω' = shrink(φ·ω + ψ·(kt·V·duty/R + gravity·sin(q))/J, ψ·coulomb/J)        shrink(x, f) = sign(x)·max(|x| − f, 0)
    q' = q + (ψ − c·φ)·ω + c·ω',  c = (h − ψ)/(λψ)

This is stable at any h, differentiable almost everywhere, and batched over [tasks, episodes]. There is no exact
optimum; the oracle is a policy told the true parameters.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.control.references import SPEED as REFERENCE_SPEED
from acclimate.control.references import tracking_reference
from acclimate.errors import UsageError
from acclimate.task.spec import ActionChannel, ObservationChannel
from torch import Tensor

CONTROL_DT = 0.01  # s
END_STOP = 1.7  # rad
MAX_LAG = 4  # commands in flight that a delay of up to 30 ms can reach back to, the newest included
SAG = (0.4, 0.9)  # what a sagging supply keeps of its voltage
SPEED = 30.0  # rad/s; hardly a servo of the family is faster
OBSERVATION = (
    ObservationChannel("position", "rad", -END_STOP, END_STOP),
    ObservationChannel("velocity", "rad/s", -SPEED, SPEED),
    ObservationChannel("target", "rad", -END_STOP, END_STOP, "reference"),
    ObservationChannel("target_velocity", "rad/s", -REFERENCE_SPEED[1], REFERENCE_SPEED[1], "reference"),
)
ACTION = (ActionChannel("duty", "1", -1.0, 1.0),)
# Constants as tensors: a Python number would be converted anew in every step.
_ZERO, _RATE = torch.tensor(0.0), torch.tensor(1.0 / CONTROL_DT)
PRIVILEGED = ("kt", "resistance", "voltage", "inertia", "coulomb", "viscous", "gravity", "delay", "polarity")
_SIZED = ("kt", "resistance", "armature", "coulomb", "viscous", "voltage")  # what a servo's size sets


@dataclass(frozen=True)
class ServoRanges:
    """Training ranges, each (low, high), drawn log-uniformly where both ends are positive and uniformly otherwise.

    A servo's size interpolates its motor between the two ends of `kt` … `voltage` together, since strong motors
    have low resistance and large armatures; each parameter then spreads by a factor `spread` either way.
    """

    kt: tuple[float, float] = (0.6, 2.2)
    """Torque constant at the joint, Nm/A, of the smallest and the largest servo."""
    resistance: tuple[float, float] = (30.0, 2.6)
    """Winding resistance, Ω, of the smallest and the largest servo."""
    armature: tuple[float, float] = (0.001, 0.028)
    """Rotor inertia seen at the joint, kg·m², of the smallest and the largest servo."""
    coulomb: tuple[float, float] = (0.014, 0.11)
    """Coulomb friction, Nm, of the smallest and the largest servo."""
    viscous: tuple[float, float] = (0.003, 0.04)
    """Viscous friction, Nm·s/rad, of the smallest and the largest servo."""
    voltage: tuple[float, float] = (6.5, 15.5)
    """Nominal supply, V, of the smallest and the largest servo."""
    spread: float = 1.3
    """Each of the above times spread^U(−1, 1)."""
    drive_gain: tuple[float, float] = (0.25, 4.0)
    """Factor on the supply: what driver, supply and gearing differ by."""
    gravity_fraction: tuple[float, float] = (0.0, 0.25)
    """Gravity torque of the load at the horizontal, as a share of the stall torque at this drive gain."""
    inertia_ratio: tuple[float, float] = (0.1, 2.0)
    """Inertia of the load over the armature."""
    delay: tuple[float, float] = (0.0, 0.03)
    """Delay of the link, s."""
    noise: tuple[float, float] = (0.0002, 0.003)
    """Noise of the encoder, rad, standard deviation."""
    polarity: tuple[float, float] = (1.0, 1.0)
    """(1, 1): wired as expected; (−1, 1): either way round with equal chance."""

    def __post_init__(self) -> None:
        """Raises UsageError for ranges that no servo can have."""
        low: dict[str, float] = {"gravity_fraction": 0.0, "inertia_ratio": 0.0, "delay": 0.0, "noise": 0.0}
        high = {"gravity_fraction": 0.9, "delay": CONTROL_DT * (MAX_LAG - 1)}
        if self.spread < 1.0:
            raise UsageError(f"range spread is a factor of at least 1, found {self.spread:g}")
        if self.polarity not in ((1.0, 1.0), (-1.0, 1.0)):
            raise UsageError(f"range polarity is [1, 1] or [-1, 1], found {list(self.polarity)}")
        for name, ends in asdict(self).items():
            if name in ("spread", "polarity"):
                continue
            least, most = low.get(name, 0.0), high.get(name, math.inf)
            if not all(math.isfinite(x) and least <= x <= most and (x > 0.0 or name in low) for x in ends):
                bound = f"from {least:g} to {most:g}" if name in low else "above 0"
                raise UsageError(f"range {name} must lie {bound}, found {list(ends)}")
            if ends[0] > ends[1] and (name in low or name == "drive_gain"):
                raise UsageError(f"range {name} must be [low, high] with low <= high, found {list(ends)}")

    def as_dict(self) -> dict[str, float | list[float]]:
        """The fields as JSON values, as a config has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """What each parameter is drawn from, (low, high), the spread included: for a bundle's manifest."""
        table = asdict(self)
        spread = table.pop("spread")
        factors = {name: spread if name in _SIZED else 1.0 for name in table}
        return {name: (min(ends) / factors[name], max(ends) * factors[name]) for name, ends in table.items()}


PRESETS = {"wide": ServoRanges(), "miswired": ServoRanges(polarity=(-1.0, 1.0))}
"""wide: polarity known, drive gain not. miswired: polarity unknown as well."""


class ServoTasks(NamedTuple):
    """Parameters of n servos, each a tensor [n, 1] that broadcasts over episodes. Units as in `ServoRanges`."""

    kt: Tensor
    resistance: Tensor
    voltage: Tensor  # nominal supply × drive gain
    inertia: Tensor  # load and armature
    coulomb: Tensor
    viscous: Tensor
    gravity: Tensor  # Nm at the horizontal
    delay: Tensor  # s
    polarity: Tensor
    noise: Tensor  # rad
    armature: Tensor  # kg·m², the rotor's share of the inertia

    def privileged(self) -> Tensor:
        """What an oracle is told: [n, len(PRIVILEGED)] in that order, in physical units."""
        return torch.cat([getattr(self, name) for name in PRIVILEGED], dim=-1)


class ServoState(NamedTuple):
    """State of [tasks, episodes] servos."""

    q: Tensor  # rad [T, E]
    omega: Tensor  # rad/s [T, E]
    measured: Tensor  # encoder, rad [T, E]
    commands: Tensor  # newest first [T, E, MAX_LAG]


class Coefficients(NamedTuple):
    """What one control period needs, computed once per rollout from the tasks. Each [T, 1] but `lag`."""

    decay: Tensor  # φ
    drive: Tensor  # rad/s per unit of duty
    gravity: Tensor  # rad/s
    friction: Tensor  # rad/s
    unfriction: Tensor  # minus that
    before: Tensor  # s, weight of ω in the way travelled
    after: Tensor  # s, weight of ω'
    lag: Tensor  # share of each of the last MAX_LAG commands, newest first [T, MAX_LAG, 1]


class ServoFamily:
    """Samples servos and steps them. Pure: all state is passed in and out."""

    def __init__(self, ranges: ServoRanges, *, through_stops: bool = False) -> None:
        """through_stops: the gradient of a joint at its end stop is that of one that would move on.

        The exact one is zero there: nothing would teach a policy that pushes into the stop to turn round.
        """
        self.ranges, self._through_stops = ranges, through_stops

    def sample(self, n: int, rng: np.random.Generator, miswired: float = 0.5) -> ServoTasks:
        """Draw n servos jointly over the training ranges.

        miswired: share of servos of reversed polarity, in a family that has such.
        """
        r = self.ranges
        size = rng.random(n)

        def motor(ends: tuple[float, float]) -> np.ndarray:
            spread = np.exp(rng.uniform(-1, 1, n) * math.log(r.spread))
            return np.exp((1 - size) * math.log(ends[0]) + size * math.log(ends[1])) * spread

        kt, resistance, armature = motor(r.kt), motor(r.resistance), motor(r.armature)
        coulomb, viscous = motor(r.coulomb), motor(r.viscous)
        voltage = motor(r.voltage) * _draw(rng, r.drive_gain, n)
        gravity = _draw(rng, r.gravity_fraction, n) * kt * voltage / resistance
        inertia = armature * (1 + _draw(rng, r.inertia_ratio, n))
        flipped = (rng.random(n) < miswired) & (r.polarity[0] < 0)
        columns = (kt, resistance, voltage, inertia, coulomb, viscous, gravity, _draw(rng, r.delay, n),
                   np.where(flipped, -1.0, 1.0), _draw(rng, r.noise, n), armature)  # fmt: skip
        return ServoTasks(*(torch.tensor(c, dtype=torch.float32).unsqueeze(-1) for c in columns))

    def change(self, tasks: ServoTasks, rng: np.random.Generator, miswired: float = 0.5) -> ServoTasks:
        """The same servos after something happened to each of them, one thing or several.

        Their payload is dropped or another one (half of them), their supply has sagged (a third), or the motor's
        wires were swapped (a share `miswired` of those in a family that has such). Parameters sampled anew in
        mid-episode are how Kumar et al. 2021 ("RMA", section IV) train for what changes.
        """
        r, n = self.ranges, tasks.kt.shape[0]
        what = rng.random((3, n)) < np.array([[0.5], [1.0 / 3.0], [miswired if r.polarity[0] < 0 else 0.0]])
        what[0] |= ~what.any(axis=0)  # something does happen
        payload, sags, swapped = (torch.from_numpy(row).unsqueeze(-1) for row in what)
        left, fraction, ratio = (
            torch.tensor(_draw(rng, ends, n), dtype=torch.float32).unsqueeze(-1)
            for ends in (SAG, r.gravity_fraction, r.inertia_ratio)
        )
        holds = torch.from_numpy(rng.random((n, 1)) < 0.5).float()  # else the payload is dropped
        fraction, ratio = holds * fraction, holds * ratio
        lifted = fraction * tasks.kt * tasks.voltage / tasks.resistance
        return tasks._replace(
            voltage=torch.where(sags, left * tasks.voltage, tasks.voltage),
            gravity=torch.where(payload, lifted, tasks.gravity),
            inertia=torch.where(payload, tasks.armature * (1.0 + ratio), tasks.inertia),
            polarity=torch.where(swapped, -tasks.polarity, tasks.polarity),
        )

    def coefficients(self, tasks: ServoTasks) -> Coefficients:
        """Fold the physical parameters into the few numbers that a substep needs."""
        rate = (tasks.kt**2 / tasks.resistance + tasks.viscous) / tasks.inertia  # λ, 1/s
        decay = torch.exp(-rate * CONTROL_DT)
        response = (1.0 - decay) / rate  # ψ, s
        per_torque = response / tasks.inertia
        after = (CONTROL_DT - response) / (rate * response)
        return Coefficients(
            decay=decay,
            drive=per_torque * tasks.polarity * tasks.kt * tasks.voltage / tasks.resistance,
            gravity=per_torque * tasks.gravity,
            friction=per_torque * tasks.coulomb,
            unfriction=-per_torque * tasks.coulomb,
            before=response - after * decay,
            after=after,
            lag=_lag_shares(tasks.delay),
        )

    def reset(self, tasks: ServoTasks, episodes: int, rng: np.random.Generator) -> ServoState:
        """Servos at rest anywhere between the end stops, a fair share of them at a stop."""
        shape = (tasks.kt.shape[0], episodes)
        q = np.clip(rng.uniform(-1.3, 1.3, shape) * END_STOP, -END_STOP, END_STOP)
        q_t = torch.tensor(q, dtype=torch.float32)
        zeros = torch.zeros(shape)
        return ServoState(q_t, zeros, q_t, torch.zeros(*shape, MAX_LAG))

    def reference(self, state: ServoState, steps: int, rng: np.random.Generator) -> Tensor:
        """References that begin where each servo stands: [T, E, steps + 1, 2], position and velocity."""
        start = state.measured.numpy()
        r = tracking_reference(rng, start.reshape(-1), steps, CONTROL_DT)
        both = np.stack([r.position, r.velocity], axis=-1)
        return torch.from_numpy(both.reshape(*start.shape, steps + 1, 2))

    def step(self, state: ServoState, duty: Tensor, c: Coefficients, encoder: Tensor) -> ServoState:
        """One control period. `duty` [T, E, 1] is clamped to ±1; `encoder` [T, E] is this tick's noise in rad."""
        commands = torch.cat([F.hardtanh(duty), state.commands[..., :-1]], dim=-1)
        driven = torch.addcmul(c.decay * state.omega, c.drive, (commands @ c.lag).squeeze(-1))
        free = torch.addcmul(driven, c.gravity, torch.sin(state.q))
        omega = free - torch.clamp(free, c.unfriction, c.friction)
        moved = torch.addcmul(torch.addcmul(state.q, c.before, state.omega), c.after, omega)
        q = F.hardtanh(moved, -END_STOP, END_STOP)
        omega = torch.where(q == moved, omega, _ZERO)
        if self._through_stops:
            q = moved + (q - moved).detach()
        return ServoState(q, omega, q + encoder, commands)


def observe(state: ServoState, previous: ServoState, target: Tensor) -> Tensor:
    """Observation [T, E, 4]: position, velocity as the encoder's difference over one period, target and its rate."""
    velocity = (state.measured - previous.measured) * _RATE
    return torch.cat([state.measured.unsqueeze(-1), velocity.unsqueeze(-1), target], dim=-1)


def _draw(rng: np.random.Generator, ends: tuple[float, float], n: int) -> np.ndarray:
    low, high = ends
    if low > 0:
        return np.exp(rng.uniform(math.log(low), math.log(high), n))
    return rng.uniform(low, high, n)


def _lag_shares(delay: Tensor) -> Tensor:
    """Share of each of the last MAX_LAG commands in one control period, for delays [T, 1] in s: [T, MAX_LAG, 1]."""
    lag = torch.arange(MAX_LAG) - delay / CONTROL_DT  # [T, MAX_LAG]
    return (1.0 - lag.abs()).clamp_min(0.0).unsqueeze(-1)
