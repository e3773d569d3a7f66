"""Graphs as portable C: what emx-onnx-cgen makes of the ONNX member, with a head that says what is in it."""

from __future__ import annotations

import onnx
from acclimate.engines.c_source import head
from acclimate.errors import UsageError
from emx_onnx_cgen.compiler import Compiler, CompilerOptions
from emx_onnx_cgen.errors import CompilerError

from acclimate_export.formats import Converted, Source


def to_c(source: Source) -> Converted:
    """Raises UsageError for an operator that the generator lacks."""
    options = CompilerOptions(
        model_name=source.name,
        large_temp_threshold_bytes=0,  # no heap
        large_weight_threshold=0,  # no file beside
    )
    model = onnx.load_from_string(source.onnx.model)
    try:
        code = Compiler(options).compile(model)
    except CompilerError as error:
        raise UsageError(f"{source.name}: {error}") from None
    return Converted((head(source.name, source.onnx.spec) + code).encode(), {})
