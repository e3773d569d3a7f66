"""What the numbers of a config may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from acclimate.errors import UsageError


class Rule(NamedTuple):
    """A condition on a number, and the words that end `NAME must be …`."""

    words: str
    holds: Callable[[float], bool]


COUNT = Rule("at least 1", lambda x: x >= 1)
POSITIVE = Rule("above 0", lambda x: x > 0)
NOT_NEGATIVE = Rule("at least 0", lambda x: x >= 0)
SHARE = Rule("from 0 to 1", lambda x: 0 <= x <= 1)
BELOW_ONE = Rule("from 0 to below 1", lambda x: 0 <= x < 1)


def require(settings: object, rules: Mapping[str, Rule]) -> None:
    """Raises UsageError for the first field of `settings` that breaks its rule."""
    for name, rule in rules.items():
        value = getattr(settings, name)
        if not rule.holds(value):
            raise UsageError(f"{name} must be {rule.words}, found {value!r}")
