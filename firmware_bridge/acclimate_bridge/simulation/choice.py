"""Which machine is meant, as text: a name, the number of a held-out one, true parameters, or several of these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from acclimate.errors import UsageError

GRAMMAR = "NAME, #NUMBER, NAME#NUMBER or NAME=VALUE, with commas between several"


@dataclass(frozen=True)
class Choice:
    """What was asked for; nothing of it means the first held-out machine."""

    name: str | None = None
    number: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Choice:
        """As in "XL-320", "#7", "XL-320#7" and "payload=0.2,delay=0.01". Raises UsageError."""
        name: str | None = None
        number: int | None = None
        values: dict[str, float] = {}
        for part in (part.strip() for part in text.split(",") if part.strip()):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            called, hashed, digits = part.partition("#")
            if equals and key and key not in values:
                values[key] = _number(text, key, value)
            elif equals or name is not None or number is not None:
                raise UsageError(f"machine {text!r}: {part!r} is one thing too many; expected {GRAMMAR}")
            else:
                name = called.strip() or None
                number = _count(text, digits) if hashed else None
        return cls(name, number, values)


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"machine {text!r}: {key} is {value!r}, expected a number")
    return number


def _count(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise UsageError(
            f"machine {text!r}: after # comes the number of a held-out machine, found {digits!r}"
        )
    return int(digits)
