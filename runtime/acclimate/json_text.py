"""Values as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from acclimate.fields import Json


def json_text(tree: Mapping[str, Json] | Json) -> str:
    """Indented ASCII. A number that is not finite is null: JSON has no other."""
    return json.dumps(_finite(tree), indent=2, allow_nan=False)


def _finite(tree: Mapping[str, Json] | Json) -> Json:
    if isinstance(tree, Mapping):
        return {name: _finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
