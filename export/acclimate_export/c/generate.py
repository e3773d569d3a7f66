"""Graphs as portable C: what emx-onnx-cgen makes of the ONNX member, shaped, with a head that says what is in it.

A member is C99, needs no heap and no file, calls nothing but the C library's mathematics and `memcpy`, and holds
nothing of this machine.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import onnx
from acclimate.engines.c_source import Face, head
from acclimate.errors import UsageError
from emx_onnx_cgen.compiler import Compiler, CompilerOptions
from emx_onnx_cgen.errors import CompilerError

from acclimate_export.c.shaping import shape
from acclimate_export.c.sizes import sizes
from acclimate_export.graphs.translation import Converted, Translation

_PRELUDE = "prelude.h"
_ANY_NAME = "acclimate_graph"
_LOWERED = re.compile(r"\(while lowering .*?op_type=(\w+), name=([^,]*),")
_UNKNOWN = re.compile(r"Unsupported op (?:[\w.]+\.)?(\w+)$")


def to_c(source: Translation) -> Converted:
    """Its facts are `sizes`. Raises UsageError for an operator that the generator lacks."""
    model = onnx.load_from_string(source.onnx.model)
    try:
        generated = _compiler().compile(model).replace(_ANY_NAME, source.name)
    except CompilerError as error:
        raise UsageError(_refusal(source.name, model, error)) from None
    shaped = shape(generated, source.name)
    face = Face(source.name, shaped.workspace, source.onnx.spec.inputs, source.onnx.spec.outputs)
    prelude = resources.files("acclimate_export.c").joinpath(_PRELUDE).read_text(encoding="ascii")
    code = f"{head(face)}\n{prelude}\n{shaped.code}"
    return Converted(code.encode("ascii"), sizes(code, face))


@cache
def _compiler() -> Compiler:
    """One for all graphs: each has to read all its templates first, which takes most of a second."""
    options = CompilerOptions(
        model_name=_ANY_NAME,
        large_temp_threshold_bytes=0,  # no heap
        large_weight_threshold=0,  # no file beside it
    )
    return Compiler(options)


def _refusal(name: str, model: onnx.ModelProto, error: CompilerError) -> str:
    reason = " ".join(str(error).split())
    return (
        f"graph {name!r} cannot be exported as C: emx-onnx-cgen, which makes it, refuses {_culprit(model, reason)}; "
        "leave 'c' out of --format, or write that part of the policy with other operations"
    )


def _culprit(model: onnx.ModelProto, reason: str) -> str:
    """Operator and node, where the generator names one."""
    if found := _LOWERED.search(reason):
        return f"the operator {found[1]} of node {found[2]!r} ({reason[: found.start()].strip(' (')})"
    if found := _UNKNOWN.search(reason):
        node = next(node.name for node in model.graph.node if node.op_type == found[1])
        return f"the operator {found[1]} of node {node!r}, which it does not know"
    return f"it ({reason})"
