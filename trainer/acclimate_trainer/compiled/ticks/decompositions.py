"""Operators that have no C taken apart into such as have: torch's own ways, and ours where torch has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, decomposition_table
from torch._ops import OpOverload

from acclimate_trainer.compiled.ticks.operators import RULES

_aten = torch.ops.aten


@cache
def decompositions() -> dict[OpOverload, Callable[..., object]]:
    """Into torch's core operators; of the further ones that it knows, those that do not go below these."""
    core = dict(core_aten_decompositions().items())  # type: ignore[no-untyped-call]
    further = {op: into for op, into in decomposition_table.items() if into.__module__ == _FURTHER}
    table = {**further, **core, **_OWN}
    return {op: into for op, into in table.items() if isinstance(op, OpOverload) and op not in RULES}


_FURTHER = "torch._decomp.decompositions"


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1.0 + torch.erf(x * math.sqrt(0.5)))


def _elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    return torch.where(x > 0.0, scale * x, scale * alpha * torch.expm1(input_scale * x))


def _leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    return torch.where(x > 0.0, x, slope * x)


def _hypot(a: Tensor, b: Tensor) -> Tensor:
    return torch.sqrt(a * a + b * b)


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    scale = torch.rsqrt(x.var(axes, correction=0, keepdim=True) + epsilon)
    y = (x - mean) * scale
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, scale


_OWN: dict[OpOverload, Callable[..., object]] = {
    _aten.gelu.default: _gelu,
    _aten.elu.default: _elu,
    _aten.leaky_relu.default: _leaky_relu,
    _aten.hypot.default: _hypot,
    _aten.native_layer_norm.default: _layer_norm,
}
