"""A servo in its deployment, as a machine behind the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from acclimate_bridge.link.messages import Schema, WireChannel
from acclimate_bridge.simulation.profile import Profile
from acclimate_bridge.simulation.servo.changes import KINDS, changed
from acclimate_bridge.simulation.servo.deployments import described, true_parameters
from acclimate_bridge.simulation.servo.motors import Friction
from acclimate_bridge.simulation.servo.plant import TAU, Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.servos import Servo

RATE = 100.0  # Hz
# What a servo's encoder and driver cover, which is more than any task asks for. Scales are powers of two, so that
# values on the wire are exact in binary floating point.
SCHEMA = Schema(
    sensors=(
        WireChannel("position", "rad", 2.0**-20, -TAU, TAU),
        WireChannel("velocity", "rad/s", 2.0**-16, -100.0, 100.0),
    ),
    actuators=(WireChannel("duty", "1", 2.0**-20, -1.0, 1.0),),
)


class LiveServo(SimulatedServo):
    """The plant, with what is true of it and what may happen to it."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """By the names of the servos' specification, in SI units, by the simple model m1."""
        return true_parameters(self.servo, self.deployment)

    def begin(self) -> bool:
        """Nobody puts a servo back: it drives on from where it stands."""
        return False

    def change(self, kind: str, rng: np.random.Generator) -> None:
        """One of `KINDS`, which leave nothing to chance."""
        del rng
        self.deployment = changed(self.servo, self.deployment, kind)

    def described(self) -> str:
        return described(self.deployment)


@dataclass(frozen=True)
class ServoSpecimen:
    """A servo of this type, deployed so, whose joint stands at `q0` (rad) at first."""

    servo: Servo
    deployment: Deployment
    q0: float = 0.0
    friction: Friction = "m6"
    rate: float = RATE

    @property
    def name(self) -> str:
        return self.servo.name

    @property
    def profile(self) -> Profile:
        return Profile(SCHEMA, self.rate)

    @property
    def changes(self) -> tuple[str, ...]:
        return KINDS

    def start(self, rng: np.random.Generator) -> LiveServo:
        return LiveServo(
            self.servo, self.deployment, rng, friction=self.friction, control_dt=1.0 / self.rate, q0=self.q0
        )
