"""The simulated servo: rich friction, backlash, encoder, supply sag, link delay, end stops.

This is deliberately not the model that a policy is trained on. The distance between the two is the reality
gap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import copysign, exp, sin

import numpy as np

from acclimate_bridge.simulation.servo.motors import Friction
from acclimate_bridge.simulation.servo.servos import Servo

TAU = 6.283185307179586
SUBSTEP = 0.001  # s
END_STOP = 1.7  # rad
CONTROL_DT = 0.01  # s
_NOISE_BLOCK = 1024


@dataclass(frozen=True)
class Deployment:
    """What differs in the field between two servos of one type."""

    drive_gain: float = 1.0  # multiplies the supply: driver, gearing, battery
    polarity: float = 1.0  # −1: the motor is wired backwards
    delay: float = 0.0  # s, from a command's arrival to its effect
    gravity: float = 0.0  # Nm, torque of the load held level; the arm stands upright at 0 rad
    inertia: float = 0.0  # kg·m², of the load alone


class SimulatedServo:
    """A servo driven by duty cycle, with encoder position in rad and velocity in rad/s.

    Velocity is the difference of the encoder over one control period, as in firmware without a tachometer.
    Integration: 1 kHz, back-EMF and viscous friction implicit, dry friction bounded by what stops the joint.
    """

    def __init__(
        self,
        servo: Servo,
        deployment: Deployment,
        rng: np.random.Generator,
        *,
        friction: Friction = "m6",
        control_dt: float = CONTROL_DT,
        q0: float = 0.0,
    ) -> None:
        self.servo = servo
        self.deployment = deployment
        self._motor = servo.motor(friction)
        self._rng = rng
        self._control_dt = control_dt
        self._count = TAU / servo.encoder_counts
        self._noise: list[float] = []
        self._step = 0  # substeps done
        self.reset(q0)

    @property
    def time(self) -> float:
        """How far the plant has been advanced, in s."""
        return self._step * SUBSTEP

    @property
    def angle(self) -> float:
        """True angle of the output shaft in rad, without encoder."""
        return self._output

    def reset(self, q0: float) -> tuple[float, float]:
        """Put the joint at rest at `q0` rad with duty 0; returns the measured position and velocity."""
        self._q = min(max(q0, -END_STOP), END_STOP)  # motor side of the backlash
        self._w = 0.0
        self._output = self._q  # load side of the backlash, where the encoder sits
        self._duty = 0.0  # as it acts now, after the delay
        self._pending: deque[tuple[float, float]] = deque()  # (time of effect in substeps, duty)
        self._history: deque[tuple[int, float]] = deque()  # (substep, encoder position)
        self._history.append((self._step, self._encoder()))
        return self._history[0][1], 0.0

    def step(self, duty: float) -> tuple[float, float]:
        """One control period under `duty` (−1..1); returns position (rad) and velocity (rad/s) after it."""
        self.set_duty(duty, self.time)
        self._integrate(self._step + round(self._control_dt / SUBSTEP))
        return self.measure()

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        """Take the duty that arrives at `now`; it acts after the link delay."""
        self.set_duty(targets[0], now)

    def rest(self, targets: tuple[float, ...], now: float) -> None:
        """As any targets: a servo lives on whether it is driven or not."""
        self.set_targets(targets, now)

    def set_duty(self, duty: float, now: float) -> None:
        """Take a duty (clamped to −1..1) that arrives at `now` in s; it acts after the link delay."""
        effect = (now + self.deployment.delay) / SUBSTEP
        self._pending.append((effect, min(max(duty, -1.0), 1.0)))

    def advance(self, now: float) -> None:
        """Integrate up to `now` in s, in whole substeps."""
        target = int(now / SUBSTEP + 1e-6)
        if target > self._step:
            self._integrate(target)

    def measure(self) -> tuple[float, float]:
        """Encoder position in rad, and its difference over the last control period in rad/s."""
        history = self._history
        newest, position = history[-1]
        if newest != self._step:
            position = self._encoder()
            history.append((self._step, position))
        oldest = self._step - round(self._control_dt / SUBSTEP)
        while len(history) > 2 and history[1][0] <= oldest:
            history.popleft()
        then, before = history[0]
        elapsed = self._step - then
        return position, (position - before) / (elapsed * SUBSTEP) if elapsed else 0.0

    def _encoder(self) -> float:
        if not self._noise:
            self._noise = (self._rng.standard_normal(_NOISE_BLOCK) * self.servo.encoder_noise).tolist()
        return round((self._output + self._noise.pop()) / self._count) * self._count

    def _duty_over(self, step: int) -> float:
        """Mean duty over substep `step`: a command that takes effect inside it counts for its share."""
        pending, duty = self._pending, self._duty
        mean, since = 0.0, float(step)
        while pending and pending[0][0] < step + 1:
            at, new = pending.popleft()
            if at > since:
                mean += duty * (at - since)
                since = at
            duty = new
        self._duty = duty
        return mean + duty * (step + 1 - since)

    def _integrate(self, target: int) -> None:
        """Advance to substep `target`. One flat loop: this is where a simulated minute spends its time."""
        m, servo, field = self._motor, self.servo, self.deployment
        kt, resistance, sag = m.kt, m.resistance, servo.supply_resistance
        supply, limit, polarity = servo.supply * field.drive_gain, servo.max_duty, field.polarity
        gravity = field.gravity
        rate = SUBSTEP / (m.armature + field.inertia)
        shrink = 1.0 / (1.0 + rate * (kt * kt / resistance + m.viscous))
        dry = rate * shrink
        half_play = 0.5 * servo.backlash
        q, w, output, pending = self._q, self._w, self._output, self._pending
        for step in range(self._step, target):
            duty = self._duty_over(step) if pending and pending[0][0] < step + 1 else self._duty
            duty = min(max(duty, -limit), limit) * polarity
            # The supply sags by the current it feeds, duty·i; a braking motor does not lift it.
            fed = (supply + sag * kt * w * duty / resistance) / (1.0 + sag * duty * duty / resistance)
            volt = duty * min(fed, supply)
            motor = kt * (volt - kt * w) / resistance
            external = gravity * sin(output)
            s = exp(-(abs(w / m.stribeck_velocity) ** m.alpha))
            quadratic = 0.0
            if motor * external < 0.0:
                if abs(motor) > abs(external):
                    quadratic = m.quadratic_external * external * external
                else:
                    quadratic = m.quadratic_motor * motor * motor
            bound = (
                m.base
                + abs(external * m.load_external - motor * m.load_motor)
                + s
                * (
                    m.stribeck
                    + abs(external * m.load_external_stribeck - motor * m.load_motor_stribeck)
                    + quadratic
                )
            )
            # Implicit in back-EMF and viscous friction; dry friction takes speed away, never turns it round.
            free = (w + rate * (kt * volt / resistance + external)) * shrink
            w = copysign(max(abs(free) - dry * bound, 0.0), free)
            q += SUBSTEP * w
            if abs(q) > END_STOP:  # inelastic
                q, w = copysign(END_STOP, q), 0.0
            output = min(max(output, q - half_play), q + half_play)
        self._q, self._w, self._output, self._step = q, w, output, max(target, self._step)
