"""The port by itself: is it there, may this user open it, how long does its adapter hold bytes back?"""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator
from pathlib import Path

from acclimate.command.checks import Check

_LATENCY_MS = 4  # of a USB adapter's timer, at most
SYSFS = Path("/sys/bus/usb-serial/devices")


def check_port(port: str, sysfs: Path = SYSFS) -> Iterator[Check]:
    """What can be said without opening it; nothing of a port that is no file, as socket://."""
    if "://" in port:
        return
    path = Path(port)
    if not path.exists():
        yield Check(
            "port", "it is not there", "see `acclimate ports` for those that are; check cable and power"
        )
        return
    yield _permission(path)
    yield from _latency(path, sysfs)


def _permission(path: Path) -> Check:
    group = _group(path.stat().st_gid)
    if os.access(path, os.R_OK | os.W_OK):
        return Check("permission", f"this user may read and write it (group {group})")
    return Check(
        "permission",
        f"this user may not read and write it; it belongs to group {group}",
        f"sudo usermod -aG {group} $USER, then log in again",
    )


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _latency(path: Path, sysfs: Path) -> Iterator[Check]:
    """Of adapters that have such a timer."""
    timer = sysfs / path.resolve().name / "latency_timer"
    try:
        held = int(timer.read_text())
    except (OSError, ValueError):
        return
    remedy = f"echo 1 | sudo tee {timer}" if held > _LATENCY_MS else ""
    yield Check("latency timer", f"{held} ms", remedy)
