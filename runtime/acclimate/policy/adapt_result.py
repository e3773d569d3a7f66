"""What an adaptation step leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class AdaptResult(NamedTuple):
    """What one adaptation step left in the spare slot.

    info:   the graph's scalars, such as loss, reward, grad_norm, step_norm.
    finite: whether every value that it wrote is finite.
    change: Euclidean norm of the difference to the live slot, over what adapt writes and act reads.
    """

    info: Mapping[str, float]
    finite: bool
    change: float
