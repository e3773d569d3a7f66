"""What several verbs of the bridge read in the same way."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from acclimate.errors import UsageError
from acclimate.names import did_you_mean

Word = TypeVar("Word", bound=str)


def moment(what: str, text: str, word: str, known: Sequence[Word]) -> tuple[Word, float]:
    """WORD@SECONDS, as in polarity@5, with a word that is known. Raises UsageError, which lists them."""
    name, _, after = text.partition("@")
    with contextlib.suppress(ValueError):
        seconds = float(after)
        if name in known and math.isfinite(seconds) and seconds >= 0.0:
            return known[known.index(name)], seconds
    wrong = "" if name in known else did_you_mean(name, known, of=f"valid {word}")
    raise UsageError(f"{what} {text!r} is not {word}@SECONDS, as in {known[0]}@5{wrong}")


def add_opening(add: Callable[..., object]) -> None:
    """How a port is opened."""
    add("--baud", type=int, default=115_200, help="baud rate (115200)")
    add("--timeout", type=float, default=5.0, metavar="S", help="how long the device may take to answer (5)")
    add("--no-dtr", action="store_true", help="keep DTR and RTS low: for boards that these lines restart")
