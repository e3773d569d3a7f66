"""Checks of command-line options that several verbs have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TypeVar

from acclimate.bundle.manifest import Manifest
from acclimate.errors import UsageError

Word = TypeVar("Word", bound=str)


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


def moment(what: str, text: str, word: str, known: Sequence[Word]) -> tuple[Word, float]:
    """WORD@SECONDS, as in polarity@5, with a word that is known. Raises UsageError, which lists them."""
    name, _, after = text.partition("@")
    with contextlib.suppress(ValueError):
        seconds = float(after)
        if name in known and math.isfinite(seconds) and seconds >= 0.0:
            return known[known.index(name)], seconds
    raise UsageError(f"{what} {text!r} is not {word}@SECONDS with {word} one of {', '.join(known)}")
