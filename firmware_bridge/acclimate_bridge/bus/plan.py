"""Which servos are on a bus, and what their channels are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from acclimate.control.device import Channel

from acclimate_bridge.bus.models import Family, Mode

FULL_TURN = 2.0 * math.pi
FASTEST = 40.0  # rad/s that a velocity channel declares: more than any of these servos reaches
HOTTEST, STRONGEST, HIGHEST = 150.0, 20.0, 60.0  # °C, A, V: ends of these channels


@dataclass(frozen=True)
class Calibration:
    """What a LeRobot calibration file says of a joint: the servo's own registers must say the same."""

    file: str
    homing_offset: int
    range_min: int
    range_max: int


@dataclass(frozen=True)
class Joint:
    """One servo as somebody has built it in.

    model: that it must be; None for whatever it is. sign: −1 where it is to turn the other way. zero: the count that is
    0 rad. low, high: rad, beyond which it is not driven on. max_duty: the share of the supply that it may get.
    max_temperature (°C), max_current (A), min_voltage and max_voltage: a fault beyond; None for the servo's own limits.
    position, velocity, duty: what the channels are called; prefix: what comes before current, voltage and temperature.
    """

    name: str
    id: int
    model: str | None = None
    sign: int = 1
    zero: int = 2048
    low: float = -math.pi
    high: float = math.pi
    max_duty: float = 1.0
    max_temperature: float | None = None
    max_current: float | None = None
    min_voltage: float | None = None
    max_voltage: float | None = None
    position: str = "position"
    velocity: str = "velocity"
    duty: str = "duty"
    prefix: str = ""
    calibration: Calibration | None = None

    @property
    def called(self) -> str:
        return f"{self.name!r} (id {self.id})"


@dataclass(frozen=True)
class BusPlan:
    """One port with its servos, all of one family, in one mode. rate_hz: of the readings."""

    family: Family
    port: str
    joints: tuple[Joint, ...]
    baud: int = 1_000_000
    mode: Mode = Mode.PWM
    rate_hz: float = 100.0
    switch: bool = True  # whether a servo in another mode may be put into this one

    @property
    def ids(self) -> list[int]:
        return [joint.id for joint in self.joints]

    @property
    def sensors(self) -> tuple[Channel, ...]:
        """Of each joint position, velocity, current (A), voltage (V), temperature (°C)."""
        return tuple(channel for joint in self.joints for channel in _sensors(joint))

    @property
    def actuators(self) -> tuple[Channel, ...]:
        """Of each joint the duty, or where it is to be."""
        if self.mode is Mode.PWM:
            return tuple(Channel(joint.duty, "1", -1.0, 1.0) for joint in self.joints)
        return tuple(Channel(joint.position, "rad", joint.low, joint.high) for joint in self.joints)

    def tree(self) -> dict[str, object]:
        """For the keeper, as JSON."""
        return asdict(self)

    @classmethod
    def of_tree(cls, tree: Mapping[str, object]) -> BusPlan:
        """What `tree` gave."""
        joints = tree["joints"]
        assert isinstance(joints, list)
        made = tuple(
            Joint(**each | {"calibration": each["calibration"] and Calibration(**each["calibration"])})
            for each in joints
        )
        rest = {key: value for key, value in tree.items() if key not in ("joints", "family", "mode")}
        return cls(joints=made, family=Family(tree["family"]), mode=Mode(tree["mode"]), **rest)  # type: ignore[arg-type]


def _sensors(joint: Joint) -> tuple[Channel, ...]:
    prefix = joint.prefix
    return (
        Channel(joint.position, "rad", joint.low, joint.high),
        Channel(joint.velocity, "rad/s", -FASTEST, FASTEST),
        Channel(f"{prefix}current", "A", -STRONGEST, STRONGEST),
        Channel(f"{prefix}voltage", "V", 0.0, HIGHEST),
        Channel(f"{prefix}temperature", "°C", -40.0, HOTTEST),
    )
