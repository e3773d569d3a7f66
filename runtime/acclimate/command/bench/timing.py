"""Timing one call: hot, one after the other; paced, one per control period, when caches are cold and the core slept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Call = Callable[[], object]
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


def hot(call: Call, calls: int) -> list[float]:
    """µs of each of `calls` calls, one right after the other."""
    return [once(call) for _ in range(calls)]


def paced(call: Call, calls: int, period: float) -> list[float]:
    """µs of each of `calls` calls, one per `period` (s); the deadlines are absolute, and missed ones are skipped."""
    out, due = [], time.perf_counter()
    for _ in range(calls):
        due = max(due + period, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))
        out.append(once(call))
    return out


def once(call: Call) -> float:
    """µs of one call."""
    begin = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - begin)
