"""Options that several of the bridge's verbs have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from acclimate.bundle.manifest import Manifest
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


def world_from(family: str | None, manifest: Manifest | None, bundle: Path | None) -> World:
    """The machines of --family, or else of the bundle. Raises UsageError where nothing here simulates them."""
    if family is not None:
        name, use = (None, family) if ":" in family else (family, None)
        options = manifest.family.options if manifest else {}
        return open_world(name or family.rpartition(":")[2], use, options)
    assert manifest is not None
    return world_of(manifest, bundle)
