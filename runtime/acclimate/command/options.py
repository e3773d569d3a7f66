"""Checks of command-line options that several verbs have."""

from __future__ import annotations

from pathlib import Path

from acclimate.errors import UsageError


def at_least(option: str, value: int, least: int) -> int:
    """`value`, if it is not below `least`. Raises UsageError naming the option."""
    if value < least:
        raise UsageError(f"{option} must be at least {least}, found {value}")
    return value


def writable(option: str, path: str | None) -> Path | None:
    """The path to write to later, if its folder is there: better told before the work than after it."""
    if path is None:
        return None
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{option} {target}: the folder {target.parent} does not exist")
    if target.is_dir():
        raise UsageError(f"{option} {target} is a folder, expected the name of a file")
    return target
