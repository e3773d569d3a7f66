"""The simulated servo as a device on the link: its channels, and its faults for tests."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from acclimate_bridge.device_core import DeviceCore, Profile
from acclimate_bridge.messages import Schema, WireChannel
from acclimate_bridge.plant import Deployment, Plant, SimulatedServo
from acclimate_bridge.servos import Friction, Servo

SCHEMA = Schema(
    sensors=(
        WireChannel("position", "rad", 2.0**-20, -math.pi, math.pi),
        WireChannel("velocity", "rad/s", 2.0**-16, -100.0, 100.0),
    ),
    actuators=(WireChannel("duty", "1", 2.0**-20, -1.0, 1.0),),
)
PROFILE = Profile(SCHEMA)


class NanAfter(NamedTuple):
    """A plant whose sensors stop giving values at `at` s."""

    plant: Plant
    at: float

    @property
    def time(self) -> float:
        return self.plant.time

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        self.plant.set_targets(targets, now)

    def advance(self, now: float) -> None:
        self.plant.advance(now)

    def measure(self) -> tuple[float, ...]:
        values = self.plant.measure()
        return values if self.plant.time < self.at else tuple(math.nan for _ in values)


def servo_device(
    servo: Servo,
    deployment: Deployment,
    rng: np.random.Generator,
    *,
    q0: float = 0.0,
    friction: Friction = "m6",
    nan_after: float | None = None,
) -> DeviceCore:
    """A simulated servo behind the device's side of the link, at rest at `q0` rad, booted at time 0."""
    boot_id = int(rng.integers(1, 2**32))
    plant: Plant = SimulatedServo(servo, deployment, rng, q0=q0, friction=friction)
    return DeviceCore(plant if nan_after is None else NanAfter(plant, nan_after), PROFILE, boot_id)
