"""The simulated servo as a device on the link."""

from __future__ import annotations

import math

from acclimate_bridge.link.messages import Schema, WireChannel
from acclimate_bridge.simulation.device_core import DeviceCore, Profile
from acclimate_bridge.simulation.judge import JudgedServo
from acclimate_bridge.simulation.servo.plant import Plant

# Scales are powers of two, so that values on the wire are exact in binary floating point.
SCHEMA = Schema(
    sensors=(
        WireChannel("position", "rad", 2.0**-20, -math.tau, math.tau),
        WireChannel("velocity", "rad/s", 2.0**-16, -100.0, 100.0),
    ),
    actuators=(WireChannel("duty", "1", 2.0**-20, -1.0, 1.0),),
)


JUDGED_SCHEMA = Schema(
    sensors=(*SCHEMA.sensors, WireChannel("reward", "1", 2.0**-20, -1024.0, 1024.0)),
    actuators=(*SCHEMA.actuators, WireChannel("target", "rad", 2.0**-20, -math.tau, math.tau)),
)
RATE = 100.0  # Hz


def servo_device(plant: Plant, boot_id: int, now: float = 0.0, rate: float = RATE) -> DeviceCore:
    """A servo, measured in position and velocity and driven by duty, as a device that boots at `now`.

    One that is judged is told the target, too, and measures a reward.
    """
    schema = JUDGED_SCHEMA if isinstance(plant, JudgedServo) else SCHEMA
    return DeviceCore(plant, Profile(schema, rate), boot_id, now)
