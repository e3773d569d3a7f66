"""What emx-onnx-cgen writes, shaped for little memory and for speed; what it computes stays the same.

The generator gives every node its own function, and every tensor in between its own array on the stack. Here
some of that is changed, each only where the text is what was expected:

- Products of matrices call `acclimate_matmul` of the prelude, whose loops compilers vectorise.
- Nodes that do the same to the same shapes share one function.
- Tensors in between lie in one workspace, in which memory is used again once a tensor has been read last.
- Names are local to the file, so that act.c and adapt.c can be linked into one firmware; remarks are short.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

STACK = 4096  # bytes: where all tensors in between fit into this, they lie on the stack
LARGE = 64  # bytes: elsewhere, from here on a tensor lies in the workspace
ALIGNMENT = 64  # bytes: a cache line, and the widest vector

_SIZES = {"float": 4, "double": 8, "bool": 1, "int64_t": 8, "int32_t": 4}
_ZONES = ("float", "double", "int64_t", "int32_t", "bool")

_LOADER = re.compile(r"_Bool \w+_load\(const char \*path\) \{\n(?: .*\n)*\}\n\n")
_DECLARED = re.compile(r"^extern const .*;\n", re.MULTILINE)
_CONSTANT = re.compile(r"^const EMX_UNUSED ", re.MULTILINE)
_INITIALISER = re.compile(r"(?<= = )\{\n[^;]*\};")
_REMARK = re.compile(r"/\*\n \* (Node|Weight) (\d+):\n(?: \* OpType: (\w+)\n)?(?: \*.*\n)*? \*/\n")
_NODE = re.compile(r"^EMX_NODE_FN void (\w+)\((.*)\) \{\n((?: .*\n|\n)*)\}\n", re.MULTILINE)
_REMARKED = re.compile(r"/\* node .*\n" + _NODE.pattern[1:] + r"\n?", re.MULTILINE)
_CALLED = re.compile(r"\bnode\d+_\w+")
_ARRAY = re.compile(r"(?:const )?(\w+) (\w+)((?:\[\d+\])+)")
_TEMPORARY = re.compile(r"    (\w+) (tmp\w+)((?:\[\d+\])+);\n")
_NAME = re.compile(r"\btmp\w+")
_PLAIN_GEMM = "output[i][j] = acc * 1.0f + bias * 1.0f;"


class Shaped(NamedTuple):
    """C, and the bytes of workspace that its function takes as its first parameter; 0: it has no such parameter."""

    code: str
    workspace: int


class _Array(NamedTuple):
    kind: str
    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return _SIZES[self.kind] * math.prod(self.shape)


def shape(code: str, function: str) -> Shaped:
    """`code` is what the generator made of a graph; `function` is its name there."""
    code = _compact(_CONSTANT.sub("static const EMX_UNUSED ", _DECLARED.sub("", _LOADER.sub("", code))))
    code = _shared(_NODE.sub(lambda match: _node(*match.groups()), code))
    start = code.index(f"void {function}(")
    body, workspace = _planned(code[start:])
    if workspace:
        body = body.replace(
            f"void {function}(", f"void {function}(unsigned char workspace[restrict {workspace}], ", 1
        )
    return Shaped(code[:start] + body, workspace)


def _compact(code: str) -> str:
    """Remarks on one line or none, and constants without a line for each number."""
    code = _REMARK.sub(lambda m: f"/* node {m[2]}: {m[3]} */\n" if m[1] == "Node" else "", code)
    return _INITIALISER.sub(lambda m: re.sub(r"\n\s*", "", m[0]).replace("0x0.0p+0f", "0.0f"), code)


def _shared(code: str) -> str:
    """Functions that differ in their name only are one."""
    first: dict[tuple[str, str], str] = {}
    renamed: dict[str, str] = {}
    for name, parameters, body in _NODE.findall(code):
        kept = first.setdefault((parameters, body), name)
        if kept != name:
            renamed[name] = kept
    code = _REMARKED.sub(lambda match: "" if match[1] in renamed else match[0], code)
    return _CALLED.sub(lambda match: renamed.get(match[0], match[0]), code)


def _node(name: str, parameters: str, body: str) -> str:
    arrays = [_array(text) for text in parameters.split(", ")]
    known = [array for array in arrays if array is not None]
    product = _product(known, body) if len(known) == len(arrays) else ""
    return f"EMX_NODE_FN void {name}({_restricted(parameters)}) {{\n{product or body}}}\n"


def _restricted(parameters: str) -> str:
    """No output of a node shares memory with its inputs; two inputs may be the same."""
    each = [
        text if text.startswith("const ") else text.replace("[", "[restrict ", 1)
        for text in parameters.split(", ")
    ]
    return ", ".join(each)


def _product(arrays: list[_Array], body: str) -> str:
    """The body of a function that multiplies matrices; empty for all others."""
    names = [array.name for array in arrays if array.kind == "float"]
    if names == ["input0", "input1", "output"] and "acc += input0" in body and len(arrays[1].shape) == 2:
        return _matmul(*arrays)
    if (
        names == ["input_a", "input_b", "input_c", "output"]
        and _PLAIN_GEMM in body
        and "input_a[i][k]" in body
    ):
        a, b, c, out = arrays
        (k, n), m = b.shape, out.shape[0]
        if a.shape == (m, k) and out.shape == (m, n) and c.shape in ((n,), (1, n)):
            return _matmul(a, b, out) + f"    acclimate_add_rows({m}, {n}, {_start(c)}, {_start(out)});\n"
    return ""


def _matmul(a: _Array, b: _Array, out: _Array) -> str:
    """All axes of `a` but the last count as rows."""
    k, n = b.shape
    m = math.prod(a.shape) // k
    return f"    acclimate_matmul({m}, {k}, {n}, {_start(a)}, {_start(b)}, {_start(out)});\n"


def _start(array: _Array) -> str:
    return f"&{array.name}{'[0]' * len(array.shape)}"


def _planned(body: str) -> tuple[str, int]:
    """The graph's function with its large tensors in a workspace, and how many bytes that has."""
    arrays = list(map(_array_of, _TEMPORARY.finditer(body)))
    everything = sum(array.size for array in arrays)
    large = [a for a in arrays if a.size >= LARGE] if everything > STACK else []
    places, end = _zones(large, _lives(body))
    for array in large:
        declared = f"    {array.kind} {array.name}{_brackets(array.shape)};\n"
        inner = _brackets(array.shape[1:])
        pointer = f"(*const {array.name}){inner}" if inner else f"*const {array.name}"
        body = body.replace(
            declared, f"    {array.kind} {pointer} = (void *)(workspace + {places[array.name]});\n", 1
        )
    return body, end


