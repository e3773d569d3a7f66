"""Timing one call: hot, one after the other; paced, one per control period, when caches are cold and the core slept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]


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
