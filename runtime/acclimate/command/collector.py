"""Python's garbage collector, told to look less often, for a program of its own.

What is loaded lives until the end: hundreds of thousands of objects, where there is torch. By default the collector
walks through them time and again, while they are imported, in training, and in the middle of a control tick.
"""

from __future__ import annotations

import atexit
import gc

_NEW, _YOUNG, _MIDDLE = 100_000, 50, 100  # objects; collections of the younger ones before one of the older


def calm() -> None:
    """For this process: look for garbage after more objects, and not at the end, when all of it goes anyway."""
    gc.set_threshold(_NEW, _YOUNG, _MIDDLE)
    atexit.register(gc.freeze)