def _zones(arrays: list[_Array], lives: dict[str, tuple[int, int]]) -> tuple[dict[str, int], int]:
    """An offset for each array, and where the last one ends. Every type has a zone of its own: C's rules on aliasing
    have no place for memory that changes its type."""
    places: dict[str, int] = {}
    end = 0
    for kind in _ZONES:
        zone = [array for array in arrays if array.kind == kind]
        places |= {name: end + offset for name, offset in _places(zone, lives).items()}
        end = max((_aligned(places[array.name] + array.size) for array in zone), default=end)
    return places, end


def _lives(body: str) -> dict[str, tuple[int, int]]:
    """Of every tensor in between, the first and the last line that names it, calls only."""
    lives: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(body.splitlines()):
        if not _TEMPORARY.fullmatch(line + "\n"):
            for name in _NAME.findall(line):
                lives[name] = (lives.get(name, (number, number))[0], number)
    return lives


def _places(arrays: list[_Array], lives: dict[str, tuple[int, int]]) -> dict[str, int]:
    """An offset for each array, the largest first, each as low as no array alive at the same time has it."""
    places: dict[str, int] = {}
    placed: list[tuple[int, int, tuple[int, int]]] = []  # begin, end, life
    for array in sorted(arrays, key=lambda array: -array.size):
        life = lives[array.name]
        taken = sorted((b, e) for b, e, other in placed if other[0] <= life[1] and life[0] <= other[1])
        begin = next(_gaps(taken, array.size))
        places[array.name] = begin
        placed.append((begin, begin + array.size, life))
    return places


def _gaps(taken: list[tuple[int, int]], size: int) -> Iterator[int]:
    """Where `size` bytes are free between the intervals `taken`, which are sorted."""
    free = 0
    for begin, end in taken:
        if free + size <= begin:
            yield free
        free = max(free, _aligned(end))
    yield free


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _array(text: str) -> _Array | None:
    match = _ARRAY.fullmatch(text)
    return _array_of(match) if match and match[1] in _SIZES else None


def _array_of(match: re.Match[str]) -> _Array:
    return _Array(match[1], match[2], tuple(map(int, re.findall(r"\d+", match[3]))))


def _brackets(shape: tuple[int, ...]) -> str:
    return "".join(f"[{size}]" for size in shape)
