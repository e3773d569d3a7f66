"""Absolute deadlines: tick k is due at t0 + k·dt, however long the ticks before it took."""

from __future__ import annotations

from acclimate.control.device import Clock
from acclimate.control.loop_stats import Tally

_LATE = 0.1  # of a period


class Pacer:
    """Waits for one deadline after the other; deadlines that have passed are skipped, never bunched."""

    def __init__(self, clock: Clock, dt: float, tally: Tally) -> None:
        self._clock, self._dt, self._tally = clock, dt, tally
        self.now = self._origin = clock.now()  # when the last tick, or a run of them, began
        self._k = 0
        self._last: float | None = None

    def begin(self) -> None:
        """Start a run of ticks: at the next deadline where that is still ahead, else now."""
        self.now = now = self._clock.now()
        if self._origin + self._k * self._dt < now:
            self._origin, self._k = now, 0
        self._last = None

    def wait(self) -> float:
        """Return at the next deadline, with how late it has become (s)."""
        deadline = self._origin + self._k * self._dt
        self._clock.sleep_until(deadline)
        now, tally = self._clock.now(), self._tally
        lateness = now - deadline if now > deadline else 0.0
        self._k += 1
        if lateness > _LATE * self._dt:
            self._k += (missed := int(lateness / self._dt))
            tally.late += 1
            tally.skipped += missed
        tally.ticks += 1
        tally.lateness.append(lateness)
        if self._last is not None:
            tally.drift += now - self._last - self._dt
            tally.periods += 1
        self.now = self._last = now
        return lateness
