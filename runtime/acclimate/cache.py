"""The user's cache folder: what could be made again, kept because making it takes time."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "ACCLIMATE_CACHE"


def cache_folder() -> Path | None:
    """Where caches lie; the folder need not be there yet. None where the user has no home to keep them in.

    $ACCLIMATE_CACHE, or else $XDG_CACHE_HOME/acclimate, or else ~/.cache/acclimate.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "acclimate"
    try:
        return Path.home() / ".cache" / "acclimate"
    except RuntimeError:
        return None
