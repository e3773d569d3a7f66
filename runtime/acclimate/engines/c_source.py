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

from acclimate.errors import EngineError
from acclimate.manifest import GraphSpec, TensorSpec

_FIRST = "/* acclimate-c 1"
_LAST = " */"
_MAX_HEAD = 2**18  # bytes
_GRAPH = re.compile(r" \* graph ([A-Za-z_]\w*)")
_TENSOR = re.compile(r" \* (in|out) ([A-Za-z_][\w.\-]*)((?: [1-9]\d{0,8})+)")


class Face(NamedTuple):
    """The function `graph`, whose parameters are the inputs, then the outputs."""

    graph: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def head(graph: str, spec: GraphSpec) -> str:
    """The comment that `read_face` reads."""
    tensors = [("in", t) for t in spec.inputs] + [("out", t) for t in spec.outputs]
    lines = [f" * {way} {t.name} {' '.join(map(str, t.shape))}" for way, t in tensors]
    return "\n".join([_FIRST, f" * graph {graph}", *lines, _LAST, ""])


def read_face(source: bytes, where: str) -> Face:
    """Raises EngineError for what does not begin as `head` writes it."""
    lines = _head_lines(source, where)
    matched = _GRAPH.fullmatch(next(lines, ""))
    if matched is None:
        raise _refusal(where, "its second line names no graph")
    tensors: dict[str, list[TensorSpec]] = {"in": [], "out": []}
    for line in lines:
        tensor = _TENSOR.fullmatch(line)
        if tensor is None:
            raise _refusal(where, f"its head has the line {line[:60]!r}")
        tensors[tensor[1]].append(TensorSpec(tensor[2], tuple(map(int, tensor[3].split()))))
    return Face(matched[1], tuple(tensors["in"]), tuple(tensors["out"]))


def _head_lines(source: bytes, where: str) -> Iterator[str]:
    """The lines between the first and the last of the head."""
    first, *lines = source[:_MAX_HEAD].decode("ascii", "replace").split("\n")
    if first != _FIRST or _LAST not in lines:
        raise _refusal(where, f"it does not begin with a comment {_FIRST!r}")
    return iter(lines[: lines.index(_LAST)])


def _refusal(where: str, why: str) -> EngineError:
    return EngineError(f"{where} is refused by engine 'native': {why}; export the bundle again")
