"""Numbers of a graph as they are: of what torch makes of them on the way to ONNX, two things change a result.

A Python number becomes float32, whatever it meets. What is in float64 is so because something cancels: .01 − x, with
.01 off by 2·10⁻¹⁰, loses its digits where x is close. And its optimiser takes a number within 10⁻⁸ of 0 for 0, and
within 10⁻⁵ of 1 for 1, and leaves the sum or product out: log(x + 10⁻⁹) is then −∞ at 0. It does so with scalars only,
and so these become tensors with one axis.
"""

from __future__ import annotations

import math
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
_NEUTRAL: Mapping[OpOverload, float] = {
    _aten.add.Tensor: 0.0,
    _aten.sub.Tensor: 0.0,
    _aten.mul.Tensor: 1.0,
    _aten.div.Tensor: 1.0,
}
"""What an operator leaves its other side as it is with."""


def with_exact_numbers(module: fx.GraphModule) -> fx.GraphModule:
    """The same function, with constant tensors where torch would put another number, or none."""
    wrong = [node for node in module.graph.nodes if _is_rounded(node) or _is_left_out(module, node)]
    if not wrong:
        return module
    copied = deepcopy(module)
    of = {node.name: node for node in copied.graph.nodes}
    for node in wrong:
        _put_right(copied, of[node.name])
    copied.graph.lint()
    copied.recompile()
    return copied


def _is_rounded(node: fx.Node) -> bool:
    target = node.target
    return (
        (target in _TAKES_TENSORS or target in _BETWEEN or target is _aten.full_like.default)
        and _dtype(node) is torch.float64
        and any(isinstance(x, float) and float(np.float32(x)) != x for x in node.args)
    )


def _is_left_out(module: fx.GraphModule, node: fx.Node) -> bool:
    neutral = _NEUTRAL.get(node.target) if isinstance(node.target, OpOverload) else None
    if neutral is None:
        return False
    values = [_value(module, x) for x in node.args]
    return any(
        x is not None and x != neutral and math.isclose(x, neutral, rel_tol=2e-5, abs_tol=2e-8)
        for x in values
    )


def _value(module: fx.GraphModule, of: Argument) -> float | None:
    """Of a number, or of a constant without axes."""
    if isinstance(of, fx.Node) and of.op == "get_attr":
        tensor = module.get_buffer(str(of.target))
        return float(tensor) if tensor.ndim == 0 else None
    return float(of) if isinstance(of, int | float) else None


def _put_right(module: fx.GraphModule, node: fx.Node) -> None:
    shape = node.meta["val"].shape
    with module.graph.inserting_before(node):
        instead = _instead(module, node)
        if not shape:  # tensors of one number have given it an axis
            instead = module.graph.call_function(_aten.view.default, (instead, []))
    node.replace_all_uses_with(instead)
    module.graph.erase_node(node)


def _instead(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    first, *rest = (_with_axis(module, node, x) for x in node.args)
    if node.target is _aten.full_like.default:
        return module.graph.call_function(
            _aten.expand.default, (rest[0], list(node.meta["val"].shape) or [1])
        )
    if node.target is _aten.clamp_max.default:
        return _between(module, first, None, *rest)
    if node.target in _BETWEEN:
        return _between(module, first, *rest)
    assert isinstance(node.target, OpOverload)
    return module.graph.call_function(_TAKES_TENSORS[node.target], (first, *rest), node.kwargs)


def _with_axis(module: fx.GraphModule, node: fx.Node, x: Argument) -> Argument:
    """A tensor of one number where x is a number, or a constant without axes; else as it is."""
    value = _value(module, x)
    if value is None:
        return x
    name = f"_exact_{node.name}_{sum(1 for _ in module.buffers())}"
    module.register_buffer(name, torch.full((1,), value, dtype=_dtype(node)))
    return module.graph.get_attr(name)


def _between(module: fx.GraphModule, x: Argument, low: Argument = None, high: Argument = None) -> fx.Node:
    """By comparisons: of a minimum of a maximum torch makes a Clip, which it puts before its own bounds."""
    call = module.graph.call_function
    for bound, beyond in ((low, _aten.lt.Tensor), (high, _aten.gt.Tensor)):
        if bound is not None:
            x = call(_aten.where.self, (call(beyond, (x, bound)), bound, x))
    assert isinstance(x, fx.Node)
    return x


def _dtype(node: fx.Node) -> torch.dtype | None:
    """Of what it computes with: of its first tensor that is no number."""
    values = [x.meta.get("val") for x in node.all_input_nodes if x.op != "get_attr"]
    return next((value.dtype for value in values if isinstance(value, Tensor)), None)
