"""The head of a `.c` member: which function it has, of which tensors, in which order.

/* acclimate-c 1
 * graph act
 * in obs 4
 * in state.w0 5 32
 * out action 1
 */
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from acclimate.bundle.manifest import TensorSpec
from acclimate.errors import EngineError

_FIRST = "/* acclimate-c 1"
_LAST = " */"
_MAX_HEAD = 2**18  # bytes
_WORKSPACE = re.compile(r" \* workspace (0|[1-9]\d{0,9})")
_GRAPH = re.compile(r" \* graph ([A-Za-z_]\w*)")
_TENSOR = re.compile(r" \* (in|out) ([A-Za-z_][\w.\-]*)((?: [1-9]\d{0,8})+)")


class Face(NamedTuple):
    """The function `graph`, whose parameters are the workspace, the inputs, then the outputs.

    workspace: bytes that it needs while it runs, aligned to 64; 0: it has no such parameter.
    """

    graph: str
    workspace: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def head(face: Face) -> str:
    """The comment that `read_face` reads."""
    tensors = [("in", t) for t in face.inputs] + [("out", t) for t in face.outputs]
    lines = [f" * {way} {t.name} {' '.join(map(str, t.shape))}" for way, t in tensors]
    return "\n".join([_FIRST, f" * graph {face.graph}", f" * workspace {face.workspace}", *lines, _LAST, ""])


def read_face(source: bytes, where: str) -> Face:
    """Raises EngineError for what does not begin as `head` writes it."""
    lines = _head_lines(source, where)
    graph, workspace = _GRAPH.fullmatch(next(lines, "")), _WORKSPACE.fullmatch(next(lines, ""))
    if graph is None or workspace is None:
        raise _refusal(where, "its head does not begin with graph and workspace")
    tensors: dict[str, list[TensorSpec]] = {"in": [], "out": []}
    for line in lines:
        tensor = _TENSOR.fullmatch(line)
        if tensor is None:
            raise _refusal(where, f"its head has the line {line[:60]!r}")
        tensors[tensor[1]].append(TensorSpec(tensor[2], tuple(map(int, tensor[3].split()))))
    return Face(graph[1], int(workspace[1]), tuple(tensors["in"]), tuple(tensors["out"]))


def _head_lines(source: bytes, where: str) -> Iterator[str]:
    """The lines between the first and the last of the head."""
    end = source.find(_LAST.join("\n\n").encode(), 0, _MAX_HEAD)
    first, *lines = source[: max(end, 0)].decode("ascii", "replace").split("\n")
    if first != _FIRST:
        raise _refusal(where, f"it does not begin with a comment {_FIRST!r}")
    return iter(lines)


def _refusal(where: str, why: str) -> EngineError:
    return EngineError(f"{where} is refused by engine 'native': {why}; export the bundle again")
