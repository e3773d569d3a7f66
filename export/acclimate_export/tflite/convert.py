"""Traced graphs as TFLite: built-in operators, our names, and the same bytes for the same policy."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeGuard

import torch
from acclimate.errors import UsageError
from torch import fx

from acclimate_export.graphs.tracing import Traced
from acclimate_export.graphs.translation import Converted, Translation
from acclimate_export.tflite.flatbuffer import operators, tidy
from acclimate_export.tflite.quiet import quiet

_aten = torch.ops.aten
_HUGE = 1e30  # no feature is as large


def to_tflite(source: Translation) -> Converted:
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
            converted = litert_torch.convert(_kept_apart(traced.graph).eval(), tuple(traced.inputs.values()))
        except Exception as error:  # noqa: BLE001  (it raises whatever its parts raise)
            reason = " ".join(str(error).split())
            raise UsageError(f"{name}: litert-torch cannot convert it: {reason}") from None
        model: bytes = converted.model_content()
    return model


def _kept_apart(module: fx.GraphModule) -> fx.GraphModule:
    """A copy in which no constant factor follows right after a product with a constant matrix: a wide clamp is between.

    The converter would multiply the matrix by the factor. Where the matrix takes a difference, as that of angle and
    target, (a − b)·s then becomes a·s − b·s, whose rounding a policy of high gain makes visible.
    """
    copy = deepcopy(module)
    for node in copy.graph.find_nodes(op="call_function", target=_aten.mul.Tensor):
        product, factor = node.args
        if _is_constant(factor) and _is_product(product):
            with copy.graph.inserting_before(node):
                apart = copy.graph.call_function(_aten.clamp.default, (product, -_HUGE, _HUGE))
            node.args = (apart, factor)
    copy.recompile()
    return copy


def _is_constant(argument: object) -> TypeGuard[fx.Node]:
    return isinstance(argument, fx.Node) and argument.op == "get_attr"


def _is_product(argument: object) -> bool:
    """With a constant matrix, perhaps in another shape."""
    while isinstance(argument, fx.Node) and argument.target in (_aten.view.default, _aten.unsqueeze.default):
        argument = argument.args[0]
    return (
        isinstance(argument, fx.Node)
        and argument.target is _aten.mm.default
        and _is_constant(argument.args[1])
    )
