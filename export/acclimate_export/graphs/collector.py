"""Rest for Python's garbage collector while graphs are traced and converted."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

# What is left of traces when the program ends is not walked either: that would take two seconds.
atexit.register(gc.freeze)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """A trace is a web of objects that all live on: walking it again and again to find garbage takes a fifth longer."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
