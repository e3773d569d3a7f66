"""Real time. Simulated time belongs to the simulated device, which brings a `Clock` of its own."""

from __future__ import annotations

import time
from functools import partial

# A machine that was suspended has been away: on Linux only this clock says so.
_now = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


class RealClock:
    """The system's steady clock, in seconds; it goes on while the system is suspended."""

    now = staticmethod(_now)

    def sleep_until(self, t: float) -> None:
        """Sleeps, never spins: a board needs its cores for other things."""
        remaining = t - _now()
        while remaining > 0.0:
            time.sleep(remaining)
            remaining = t - _now()
