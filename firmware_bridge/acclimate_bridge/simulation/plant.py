"""What a simulated device drives and measures."""

from __future__ import annotations

from typing import Protocol


class Plant(Protocol):
    """A machine as its device meets it. Times are the device's own, in s, and never run back."""

    @property
    def time(self) -> float:
        """How far the plant has been advanced, in s."""
        ...

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        """Take actuator targets that arrive at `now`."""
        ...

    def rest(self, targets: tuple[float, ...], now: float) -> None:
        """Take neutral targets, from `now`: nobody drives. A plant whose time waits for a drive waits on."""
        ...

    def advance(self, now: float) -> None:
        """Live on until `now`."""
        ...

    def measure(self) -> tuple[float, ...]:
        """Sensor values at the present time, in channel order."""
        ...

    def begin(self) -> bool:
        """Begin an episode anew, somewhere; False for a machine that nobody puts back, and that drives on instead."""
        ...
