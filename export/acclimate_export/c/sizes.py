"""What a `.c` member needs of a board's memory, as the compiler of this machine finds it."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from acclimate.engines.c_compiler import find_compiler
from acclimate.engines.c_source import Face
from acclimate.errors import EngineError
from acclimate.fields import Json

_FLAGS = ("-std=c99", "-O2", "-c", "-w")


def sizes(code: str, face: Face) -> dict[str, Json]:
    """Bytes: `workspace`, `state`, and, where there is a compiler, `code`, `constants` and `stack`."""
    state = sum(math.prod(t.shape) for t in face.inputs if t.name.startswith("state."))
    known: dict[str, Json] = {"workspace": face.workspace, "state": 4 * state}
    try:
        return {**_compiled(code, face.graph), **known}
    except (EngineError, OSError, subprocess.SubprocessError):  # no compiler, or one without these tools
        return known


def _compiled(code: str, function: str) -> dict[str, Json]:
    with tempfile.TemporaryDirectory(prefix="acclimate-") as folder:
        source = Path(folder) / "graph.c"
        source.write_text(code, encoding="ascii")
        command = [*find_compiler().command, *_FLAGS, "-fstack-usage", "-o", "graph.o", source.name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        table = subprocess.run(
            ["size", "-A", "graph.o"], cwd=folder, check=True, capture_output=True, text=True
        )
        frames = _frames((Path(folder) / "graph.su").read_text(encoding="utf-8"))
    sections = _sections(table.stdout)
    inner = max((size for name, size in frames.items() if name != function), default=0)  # they call no other
    return {
        "code": sum(size for name, size in sections.items() if name.startswith(".text")),
        "constants": sum(size for name, size in sections.items() if name.startswith(".rodata")),
        "stack": frames[function] + inner,
    }


def _sections(table: str) -> dict[str, int]:
    """By name, from lines as `.text   3021   0`."""
    rows = [line.split() for line in table.splitlines() if line.startswith(".")]
    return {name: int(size) for name, size, *_ in rows}


def _frames(usage: str) -> Mapping[str, int]:
    """Bytes of stack by function, from lines as `graph.c:12:6:act   128   static`."""
    rows = [line.split("\t") for line in usage.splitlines()]
    return {place.rsplit(":", 1)[1]: int(size) for place, size, *_ in rows}
