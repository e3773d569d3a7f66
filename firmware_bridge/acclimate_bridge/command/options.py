"""Options that several of the bridge's verbs have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TypeVar

from acclimate.bundle.file import Bundle
from acclimate.errors import UsageError
from acclimate.task.world import World

from acclimate_bridge.simulation.worlds import open_world, world_of

Word = TypeVar("Word", bound=str)


def moment(what: str, text: str, word: str, known: Sequence[Word]) -> tuple[Word, float]:
    """WORD@SECONDS, as in polarity@5, with a word that is known. Raises UsageError, which lists them."""
    name, _, after = text.partition("@")
    with contextlib.suppress(ValueError):
        seconds = float(after)
        if name in known and math.isfinite(seconds) and seconds >= 0.0:
            return known[known.index(name)], seconds
    raise UsageError(f"{what} {text!r} is not {word}@SECONDS with {word} one of {', '.join(known)}")


def world_from(family: str | None, bundle: Bundle | None) -> World:
    """The machines of --family (FILE.py:CLASS, or a built-in name), or else of the bundle.

    Raises UsageError where nothing here simulates them.
    """
    if bundle is not None:
        return world_of(bundle.manifest, bundle.path, family)
    assert family is not None
    name, use = (family.rpartition(":")[2], family) if ":" in family else (family, None)
    return open_world(name, use, {})
