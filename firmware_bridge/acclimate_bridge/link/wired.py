"""The device `wire:`: whatever answers at a port in the wire's protocol, with its lines for people passed on."""

from __future__ import annotations

import math
from collections.abc import Callable

from acclimate.control.device import Clock
from acclimate.control.devices import DeviceRequest
from acclimate.errors import UsageError

from acclimate_bridge.link.host_link import TIMEOUT, HostLink
from acclimate_bridge.link.messages import Log
from acclimate_bridge.link.transport import BAUD, BAUDS, SerialTransport

_LINES, _WITHIN = 10, 1.0  # of a device's lines that are shown, and in how many s
_LONGEST = 600.0  # s that a device may take to answer


class WiredDevice(HostLink):
    """A `HostLink` over a port that it opens itself.

    `tell` is given the device's lines for people, and at the end what would make the link better. Raises DeviceFault,
    UsageError for a port that is refused.
    """

    def __init__(
        self,
        port: str,
        clock: Clock,
        tell: Callable[[str], None],
        *,
        baud: int = BAUD,
        timeout: float = TIMEOUT,
        dtr: bool = True,
    ) -> None:
        self._tell_people, self._log_lines = tell, DeviceLog(clock, tell)
        transport = SerialTransport(port, baud, dtr=dtr)
        try:
            super().__init__(transport, clock, timeout=timeout, on_log=self._log_lines)
        except BaseException:
            transport.close()
            raise

    def close(self) -> None:
        """As of a `HostLink`, and say what there is to say."""
        told = self._closed
        super().close()
        if told:
            return
        self._log_lines.close()
        if self.advice is not None:
            self._tell_people(f"link: {self.advice}")


def open_wire(request: DeviceRequest) -> WiredDevice:
    """wire:PORT?baud=115200&timeout=5&dtr=1, an `acclimate.control.devices.Opener`."""
    address = request.address
    address.allow("baud", "timeout", "dtr")
    timeout = address.number("timeout", TIMEOUT, 0.0, _LONGEST)
    if timeout == 0.0:
        raise UsageError(f"device {address}: timeout must be above 0 s")
    return WiredDevice(
        address.where,
        request.clock,
        request.tell,
        baud=int(address.number("baud", BAUD, *BAUDS)),
        timeout=timeout,
        dtr=bool(address.number("dtr", 1, 0, 1)),
    )


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
