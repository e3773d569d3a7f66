"""What several verbs of the bridge read in the same way."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TypeVar

from acclimate.errors import UsageError

Word = TypeVar("Word", bound=str)


def moment(what: str, text: str, word: str, known: Sequence[Word]) -> tuple[Word, float]:
    """WORD@SECONDS, as in polarity@5, with a word that is known. Raises UsageError, which lists them."""
    name, _, after = text.partition("@")
    with contextlib.suppress(ValueError):
        seconds = float(after)
        if name in known and math.isfinite(seconds) and seconds >= 0.0:
            return known[known.index(name)], seconds
    raise UsageError(f"{what} {text!r} is not {word}@SECONDS with {word} one of {', '.join(known)}")
