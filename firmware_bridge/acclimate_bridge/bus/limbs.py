"""A servo that is known: its joint, its model, and what its registers mean in rad, rad/s and duty."""

from __future__ import annotations

import math
from typing import NamedTuple

from acclimate_bridge.bus.models import VOLT, Family, Mode, Model
from acclimate_bridge.bus.plan import Joint


class Limb(NamedTuple):
    """offset: to be taken from a position that the servo does not correct itself."""

    joint: Joint
    model: Model
    firmware: int
    mode: Mode
    offset: int
    max_temperature: float  # °C
    min_voltage: float  # V
    max_voltage: float  # V
    duty_limit: int  # counts

    def angle(self, counts: int) -> float:
        """rad."""
        return self.joint.sign * (counts - self.offset - self.joint.zero) * self.model.count

    def speed(self, counts: int) -> float:
        """rad/s."""
        return self.joint.sign * counts * self.model.velocity

    def current(self, counts: int) -> float:
        """A; NaN where it measures none."""
        return counts * self.model.current if self.model.current else math.nan

    def duty_counts(self, duty: float, angle: float) -> int:
        """The goal for a duty, of which nothing is left that would drive it out of its range.

        Raises ValueError for what is no number: a servo would take it for one.
        """
        if not math.isfinite(duty):
            raise ValueError(f"{self.joint.name!r} was told a duty of {duty}")
        joint = self.joint
        duty = min(max(duty, -joint.max_duty), joint.max_duty)
        if (angle >= joint.high and duty > 0.0) or (angle <= joint.low and duty < 0.0):
            duty = 0.0
        counts = round(duty * joint.sign * self.model.duty_sign * self.model.full_duty)
        return min(max(counts, -self.duty_limit), self.duty_limit)

    def position_counts(self, angle: float) -> int:
        """The goal for an angle, within its range. Raises ValueError for what is no number."""
        if not math.isfinite(angle):
            raise ValueError(f"{self.joint.name!r} was told an angle of {angle}")
        joint = self.joint
        angle = min(max(angle, joint.low), joint.high)
        return joint.zero + self.offset + round(joint.sign * angle / self.model.count)

    @property
    def watches(self) -> bool:
        """Whether it stops by itself when the bus falls silent."""
        since = self.model.watchdog_since
        return since is not None and self.firmware >= since


def pwm_offset(family: Family, mode: Mode, homing_offset: int) -> int:
    """What has to be taken from positions: measured, an STS ignores its homing offset in PWM mode."""
    return homing_offset if family is Family.FEETECH and mode is Mode.PWM else 0


def volts(counts: int) -> float:
    return counts * VOLT
