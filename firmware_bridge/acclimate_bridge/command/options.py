"""Checks of command-line options that several verbs have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from acclimate.bundle.manifest import Manifest
from acclimate.errors import UsageError

Word = TypeVar("Word", bound=str)


def at_least(option: str, value: int, least: int) -> int:
    """`value`, if it is not below `least`. Raises UsageError naming the option."""
    if value < least:
        raise UsageError(f"{option} must be at least {least}, found {value}")
    return value


def allowed_shots(manifest: Manifest, wanted: int | None) -> int:
    """Adaptation steps as asked for, or for None as many as the bundle allows. Raises UsageError.

    Steps that infer an objective are taken only where asked for: few devices measure a reward.
    """
    most = manifest.adaptation.max_steps if manifest.adaptation else 0
    usual = most if manifest.objectives is None else 0
    shots = usual if wanted is None else wanted
    if not 0 <= shots <= most:
        raise UsageError(f"--shots must be from 0 to {most} with bundle {manifest.name!r}, found {shots}")
    return shots


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


def moment(what: str, text: str, word: str, known: Sequence[Word]) -> tuple[Word, float]:
    """WORD@SECONDS, as in polarity@5, with a word that is known. Raises UsageError, which lists them."""
    name, _, after = text.partition("@")
    with contextlib.suppress(ValueError):
        seconds = float(after)
        if name in known and math.isfinite(seconds) and seconds >= 0.0:
            return known[known.index(name)], seconds
    raise UsageError(f"{what} {text!r} is not {word}@SECONDS with {word} one of {', '.join(known)}")
