"""Numbers of a graph in float64 as they are: torch writes a Python number into ONNX as float32, whatever it meets.

What is in float64 is so because something cancels: .01 − x, with .01 off by 2·10⁻¹⁰, loses its digits where x is close.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.node import Argument

_aten = torch.ops.aten
_COMPARISONS = (_aten.lt, _aten.le, _aten.gt, _aten.ge, _aten.eq, _aten.ne)
_TAKES_TENSORS: Mapping[OpOverload, OpOverload] = {
    _aten.pow.Tensor_Scalar: _aten.pow.Tensor_Tensor,
    _aten.rsub.Scalar: _aten.rsub.Tensor,
    **{each.Scalar: each.Tensor for each in _COMPARISONS},
    **{each.Tensor: each.Tensor for each in (_aten.add, _aten.sub, _aten.mul, _aten.div)},
}
"""Operators that may have numbers, and the same ones with tensors instead."""
_BETWEEN = (_aten.hardtanh.default, _aten.clamp.default, _aten.clamp_min.default, _aten.clamp_max.default)


def with_exact_numbers(module: fx.GraphModule) -> fx.GraphModule:
    """The same function; a number beside float64 that float32 would round is a constant tensor there."""
    rounded = [node for node in module.graph.nodes if _is_rounded(node)]
    if not rounded:
        return module
    copied = deepcopy(module)
    of = {node.name: node for node in copied.graph.nodes}
    for node in rounded:
        _put_right(copied, of[node.name])
    copied.graph.lint()
    copied.recompile()
    return copied


def _is_rounded(node: fx.Node) -> bool:
    target = node.target
    return (
        (target in _TAKES_TENSORS or target in _BETWEEN or target is _aten.full_like.default)
        and _dtype(node.args[0]) is torch.float64
        and any(isinstance(x, float) and float(np.float32(x)) != x for x in node.args)
    )


def _put_right(module: fx.GraphModule, node: fx.Node) -> None:
    first, *rest = node.args
    with module.graph.inserting_before(node):
        if node.target is _aten.full_like.default:
            (value,) = rest
            assert isinstance(value, float)
            full = torch.full(node.meta["val"].shape, value, dtype=torch.float64)
            node.replace_all_uses_with(_constant(module, node, full))
            module.graph.erase_node(node)
            return
        tensors = [_number(module, node, x) for x in rest]
        if node.target in _BETWEEN:
            bounds = (None, *tensors) if node.target is _aten.clamp_max.default else tensors
            node.replace_all_uses_with(_between(module, first, *bounds))
            module.graph.erase_node(node)
            return
    node.args = (first, *tensors)
    assert isinstance(node.target, OpOverload)
    node.target = _TAKES_TENSORS[node.target]


def _between(module: fx.GraphModule, x: Argument, low: Argument = None, high: Argument = None) -> fx.Node:
    """By comparisons: of a minimum of a maximum torch makes a Clip, which it puts before its own bounds."""
    call = module.graph.call_function
    for bound, beyond in ((low, _aten.lt.Tensor), (high, _aten.gt.Tensor)):
        if bound is not None:
            x = call(_aten.where.self, (call(beyond, (x, bound)), bound, x))
    assert isinstance(x, fx.Node)
    return x


def _number(module: fx.GraphModule, near: fx.Node, x: Argument) -> Argument:
    """A constant for a number; what is none as it is."""
    return _constant(module, near, torch.tensor(x, dtype=torch.float64)) if isinstance(x, int | float) else x


def _constant(module: fx.GraphModule, near: fx.Node, value: Tensor) -> fx.Node:
    name = f"_exact_{near.name}_{sum(1 for _ in module.buffers())}"
    module.register_buffer(name, value)
    node = module.graph.get_attr(name)
    node.meta["val"] = value
    return node


def _dtype(of: object) -> torch.dtype | None:
    value = of.meta.get("val") if isinstance(of, fx.Node) else None
    return value.dtype if isinstance(value, Tensor) else None
