"""Devices by name: the one door through which `run --device` and `open_device` let in whatever can be driven.

    device = acclimate.open_device("wire:/dev/ttyACM0?baud=1000000", bundle)
    device = acclimate.open_device("my_arm.py:MyArm:left", bundle)

A package brings devices by the entry-point group `acclimate.devices`: each entry is an `Opener`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from acclimate.bundle.file import Bundle
from acclimate.control.clock import RealClock
from acclimate.control.device import Clock, Device
from acclimate.errors import MissingPartError, UsageError
from acclimate.names import did_you_mean
from acclimate.own_module import import_file

GROUP = "acclimate.devices"
_FORM = "NAME:WHERE or FILE.py:FUNCTION"
_BUS_FILE, _BUS = ".toml", "bus"  # a file that describes a bus needs no name


class DeviceAddress(NamedTuple):
    """NAME:WHERE?KEY=VALUE&KEY=VALUE, as in feetech:/dev/ttyACM0?id=1."""

    name: str
    where: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> DeviceAddress:
        """Raises UsageError for what has no such form."""
        place, _, query = text.partition("?")
        options: dict[str, str] = {}
        for pair in filter(None, query.split("&")):
            key, equals, value = pair.partition("=")
            if not (key and equals) or key in options:
                raise UsageError(f"device {text!r}: {pair!r} is not KEY=VALUE, or comes twice")
            options[key] = value
        file, suffix, member = place.partition(".py:")
        if suffix:
            member, _, where = member.partition(":")
            return cls(f"{file}.py:{member}", where, options)
        name, colon, where = place.partition(":")
        if place.endswith(_BUS_FILE) and not (colon and name in names()):
            return cls(_BUS, place, options)
        if not (name and colon):
            raise UsageError(f"device {text!r} is not {_FORM}{did_you_mean(name, names(), of='valid NAME')}")
        return cls(name, where, options)

    def __str__(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{self.where}{'?' if query else ''}{query}"

    def allow(self, *valid: str) -> None:
        """Raises UsageError for an option that is none of these, and lists them."""
        for key in self.options:
            if key not in valid:
                raise UsageError(
                    f"device {self}: there is no option {key!r}{did_you_mean(key, valid, of='valid options')}"
                )

    def number(self, key: str, usual: float, low: float, high: float) -> float:
        """The number that an option gives. Raises UsageError for one that cannot be."""
        text = self.options.get(key)
        try:
            value = usual if text is None else float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise UsageError(
                f"device {self}: {key} must be a number from {low:g} to {high:g}, found {text!r}"
            )
        return value


class DeviceRequest(NamedTuple):
    """What an opener is given.

    bundle: what the device is to be driven with; None where nobody knows yet.
    clock:  which the readings are to be stamped with.
    tell:   takes lines for people, and never waits.
    """

    address: DeviceAddress
    bundle: Bundle | None
    clock: Clock
    tell: Callable[[str], None]


Opener: TypeAlias = Callable[[DeviceRequest], Device]
"""What an entry of the group `acclimate.devices` is, and FUNCTION in FILE.py.

Raises UsageError for an address that cannot be, DeviceFault where nothing answers.
"""


def names() -> list[str]:
    """Of all devices that are installed here."""
    return sorted({entry.name for entry in metadata.entry_points(group=GROUP)})


def open_device(
    address: str,
    bundle: Bundle | None = None,
    *,
    clock: Clock | None = None,
    tell: Callable[[str], None] | None = None,
) -> Device:
    """The device at an address; close it in the end. Raises UsageError, DeviceFault.

    bundle: what it is to be driven with: servos take their mode from it, and a simulated machine what it is.
    tell: takes lines for people (stderr).
    """
    return opened(DeviceAddress.parse(address), bundle, clock or RealClock(), tell or _tell)


def opened(
    address: DeviceAddress, bundle: Bundle | None, clock: Clock, tell: Callable[[str], None]
) -> Device:
    """As `open_device`."""
    find = _in_file if ".py:" in address.name else _installed
    device: object = find(address.name)(DeviceRequest(address, bundle, clock, tell))
    missing = [name for name in _MEMBERS if not hasattr(device, name)]
    if missing:
        raise UsageError(
            f"device {address}: a {type(device).__name__} is no device, since it has no {', '.join(missing)}; "
            "acclimate.testing.check_device says what a device must do"
        )
    return cast(Device, device)


_MEMBERS = ("caps", "start", "rearm", "latest", "command", "idle", "stop", "close")


def _installed(name: str) -> Opener:
    for entry in metadata.entry_points(group=GROUP, name=name):
        try:
            return cast(Opener, entry.load())
        except ImportError as error:
            raise MissingPartError(
                f"device {name!r} needs {error.name or error}, which is not installed; install "
                f"acclimate[{_EXTRAS.get(name, name)}]"
            ) from error
    raise UsageError(f"there is no device {name!r}{did_you_mean(name, names())}, or {_FORM}")


_EXTRAS = {"wire": "serial", "sim": "serial", "bus": "bus", "dynamixel": "bus", "feetech": "bus"}


def _in_file(name: str) -> Opener:
    """The function (or class) of a user's file. Raises UsageError where it cannot be had."""
    path, _, member = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"device file {path} does not exist")
    try:
        module = import_file(f"acclimate_device_{file.stem}", file)
    except Exception as error:  # it is the user's code that runs
        raise UsageError(f"device file {path} failed: {type(error).__name__}: {error}") from error
    found: object = vars(module).get(member)
    if not callable(found):
        valid = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(
            f"device file {path} has no function {member!r}{did_you_mean(member, valid, of='it has')}"
        )
    return cast(Opener, found)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
