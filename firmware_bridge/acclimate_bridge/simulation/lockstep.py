"""A device in this process, on simulated time: both live through exactly the same."""

from __future__ import annotations

from typing import Protocol

from acclimate_bridge.simulation.device_core import DeviceCore


class Clock(Protocol):
    """The part of `acclimate.control.device.Clock` that a lockstep device needs."""

    def now(self) -> float: ...


class LockstepTransport:
    """A device in this process on a simulated clock: it lives through exactly the time that the host does."""

    def __init__(self, core: DeviceCore, clock: Clock, name: str = "simulated device") -> None:
        self.name = name
        self.bits_per_s: int | None = (
            None  # set it to have the host reckon with a line; nothing is slowed down
        )
        self._core = core
        self._clock = clock

    def read(self) -> bytes:
        return self._core.advance(self._clock.now())

    def write(self, data: bytes) -> None:
        self._core.feed(data, self._clock.now())

    def close(self) -> None:
        """Nothing to release."""


class VirtualClock:
    """Simulated time: sleeping takes none of the real one."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def sleep_until(self, t: float) -> None:
        self._now = max(t, self._now)
