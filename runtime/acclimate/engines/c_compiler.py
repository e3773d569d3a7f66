"""Which C compiler there is, and what it is told."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

from acclimate.errors import EngineError

COMPILERS = ("cc", "gcc", "clang")  # the first of them that is on PATH; $CC goes before

# -O3 takes twice as long to compile, and is no faster here. Then -ffast-math less two things: infinities and NaN stay
# what they are, since guards look for them; and as none of these flags reaches the linker as a whole, loading the
# library leaves the process's handling of denormals alone.
_ALL = ("-std=gnu99", "-fPIC", "-shared", "-w", "-Wl,-z,defs", "-O2", "-ftree-vectorize", "-fno-math-errno",
        "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math")  # fmt: skip
FLAGS = ((*_ALL, "-march=native"), (*_ALL, "-mcpu=native"), _ALL)  # best first; not all compilers know all


class Compiler(NamedTuple):
    """A command, and what changes when another version is installed."""

    command: tuple[str, ...]
    identity: str


def find_compiler() -> Compiler:
    """$CC, or the first of `COMPILERS`; raises EngineError where there is none."""
    asked = shlex.split(os.environ.get("CC", ""))
    for command in [asked] if asked else [[name] for name in COMPILERS]:
        path = shutil.which(command[0])
        if path is not None:
            real = Path(path).resolve()
            stat = real.stat()
            return Compiler((path, *command[1:]), f"{real} {stat.st_size} {stat.st_mtime_ns} {command[1:]}")
    what = (
        f"$CC is {' '.join(asked)!r}, which is not found"
        if asked
        else f"found none of {', '.join(COMPILERS)}"
    )
    raise EngineError(
        f"engine 'native' needs a C compiler, and {what}; install gcc and libc6-dev, or use another engine"
    )
