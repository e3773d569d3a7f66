"""What the times of many calls come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_ENOUGH = 1000  # calls, of which the slowest thousandth is a call at all


class Times(NamedTuple):
    """Percentiles of one kind of call, in µs, over `n` calls; p99.9 is None where there are too few for it."""

    n: int
    p50: float
    p99: float
    p999: float | None

    @classmethod
    def of(cls, us: Sequence[float]) -> Times:
        """The percentiles of the times of single calls, in µs."""
        p50, p99, p999 = (float(p) for p in np.percentile(us, [50.0, 99.0, 99.9]))
        return cls(len(us), p50, p99, p999 if len(us) >= _ENOUGH else None)
