"""Checks of command-line options that several verbs have."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.atomic import check_writable
from acclimate.errors import UsageError

if TYPE_CHECKING:  # `acclimate --help` loads this module
    from acclimate.bundle.file import Bundle


def add_trust(parser: argparse.ArgumentParser) -> None:
    """`--trust`, for verbs that load a bundle on an engine."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let this bundle's C run here, now and later: you know who made it",
    )


def heed_trust(args: argparse.Namespace, bundle: Bundle) -> None:
    """Trust the bundle where `--trust` is given; say on stderr where that cannot be remembered."""
    from acclimate.policy.trust import trust  # not before: `--help` needs none of it

    if args.trust and (reason := trust(bundle)):
        print(f"acclimate: {bundle.path} is trusted this time only: {reason}", file=sys.stderr)


def at_least(option: str, value: int, least: int) -> int:
    """`value`, if it is not below `least`. Raises UsageError naming the option."""
    if value < least:
        raise UsageError(f"{option} must be at least {least}, found {value}")
    return value


def writable(option: str, path: str | None) -> Path | None:
    """The path to write to later, if that will be possible: better told before the work than after it."""
    if path is None:
        return None
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{option} {target}: the folder {target.parent} does not exist")
    if target.is_dir():
        raise UsageError(f"{option} {target} is a folder, expected the name of a file")
    try:
        check_writable(target)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None
    return target
