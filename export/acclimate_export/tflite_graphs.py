"""Traced graphs as TFLite: built-in operators, our names, and the same bytes for the same policy."""

from __future__ import annotations

from acclimate.errors import UsageError

from acclimate_export.flatbuffer import operators, tidy
from acclimate_export.formats import Converted, Source
from acclimate_export.quiet import quiet
from acclimate_export.tracing import Traced


def to_tflite(source: Source) -> Converted:
    """Raises UsageError for an operator that TFLite lacks."""
    model = convert_graph(source.traced, source.name)
    return Converted(model, {"operators": len(operators(model)), "bytes": len(model)})


def convert_graph(traced: Traced, name: str) -> bytes:
    """`traced` as a model whose one signature is called `name`. Raises as `to_tflite`."""
    inputs = {name: tuple(tensor.shape) for name, tensor in traced.inputs.items()}
    return tidy(_convert(traced, name), name, inputs, traced.outputs)


def _convert(traced: Traced, name: str) -> bytes:
    with quiet():
        import litert_torch

        try:
            converted = litert_torch.convert(traced.graph.eval(), tuple(traced.inputs.values()))
        except Exception as error:  # noqa: BLE001  (it raises whatever its parts raise)
            reason = " ".join(str(error).split())
            raise UsageError(f"{name}: litert-torch cannot convert it: {reason}") from None
        model: bytes = converted.model_content()
    return model
