"""A device that was unplugged in the middle of a drive: wait until it is back, and ask before it moves again."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple, TextIO

from acclimate.control.devices import DeviceAddress
from acclimate.errors import UsageError
from serial.tools import list_ports

_LOOK = 0.2  # s between looks at the ports
_LONGEST = 86_400.0  # s


class Identity(NamedTuple):
    """What a device is known by: the serial number of its USB adapter, or else the path of its port."""

    port: str
    serial: str | None

    @classmethod
    def of(cls, port: str) -> Identity:
        """While it is plugged in."""
        path = str(Path(port).resolve())
        known = (p for p in list_ports.comports() if p.device in (port, path))
        return cls(port, next((p.serial_number for p in known if p.serial_number), None))

    def find(self) -> str | None:
        """The port that it is on now; USB ports may have another name after each plugging in."""
        if self.serial is None:
            return self.port if Path(self.port).exists() else None
        return next((p.device for p in list_ports.comports() if p.serial_number == self.serial), None)


class Patient(NamedTuple):
    """Who waits for an unplugged device. seconds: for how long; 0 for not at all."""

    seconds: float

    @classmethod
    def of(cls, args: argparse.Namespace, address: DeviceAddress) -> Patient:
        """As the options say. Raises UsageError where nobody could be asked, or it could not be known again."""
        seconds: float | None = args.reconnect
        if seconds is None:
            return cls(0.0)
        if not 0.0 < seconds <= _LONGEST:
            raise UsageError(f"--reconnect must be above 0 and at most {_LONGEST:g} s, found {seconds:g}")
        if address.name != "wire":
            raise UsageError(f"--reconnect waits for devices on the wire, at a --port; {address} is none")
        if args.listen or args.reference == "-":
            raise UsageError(
                "--reconnect asks on stdin, from which objectives or references come; choose one"
            )
        return cls(seconds)

    def await_return(self, identity: Identity) -> str | None:
        """The port of the device once it is back; None where it does not come in time."""
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            if (port := identity.find()) is not None:
                return port
            time.sleep(_LOOK)
        return None


def consents(port: str, answers: TextIO = sys.stdin) -> bool:
    """Whether somebody says that the machine may move again."""
    print(
        f"the device is back on {port}; look at the machine, then press Enter to drive on, or Ctrl-C to end",
        file=sys.stderr,
        flush=True,
    )
    return answers.readline() != ""
