"""A bounded motion of each servo, one after the other: which way it turns, and how much it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from acclimate.command.checks import Check
from acclimate.control.device import Clock
from acclimate.errors import DeviceFault

from acclimate_bridge.bus.device import BusDevice
from acclimate_bridge.bus.models import Mode

_PERIOD = 0.01  # s
_STEP, _MOST = 0.02, 0.5  # duty: a step every so many ticks, and the end
_TICKS = 5
_ENOUGH = 0.06  # rad that show which way it turns
_LEASH = 0.3  # rad from where it stood, beyond which it is let go
_REST = 20  # ticks
_NUDGE = 0.05  # rad, in position mode


class _Push(NamedTuple):
    """How far it went, in rad, and the duty that it took."""

    moved: float
    duty: float


def tried(device: BusDevice, clock: Clock) -> Iterator[Check]:
    """Arms the device, moves each joint, and stops it. Raises DeviceFault."""
    device.start(_PERIOD)
    try:
        for number, joint in enumerate(device.plan.joints):
            push = _pulsed if device.plan.mode is Mode.PWM else _nudged
            there, back = (push(device, clock, number, sign) for sign in (1.0, -1.0))
            yield _judged(joint.name, there, back)
    finally:
        device.stop()


def _judged(name: str, there: _Push, back: _Push) -> Check:
    found = f"{there.moved:+.3f} rad at duty {there.duty:+.2f}, {back.moved:+.3f} rad at {back.duty:+.2f}"
    if there.moved > 0.5 * _ENOUGH and back.moved < -0.5 * _ENOUGH:
        return Check(name, found)
    if there.moved < -0.5 * _ENOUGH and back.moved > 0.5 * _ENOUGH:
        return Check(name, found, "it turns the other way than its position counts; look at how it is geared")
    return Check(name, found, "it has hardly moved; is it powered, and free to move?")


def _pulsed(device: BusDevice, clock: Clock, number: int, sign: float) -> _Push:
    """A duty that grows until it moves; then none."""
    begin = _angle(device, clock, number)
    duty, moved = 0.0, 0.0
    for tick in range(round(_MOST / _STEP) * _TICKS):
        duty = sign * _STEP * (1 + tick // _TICKS)
        moved = _told(device, clock, number, duty) - begin
        if abs(moved) >= _ENOUGH:
            break
    for _ in range(_REST):
        moved = _told(device, clock, number, 0.0) - begin
        if abs(moved) > _LEASH:
            break
    device.idle(_targets(device, number, 0.0))
    return _Push(moved, duty)


def _nudged(device: BusDevice, clock: Clock, number: int, sign: float) -> _Push:
    """A goal a little beside where it stands."""
    begin = _angle(device, clock, number)
    for _ in range(3 * _REST):
        moved = _told(device, clock, number, begin + 2.0 * sign * _NUDGE) - begin
    return _Push(moved, math.nan)


def _told(device: BusDevice, clock: Clock, number: int, target: float) -> float:
    """The angle a tick after a target."""
    device.command(_targets(device, number, target))
    clock.sleep_until(clock.now() + _PERIOD)
    return _angle(device, clock, number)


def _targets(device: BusDevice, number: int, target: float) -> np.ndarray:
    """All others stay where they are."""
    sample = device.latest()
    assert sample is not None
    targets = np.zeros(len(device.plan.joints), np.float32)
    if device.plan.mode is Mode.POSITION:
        each = len(device.caps.sensors) // len(device.plan.joints)
        targets[:] = np.nan_to_num(sample.values[::each])
    targets[number] = target
    return targets


def _angle(device: BusDevice, clock: Clock, number: int) -> float:
    """Where a joint is; waits where the reading was missed. Raises DeviceFault."""
    each = len(device.caps.sensors) // len(device.plan.joints)
    for _ in range(50):
        sample = device.latest()
        if sample is not None and sample.faults:
            raise DeviceFault(f"it is in fault ({', '.join(sorted(sample.faults))})")
        if sample is not None and math.isfinite(sample.values[each * number]):
            return float(sample.values[each * number])
        clock.sleep_until(clock.now() + _PERIOD / 2)
    raise DeviceFault("it gives no reading")
