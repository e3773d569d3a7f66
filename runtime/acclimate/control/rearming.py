"""When a device whose watchdog has tripped may be armed again: each time once, and not too often."""

from __future__ import annotations

from collections import deque

from acclimate.control.device import Sample
from acclimate.errors import DeviceFault

WATCHDOG = frozenset({"watchdog"})
_MOST, _WITHIN = 5, 10.0  # times, s


class Rearming:
    """A program that is held up now and then may go on; one that is held up all the time must not."""

    def __init__(self) -> None:
        self._judged: int | None = None  # the latching that was decided on last
        self._times: deque[float] = deque(maxlen=_MOST)

    def is_new(self, sample: Sample, now: float) -> bool:
        """Whether this is another latching than the last; an old reading that comes again is not.

        Raises DeviceFault for the sixth one within 10 s.
        """
        if sample.latches == self._judged:
            return False
        if len(self._times) == _MOST and now - self._times[0] < _WITHIN:
            raise DeviceFault(
                f"the device's watchdog has tripped {_MOST + 1} times within {_WITHIN:g} s; it was stopped. Commands "
                "come too late: is this machine overloaded, or the link?"
            )
        self._judged = sample.latches
        self._times.append(now)
        return True

    def obeys(self) -> None:
        """It obeys: the next latching is new, whatever its number."""
        self._judged = None
