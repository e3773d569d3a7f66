"""From C to functions: the machine's compiler, once for each source, and its result in the user's cache."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import NamedTuple

from acclimate.engines.c_compiler import COMPILERS, find_compiler
from acclimate.engines.c_library import build as build_library
from acclimate.engines.c_library import is_kept
from acclimate.errors import EngineError

from acclimate_trainer.compiled.ticks.errors import NotCompiled

# No -ffast-math: lanes.c counts on sums in their order, and a task that went to infinity is to be found by it.
_ALL = ("-std=gnu11", "-fPIC", "-shared", "-w", "-Werror=implicit",
        "-Wl,-z,defs", "-O2", "-ftree-vectorize", "-fno-math-errno",
        "-fno-trapping-math", "-ffp-contract=fast")  # fmt: skip
FLAGS = ((*_ALL, "-march=native"), (*_ALL, "-mcpu=native"), _ALL)  # best first; not all compilers know all


class Job(ctypes.Structure):
    """As frame.c has it."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("episodes", "ticks", "segments", "uniform_step")),
        *(
            (name, ctypes.c_void_p)
            for name in ("row", "sum_row", "segment", "carried", "uniform", "machine", "now", "carried_out", "record",
                         "tape", "d_carried_out", "d_record", "d_carried", "d_machine", "d_now", "sums")
        ),
        ("decay", ctypes.c_float),
    ]  # fmt: skip


class Library(NamedTuple):
    """Both functions take a job, and the first block and the one after the last to do."""

    lanes: int
    kept: bool  # in the cache
    forward: Callable[[int, int, int], int | None]
    backward: Callable[[int, int, int], int | None] | None


def build(source: str, *, backward: bool) -> Library:
    """Raises NotCompiled where there is no compiler, or it refuses the source."""
    try:
        find_compiler()
    except EngineError:
        raise NotCompiled(f"there is no C compiler: {_sought()}; install gcc and libc6-dev") from None
    try:
        library = build_library(source.encode(), "its C", FLAGS)
    except EngineError as error:
        raise NotCompiled(str(error)) from None
    return Library(
        int(library.acclimate_lanes()),
        is_kept(library),
        _declared(library.acclimate_forward, None),
        _declared(library.acclimate_backward, ctypes.c_int32) if backward else None,
    )


def _sought() -> str:
    asked = os.environ.get("CC")
    return f"$CC is {asked!r}, which is not found" if asked else f"found none of {', '.join(COMPILERS)}"


def _declared(
    function: ctypes._NamedFuncPointer, result: type[ctypes.c_int32] | None
) -> Callable[[int, int, int], int | None]:
    function.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    function.restype = result
    return function
