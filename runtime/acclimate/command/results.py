"""Results that have taken long to find: each is handed over by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable

from acclimate.errors import AcclimateError


def hand_over(*steps: Callable[[], object]) -> None:
    """All of `steps`, whichever fail. Raises the first error once every one was tried; the others go to stderr."""
    failures = attempt(*steps)
    for failure in failures[1:]:
        print(f"acclimate: {failure}", file=sys.stderr)
    if failures:
        raise failures[0]


def attempt(*steps: Callable[[], object]) -> list[AcclimateError]:
    """The errors of steps, all of which are tried."""
    failures = []
    for step in steps:
        try:
            step()
        except AcclimateError as error:
            failures.append(error)
    return failures
