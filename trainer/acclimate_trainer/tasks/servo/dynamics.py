"""Servos in motion: their state, one control period of it, and sessions on them; the equations are in `family`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.family import Step
from acclimate_trainer.tasks.servo.ranges import CONTROL_DT, MAX_LAG
from acclimate_trainer.tasks.servo.spec import END_STOP

# Constants as tensors: a Python number would be converted anew in every step.
_ZERO, _RATE = torch.tensor(0.0), torch.tensor(1.0 / CONTROL_DT)
PRIVILEGED = ("kt", "resistance", "voltage", "inertia", "coulomb", "viscous", "gravity", "delay", "polarity")


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


class ServoSession:
    """T servos with E episodes each, side by side; a `contract.family.Session`, differentiable."""

    def __init__(
        self,
        tasks: ServoTasks,
        start: ServoState,
        encoder: Tensor,
        *,
        before: ServoState | None = None,
        through_stops: bool = False,
    ) -> None:
        """encoder (T, E, S): the noise of each reading, rad.

        before: the state one period before the start, which the first velocity is measured from; `start` where they
        are at rest.

        through_stops: the gradient of a joint at its end stop is that of one that would move on. The exact one is zero
        there: nothing would teach a policy that pushes into the stop to turn round.
        """
        self._here, self._before = start, start if before is None else before
        self._coefficients = coefficients(tasks)
        self._encoder = encoder
        self._through_stops, self._tick = through_stops, 0
        nothing, never = torch.zeros(start.q.shape), torch.zeros(start.q.shape, dtype=torch.bool)
        self._step = Step(nothing, never, never)

    @property
    def state(self) -> tuple[Tensor, ...]:
        return self._here

    @state.setter
    def state(self, state: tuple[Tensor, ...]) -> None:
        self._here = ServoState(*state)

    @property
    def obs(self) -> Tensor:
        """Position (rad) and velocity (rad/s), (T, E, 2)."""
        return observe(self._here, self._before)

    def step(self, action: Tensor) -> Step:
        """One control period under a duty (T, E, 1)."""
        self._before = self._here
        encoder = self._encoder[:, :, self._tick]
        self._here = step(self._here, action, self._coefficients, encoder, through_stops=self._through_stops)
        self._tick += 1
        return self._step

    def become(self, tasks: ServoTasks, where: Tensor) -> None:
        pairs = zip(coefficients(tasks), self._coefficients, strict=True)
        self._coefficients = Coefficients(
            *(torch.where(where.view(-1, *[1] * (new.dim() - 1)), new, old) for new, old in pairs)
        )


def coefficients(tasks: ServoTasks) -> Coefficients:
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


def at_rest(tasks: ServoTasks, episodes: int, rng: np.random.Generator) -> ServoState:
    """Servos at rest anywhere between the end stops, a fair share of them at a stop."""
    shape = (tasks.kt.shape[0], episodes)
    q = np.clip(rng.uniform(-1.3, 1.3, shape) * END_STOP, -END_STOP, END_STOP)
    q_t = torch.tensor(q, dtype=torch.float32)
    zeros = torch.zeros(shape)
    return ServoState(q_t, zeros, q_t, torch.zeros(*shape, MAX_LAG))


def under_way(measured: Tensor, past: Tensor) -> tuple[ServoState, ServoState]:
    """Servos at measured positions and velocities (T, E, 2), after commands (T, E, MAX_LAG − 1, 1), oldest first.

    With their state one period before, of which only what the encoder read is known.
    """
    q, omega = measured.unbind(-1)
    commands = F.hardtanh(past.squeeze(-1)).flip(-1)
    here = ServoState(q, omega, q, F.pad(commands, (0, 1)))
    return here, here._replace(measured=q - CONTROL_DT * omega)


def step(
    state: ServoState, duty: Tensor, c: Coefficients, encoder: Tensor, *, through_stops: bool = False
) -> ServoState:
    """One control period. `duty` (T, E, 1) is clamped to ±1; `encoder` (T, E) is this tick's noise in rad."""
    commands = torch.cat([F.hardtanh(duty), state.commands[..., :-1]], dim=-1)
    driven = torch.addcmul(c.decay * state.omega, c.drive, (commands @ c.lag).squeeze(-1))
    free = torch.addcmul(driven, c.gravity, torch.sin(state.q))
    omega = free - torch.clamp(free, c.unfriction, c.friction)
    moved = torch.addcmul(torch.addcmul(state.q, c.before, state.omega), c.after, omega)
    q = F.hardtanh(moved, -END_STOP, END_STOP)
    omega = torch.where(q == moved, omega, _ZERO.to(omega.dtype))
    if through_stops:
        q = moved + (q - moved).detach()
    return ServoState(q, omega, q + encoder, commands)


def observe(state: ServoState, previous: ServoState) -> Tensor:
    """Position, and velocity as the encoder's difference over one period, (T, E, 2)."""
    velocity = (state.measured - previous.measured) * _RATE.to(state.measured.dtype)
    return torch.stack([state.measured, velocity], dim=-1)


def _lag_shares(delay: Tensor) -> Tensor:
    """Share of each of the last MAX_LAG commands in one control period, for delays [T, 1] in s: [T, MAX_LAG, 1]."""
    lag = torch.arange(MAX_LAG) - delay / CONTROL_DT  # [T, MAX_LAG]
    return (1.0 - lag.abs()).clamp_min(0.0).unsqueeze(-1)
