"""The verb `service`: a udev rule for the adapter and a systemd unit for the drive, to be put where they belong."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from acclimate.bundle.file import load
from acclimate.errors import UsageError
from serial.tools import list_ports

_RULE = """\
# /etc/udev/rules.d/99-acclimate.rules; then: sudo udevadm control --reload && sudo udevadm trigger
# The adapter of the bus by a name that stays, for the group dialout, without the 16 ms that some wait for more bytes.
SUBSYSTEM=="tty", {match}, GROUP="dialout", MODE="0660", SYMLINK+="{link}"
ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{{latency_timer}}="1"
"""
_EXAMPLE = 'ATTRS{idVendor}=="1a86", ATTRS{idProduct}=="55d3"'  # of Waveshare's and Feetech's adapters
_UNIT = """\
# /etc/systemd/system/{name}.service; then: sudo systemctl daemon-reload && sudo systemctl start {name}
[Unit]
Description=Acclimate drives {bundle}

[Service]
ExecStart={command}
User={user}
SupplementaryGroups=dialout
StateDirectory=acclimate
# The keeper of a bus is told by the end of the program that it keeps the bus for.
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=10
# Nothing moves again by itself: somebody looks at the machine first.
Restart=no

[Install]
WantedBy=multi-user.target
"""


def print_service(args: argparse.Namespace) -> int:
    """Print both; nothing is installed."""
    bundle = load(args.bundle)
    name = f"acclimate-{bundle.path.stem}"
    if any(c in args.device for c in "\n\r"):
        raise UsageError("--device must be a single line")
    print(_RULE.format(match=_match(args.usb), link=name))
    print(
        _UNIT.format(name=name, bundle=bundle.path.name, command=_command(args, bundle.path), user=args.user)
    )
    return 0


def _command(args: argparse.Namespace, bundle: Path) -> str:
    device = str(Path(args.device).resolve()) if Path(args.device).is_file() else args.device
    program = [sys.executable, "-m", "acclimate", "run", str(bundle.resolve()), "--device", device]
    learned = f"/var/lib/acclimate/{bundle.stem}.npz"
    words = [*program, "--forever", "--keep", learned]
    # Of a unit's command % and $ have a meaning of their own.
    return " ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in words)


def _match(usb: str | None) -> str:
    """What an adapter is known by: that of the port that is given, or one that many have."""
    if usb is None:
        return _EXAMPLE
    found = next((port for port in list_ports.comports() if port.device == usb), None)
    if found is None or found.vid is None:
        known = ", ".join(port.device for port in list_ports.comports() if port.vid is not None) or "none"
        raise UsageError(f"--usb {usb} is no port of a USB adapter; there are: {known}")
    match = f'ATTRS{{idVendor}}=="{found.vid:04x}", ATTRS{{idProduct}}=="{found.pid:04x}"'
    return match + (f', ATTRS{{serial}}=="{found.serial_number}"' if found.serial_number else "")
