"""How far an engine is from torch: what is measured, what is allowed, and how that is said.

What counts is, for each output tensor by itself, the largest difference over all inputs, relative to the largest
value that torch gives that tensor over all inputs: the golden check's measure, without its absolute term. Relative
to each single number it would say nothing, since an action that happens to be near zero has no relative precision
in float32; relative to several tensors together, a wrong bias could hide behind large weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from acclimate.bundle.file import Bundle
from acclimate.engines import Engine

QUANTISED_LIMIT = 0.5  # with 8 bits only what is grossly wrong shows here; the golden check is the closer one


class Largest(NamedTuple):
    """The largest difference in any tensor, the largest relative one, and the tensor that has it."""

    max_abs: float
    max_rel: float
    tensor: str

    @classmethod
    def of(cls, worst: Mapping[str, float], scale: Mapping[str, float]) -> Largest:
        """worst: the largest difference of each tensor; scale: its largest expected value. NaN stays, and is worst."""
        relative = {name: _ratio(value, scale[name]) for name, value in worst.items()}
        tensor = max(relative, key=lambda name: float(np.nan_to_num(relative[name], nan=np.inf)))
        return cls(float(np.max(list(worst.values()))), relative[tensor], tensor)


def limit_of(bundle: Bundle, engine: Engine, limit: float) -> float:
    """`limit`, or the wide one where this engine's graph of this bundle is quantised."""
    return limit if bundle.manifest.quantised_as(engine.suffix) is None else QUANTISED_LIMIT


def finite(value: float) -> float | None:
    """As JSON has it."""
    return value if math.isfinite(value) else None


def _ratio(difference: float, scale: float) -> float:
    if scale:
        return difference / scale
    return 0.0 if difference == 0.0 else math.inf
