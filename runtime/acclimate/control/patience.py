"""How long what may be missing: limits in seconds, from the control period and the device's watchdog."""

from __future__ import annotations

from typing import NamedTuple

from acclimate.errors import MismatchError

_WATCHDOG, _PERIODS = 0.1, 4.0  # s and control periods: the longer of the two
_FEWEST = 3.0  # periods: a shorter watchdog would trip at the first command that is lost
_LOST, _LOST_PERIODS = 0.5, 5.0  # s and control periods: the longer of the two


class Patience(NamedTuple):
    """All in s. The device moves for at most `command` after the reading was measured that a command rests on.

    watchdog: without a command the device goes safe by itself.
    command:  a command holds from that moment on; the device itself sees to it.
    blind:    without a fresh reading the loop drives on; then it commands neutral.
    lost:     without a usable fresh reading it stays in neutral; then it gives up.
    pause:    this program may be held up in the middle of a drive; after more it does not move the machine again.
    """

    watchdog: float
    command: float
    blind: float
    lost: float
    pause: float

    @classmethod
    def of(cls, period: float, watchdogs: tuple[float, float]) -> Patience:
        """For a command every `period` s, with a watchdog from the shortest to the longest of `watchdogs`.

        Raises MismatchError where even the longest is too short.
        """
        shortest, longest = watchdogs
        if longest < _FEWEST * period:
            raise MismatchError(
                f"the device's watchdog can be {longest * 1e3:g} ms at most, too short for a command every "
                f"{period * 1e3:g} ms: it needs {_FEWEST * period * 1e3:g} ms; change it in the firmware"
            )
        watchdog = min(max(_WATCHDOG, _PERIODS * period, shortest), longest)
        lost = max(_LOST, _LOST_PERIODS * period)
        return cls(watchdog, watchdog, watchdog / 2, lost, lost)
