"""How the port of a device is opened, as the options of several verbs have it, and the link that comes of it."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from acclimate.control.device import Clock
from acclimate.errors import UsageError

from acclimate_bridge.link.host_link import TIMEOUT, HostLink
from acclimate_bridge.link.messages import Log
from acclimate_bridge.link.transport import BAUD, SerialTransport

_LINES, _WITHIN = 10, 1.0  # of a device's lines that are shown, and in how many s
_LONGEST = 600.0  # s that a device may take to answer


class Opening(NamedTuple):
    """How a port is opened. timeout: s that the device has to answer; dtr: whether DTR and RTS are raised."""

    baud: int = BAUD
    timeout: float = TIMEOUT
    dtr: bool = True

    @classmethod
    def of(cls, args: argparse.Namespace) -> Opening:
        """As the options of a verb say. Raises UsageError for a time that cannot be."""
        timeout: float = args.timeout
        if not (math.isfinite(timeout) and 0.0 < timeout <= _LONGEST):
            raise UsageError(f"--timeout must be above 0 and at most {_LONGEST:g} s, found {timeout:g}")
        return cls(args.baud, timeout, not args.no_dtr)


@contextlib.contextmanager
def connected(port: str, opening: Opening, clock: Clock, tell: Callable[[str], None]) -> Iterator[HostLink]:
    """The device at a port. `tell` is given its lines for people, and at the end what would make the link better.

    Raises DeviceFault, UsageError for a port that is refused.
    """
    with contextlib.closing(SerialTransport(port, opening.baud, dtr=opening.dtr)) as transport:
        log = DeviceLog(clock, tell)
        with HostLink(transport, clock, timeout=opening.timeout, on_log=log) as link:
            try:
                yield link
            finally:
                log.close()
                if link.advice is not None:
                    tell(f"link: {link.advice}")


class DeviceLog:
    """Passes on what a device says, but not more than anybody can read: the rest is counted."""

    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        self._clock, self._tell = clock, tell
        self._since, self._shown, self._left = -math.inf, 0, 0

    def __call__(self, log: Log) -> None:
        now = self._clock.now()
        if now - self._since >= _WITHIN:
            self.close()
            self._since, self._shown = now, 0
        if self._shown < _LINES:
            self._shown += 1
            self._tell(f"device: {log}")
        else:
            self._left += 1

    def close(self) -> None:
        """Say how much was not passed on."""
        if self._left:
            self._tell(f"device: ... and {self._left} more lines")
            self._left = 0
