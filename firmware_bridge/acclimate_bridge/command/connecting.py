"""Which device a verb is to drive, as its options say."""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

from acclimate.control.devices import DeviceAddress
from acclimate.errors import UsageError

from acclimate_bridge.link.host_link import TIMEOUT
from acclimate_bridge.link.transport import BAUD

_LONGEST = 600.0  # s that a device may take to answer
SCHEME = "sim:"
"""Ports that begin with it: a simulated device that a verb starts for itself, and ends."""


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

    def address(self, port: str) -> DeviceAddress:
        """Of what answers at a port."""
        options = {"baud": str(self.baud), "timeout": str(self.timeout), "dtr": str(int(self.dtr))}
        return DeviceAddress("wire", port, options)


def address_of(args: argparse.Namespace) -> DeviceAddress:
    """What `--port` or `--device` means. Raises UsageError for what cannot be."""
    opening = Opening.of(args)
    if args.device is not None:
        return DeviceAddress.parse(args.device)
    port: str = args.port
    if port.startswith(SCHEME):
        return DeviceAddress("sim", port.removeprefix(SCHEME), {"seed": str(args.seed)})
    return opening.address(port)
