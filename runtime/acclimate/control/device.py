"""What the runtime needs of a device and of time; links and simulators implement these protocols."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from acclimate.arrays import FloatArray


class Channel(NamedTuple):
    """One scalar that a device measures or accepts, in `unit` ("1" where it has none)."""

    name: str
    unit: str
    minimum: float
    maximum: float

    def contradiction(self) -> str | None:
        """What is wrong with its range, as the rest of a sentence; None where it can be."""
        low, high = self.minimum, self.maximum
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return None
        return f"ranges from {low:g} to {high:g}, expected two finite numbers, the lower first"


@dataclass(frozen=True)
class DeviceCaps:
    """What a device says of itself when it is connected.

    `sensors` fixes the order of `Sample.values`, `actuators` the order of the targets of `Device.command`.
    `rate_hz` is the rate at which the device samples and applies commands. `watchdog` is the shortest and the longest
    time, in s, after which it goes safe by itself when no command comes; any, where it has no say in that.
    """

    sensors: tuple[Channel, ...]
    actuators: tuple[Channel, ...]
    rate_hz: float
    boot_id: int
    firmware: str
    watchdog: tuple[float, float] = (0.0, math.inf)

    def contradictions(self) -> list[str]:
        """What cannot be true of any device, a phrase each; empty for one that can be."""
        found = []
        for kind, channels in (("sensor", self.sensors), ("actuator", self.actuators)):
            twice = [name for name, n in Counter(c.name for c in channels).items() if n > 1]
            found += [f"two {kind}s are called {name!r}" for name in twice]
            found += [f"{kind} {c.name!r} {wrong}" for c in channels if (wrong := c.contradiction())]
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0.0):
            found.append(f"its rate is {self.rate_hz:g} Hz, expected a number above 0")
        return found


class Sample(NamedTuple):
    """One reading of all sensors.

    values:  (n_sensors,) float32, in the order of `DeviceCaps.sensors`; NaN for a sensor that gives none. The device
             may reuse the array at its next `latest()`.
    t:       when it was measured, in seconds of the host's clock.
    seq:     changes with every new reading; the same number twice means that nothing new has arrived.
    stale:   the device or the link holds it for outdated.
    faults:  what keeps the device from obeying, as {"watchdog"}, {"estop"} or {"overload"}; empty in normal running.
             An open set: whatever is in it, the device is not driven.
    latches: how often the device has gone safe: tells one time from the next, so that `rearm` means just one.
    """

    values: FloatArray
    t: float
    seq: int
    stale: bool = False
    faults: frozenset[str] = frozenset()
    latches: int = 0


class Device(Protocol):
    """Something with sensors and actuators.

    It is safe (it obeys nothing until `start` or `rearm`), idle or driving. `start`, `rearm`, `latest`, `command` and
    `idle` raise `DeviceFault` when the device or the link to it is lost.
    """

    @property
    def caps(self) -> DeviceCaps: ...

    def start(self, period: float) -> None:
        """Make it ready for a command every `period` s, and idle. May be called again after a fault.

        Raises DeviceFault where something other than its watchdog or an earlier `stop` keeps it safe: an emergency stop
        is released by a person.
        """

    def rearm(self, sample: Sample) -> None:
        """Have it obey again after the watchdog, but only if it went safe no other time than `sample` tells of.

        Returns at once; later readings show what became of it.
        """

    def latest(self) -> Sample | None:
        """The newest reading, without waiting; None before the first one."""

    def command(self, targets: FloatArray) -> None:
        """Send one target per actuator, (n_actuators,), in the order of the caps.

        The newest wins, nothing is sent again. The array is the caller's: copy it before returning.
        """

    def idle(self, targets: FloatArray) -> None:
        """Go to neutral, which may last: the watchdog rests until the next command.

        `targets` (n_actuators,) is what neutral is to the task, for a device that has no neutral of its own.
        """

    def stop(self) -> None:
        """Bring it into its safe state; may be called at any time, any number of times."""

    def close(self) -> None:
        """`stop`, then release the link."""


@runtime_checkable
class Restartable(Protocol):
    """A device that can put its machine back, as simulated ones can."""

    def begin_episode(self) -> bool:
        """Have the machine begin anew, and wait for what it then measures; False where it drives on instead."""
        ...


@runtime_checkable
class Releasable(Protocol):
    """A device that holds what a person alone may release."""

    def release_estop(self) -> None:
        """Release an emergency stop: only ever because a person says so. Raises DeviceFault where it is pressed."""


@runtime_checkable
class Counting(Protocol):
    """A device that counts what became of its traffic."""

    def counters(self) -> Mapping[str, float]:
        """By name, for reports."""
        ...


@runtime_checkable
class Simulated(Protocol):
    """A device that is not there."""

    @property
    def simulates(self) -> str:
        """Which machine, in words."""
        ...


def begin_episode(device: Device) -> bool:
    """Have its machine begin anew where it can; False where it drives on from where it stands."""
    return isinstance(device, Restartable) and device.begin_episode()


class Clock(Protocol):
    """Time in seconds from an arbitrary origin, never running backwards."""

    def now(self) -> float: ...

    def sleep_until(self, t: float) -> None:
        """Return at `t` or as soon after it as possible; at once where `t` has passed."""
