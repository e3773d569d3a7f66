"""How many processors this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those that it is not kept from, as by `taskset` or a container: the machine may have more."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
