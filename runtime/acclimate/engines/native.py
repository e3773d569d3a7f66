"""Native C: the bundle's own C, compiled once by the board's compiler, and called with its arguments built beforehand.

To load such a member is to run code of whoever made the bundle, with the rights of this process: see
docs/bundle_format.md.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import GraphSpec
from acclimate.engines import Graph, arrays_for
from acclimate.engines.c_library import build, is_kept
from acclimate.engines.c_source import Face, read_face
from acclimate.engines.signature import check_signature

_ENTRY = "acclimate_run"
_NOT_KEPT = (
    "engine 'native' compiles anew at every start, since the user's cache folder cannot be written to, or others may; "
    "$ACCLIMATE_CACHE names another"
)
_ALIGNMENT = 64  # bytes
_Function: TypeAlias = Callable[..., None]


class NativeEngine:
    """Runs `.c` members."""

    name = "native"
    suffix = "c"
    remark = ""

    def load(self, model: bytes, spec: GraphSpec, where: str) -> NativeProgram:
        face = read_face(model, where)
        check_signature(face.inputs, spec.inputs, f"{where}: input")
        check_signature(face.outputs, spec.outputs, f"{where}: output")
        library = build(model + _trampoline(face), where)
        if not is_kept(library):
            self.remark = _NOT_KEPT
        function = library[_ENTRY]
        function.restype = None
        return NativeProgram(function, face)


class NativeProgram:
    """One function; every `bind` is another block of arguments for it."""

    def __init__(self, function: _Function, face: Face) -> None:
        self._function = function
        self._face = face

    def bind(
        self, inputs: Mapping[str, FloatArray] | None = None, outputs: Mapping[str, FloatArray] | None = None
    ) -> Graph:
        bound = arrays_for(self._face, inputs, outputs)
        return NativeGraph(self._function, *bound, _workspace(self._face.workspace))


class NativeGraph:
    """A function with its arguments; see `acclimate.engines.Graph`."""

    def __init__(
        self,
        function: _Function,
        inputs: dict[str, FloatArray],
        outputs: dict[str, FloatArray],
        workspace: NDArray[np.uint8],
    ) -> None:
        self.inputs: Mapping[str, FloatArray] = inputs  # held here, since the block below has bare pointers
        self.outputs: Mapping[str, FloatArray] = outputs
        self._workspace = workspace
        arrays = [*inputs.values(), *outputs.values()]
        addresses = [workspace.ctypes.data, *(array.ctypes.data for array in arrays)]
        self._block = (ctypes.c_void_p * len(addresses))(*addresses)
        self.run: Callable[[], None] = partial(function, ctypes.c_void_p(ctypes.addressof(self._block)))


def _workspace(size: int) -> NDArray[np.uint8]:
    """Aligned as the code wants it; of one binding alone, so that two may run at once."""
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % _ALIGNMENT
    return raw[begin : begin + size]


def _trampoline(face: Face) -> bytes:
    """A function of one argument, the block of pointers: ctypes then has one to convert instead of dozens."""
    count = len(face.inputs) + len(face.outputs)
    arguments = ", ".join(f"t[{i}]" for i in range(0 if face.workspace else 1, count + 1))
    return f"\nvoid {_ENTRY}(void *const *t) {{ {face.graph}({arguments}); }}\n".encode()
