"""Real time. Simulated time belongs to the simulated device, which brings a `Clock` of its own."""

from __future__ import annotations

import time


class RealClock:
    """The system's monotonic clock, in seconds."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, t: float) -> None:
        """Sleeps, never spins: a board needs its cores for other things."""
        remaining = t - time.monotonic()
        while remaining > 0.0:
            time.sleep(remaining)
            remaining = t - time.monotonic()
