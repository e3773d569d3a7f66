# ruff: noqa: ARG005  (one signature for all)
"""Every row of the table of operators against torch, and functions that are made of them, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.compiled.ticks.operators import RULES
from acclimate_trainer.compiled.ticks.tick import CompiledTick
from acclimate_trainer.compiled.ticks.trace import Inputs, traced
from acclimate_trainer.contract.policy import Tensors
from torch import Tensor
from torch._ops import OpOverload

from .ticks import assert_close, by_torch, drawn, example

_aten = torch.ops.aten
_INDEX = torch.tensor([2, 0, 2])
_SPREAD = torch.tensor([[1, 0, 2, 1]])

# Of x, y (3, 4), both about 1 in size, and positive p (3, 4); a row may have several.
ROWS: dict[OpOverload, Callable[[Tensor, Tensor, Tensor], object]] = {
    _aten.view.default: lambda x, y, p: x.view(2, 6),
    _aten._unsafe_view.default: lambda x, y, p: _aten._unsafe_view(x, [6, 2]),
    _aten.permute.default: lambda x, y, p: x.permute(1, 0),
    _aten.transpose.int: lambda x, y, p: x.transpose(0, 1),
    _aten.t.default: lambda x, y, p: _aten.t(x),
    _aten.unsqueeze.default: lambda x, y, p: x.unsqueeze(1),
    _aten.squeeze.default: lambda x, y, p: _aten.squeeze(x[:1]),
    _aten.squeeze.dim: lambda x, y, p: _aten.squeeze.dim(x[:1], 0),
    _aten.squeeze.dims: lambda x, y, p: _aten.squeeze.dims(x[:1, :1], [0, 1]),
    _aten.expand.default: lambda x, y, p: x[:1].expand(3, 4),
    _aten.slice.Tensor: lambda x, y, p: x[1:, ::2],
    _aten.select.int: lambda x, y, p: x[1],
    _aten.cat.default: lambda x, y, p: torch.cat([x, y[:2]]),
    _aten.stack.default: lambda x, y, p: _aten.stack([x, y], 1),
    _aten.split.Tensor: lambda x, y, p: _aten.split.Tensor(x, 2, 1)[1],
    _aten.split_with_sizes.default: lambda x, y, p: _aten.split_with_sizes(x, [1, 3], 1)[1],
    _aten.unbind.int: lambda x, y, p: _aten.unbind(x, 1)[2],
    _aten.flip.default: lambda x, y, p: x.flip(1),
    _aten.roll.default: lambda x, y, p: _aten.roll(x, [1], [0]),
    _aten.repeat.default: lambda x, y, p: x.repeat(2, 1),
    _aten.slice_scatter.default: lambda x, y, p: torch.slice_scatter(x, y[:2], 0, 1, 3),
    _aten.select_scatter.default: lambda x, y, p: torch.select_scatter(x, y[0], 0, 2),
    _aten.diagonal.default: lambda x, y, p: x.diagonal(),
    _aten.unfold.default: lambda x, y, p: _aten.unfold(x, 1, 2, 1),
    _aten.diagonal_scatter.default: lambda x, y, p: torch.diagonal_scatter(x, y[0, :3]),
    _aten.clone.default: lambda x, y, p: x.clone(),
    _aten.alias.default: lambda x, y, p: _aten.alias(x),
    _aten.detach.default: lambda x, y, p: x.detach(),
    _aten.full_like.default: lambda x, y, p: x + torch.full_like(x, 3.0),
    _aten.zeros_like.default: lambda x, y, p: x + torch.zeros_like(x),
    _aten.ones_like.default: lambda x, y, p: x + torch.ones_like(x),
    _aten.new_zeros.default: lambda x, y, p: x + _aten.new_zeros(x, [4]),
    _aten.new_ones.default: lambda x, y, p: x + _aten.new_ones(x, [4]),
    _aten.new_full.default: lambda x, y, p: x + _aten.new_full(x, [4], 2.0),
    _aten.fill.Scalar: lambda x, y, p: x + _aten.fill(y, 2.0),
    _aten.constant_pad_nd.default: lambda x, y, p: F.pad(x, (1, 2), value=0.5),
    _aten.triu.default: lambda x, y, p: x.triu(1),
    _aten.tril.default: lambda x, y, p: x.tril(),
    _aten._to_copy.default: lambda x, y, p: _aten._to_copy(x > 0.0, dtype=torch.float32),
    _aten.add.Tensor: lambda x, y, p: torch.add(x, y[0], alpha=3.0),
    _aten.add.Scalar: lambda x, y, p: _aten.add.Scalar(x, 2.0),
    _aten.sub.Tensor: lambda x, y, p: torch.sub(x, y, alpha=2.0),
    _aten.sub.Scalar: lambda x, y, p: _aten.sub.Scalar(x, 2.0),
    _aten.mul.Tensor: lambda x, y, p: x * y[:, :1],
    _aten.mul.Scalar: lambda x, y, p: _aten.mul.Scalar(x, 3.0),
    _aten.div.Tensor: lambda x, y, p: x / p,
    _aten.div.Scalar: lambda x, y, p: _aten.div.Scalar(x, 3.0),
    _aten.div.Tensor_mode: lambda x, y, p: torch.div(x, p, rounding_mode="floor"),
    _aten.neg.default: lambda x, y, p: -x,
    _aten.reciprocal.default: lambda x, y, p: p.reciprocal(),
    _aten.sqrt.default: lambda x, y, p: p.sqrt(),
    _aten.rsqrt.default: lambda x, y, p: p.rsqrt(),
    _aten.abs.default: lambda x, y, p: x.abs(),
    _aten.sign.default: lambda x, y, p: x.sign(),
    _aten.floor.default: lambda x, y, p: (3.0 * x).floor(),
    _aten.ceil.default: lambda x, y, p: (3.0 * x).ceil(),
    _aten.trunc.default: lambda x, y, p: (3.0 * x).trunc(),
    _aten.round.default: lambda x, y, p: (3.0 * x).round(),
    _aten.exp.default: lambda x, y, p: x.exp(),
    _aten.expm1.default: lambda x, y, p: x.expm1(),
    _aten.log.default: lambda x, y, p: p.log(),
    _aten.log1p.default: lambda x, y, p: p.log1p(),
    _aten.tanh.default: lambda x, y, p: x.tanh(),
    _aten.sigmoid.default: lambda x, y, p: x.sigmoid(),
    _aten.sin.default: lambda x, y, p: (4.0 * x).sin(),
    _aten.cos.default: lambda x, y, p: (4.0 * x).cos(),
    _aten.tan.default: lambda x, y, p: x.tan(),
    _aten.asin.default: lambda x, y, p: (0.3 * x.tanh()).asin(),
    _aten.acos.default: lambda x, y, p: (0.3 * x.tanh()).acos(),
    _aten.atan.default: lambda x, y, p: x.atan(),
    _aten.sinh.default: lambda x, y, p: x.sinh(),
    _aten.cosh.default: lambda x, y, p: x.cosh(),
    _aten.asinh.default: lambda x, y, p: x.asinh(),
    _aten.acosh.default: lambda x, y, p: (1.0 + p).acosh(),
    _aten.atanh.default: lambda x, y, p: (0.3 * x.tanh()).atanh(),
    _aten.erf.default: lambda x, y, p: x.erf(),
    _aten.atan2.default: lambda x, y, p: torch.atan2(x, y),
    _aten.maximum.default: lambda x, y, p: torch.maximum(x, y),
    _aten.minimum.default: lambda x, y, p: torch.minimum(x, y),
    _aten.relu.default: lambda x, y, p: x.relu(),
    _aten.clamp.default: lambda x, y, p: x.clamp(-0.5, 0.7),
    _aten.clamp.Tensor: lambda x, y, p: x.clamp(-p, p),
    _aten.clamp_min.default: lambda x, y, p: x.clamp_min(0.1),
    _aten.clamp_min.Tensor: lambda x, y, p: _aten.clamp_min.Tensor(x, y),
    _aten.clamp_max.default: lambda x, y, p: x.clamp_max(0.1),
    _aten.clamp_max.Tensor: lambda x, y, p: _aten.clamp_max.Tensor(x, y),
    _aten.hardtanh.default: lambda x, y, p: F.hardtanh(x) + F.hardtanh(x, -0.2, 0.4),
    _aten.pow.Tensor_Scalar: lambda x, y, p: x**2 + x**3 + p**0.5 + p**-0.5 + p**-1 + p**1.3 + x**1 + x**0,
    _aten.pow.Tensor_Tensor: lambda x, y, p: p**y,
    _aten.pow.Scalar: lambda x, y, p: torch.pow(2.0, x),
    _aten.fmod.Tensor: lambda x, y, p: torch.fmod(x, p),
    _aten.fmod.Scalar: lambda x, y, p: torch.fmod(x, 0.3),
    _aten.remainder.Tensor: lambda x, y, p: torch.remainder(x, p),
    _aten.remainder.Scalar: lambda x, y, p: torch.remainder(x, -0.3),
    _aten.lt.Tensor: lambda x, y, p: x < y,
    _aten.lt.Scalar: lambda x, y, p: x < 0.1,
    _aten.le.Tensor: lambda x, y, p: x <= x.round(),
    _aten.le.Scalar: lambda x, y, p: x <= 0.1,
    _aten.gt.Tensor: lambda x, y, p: x > y,
    _aten.gt.Scalar: lambda x, y, p: x > 0.1,
    _aten.ge.Tensor: lambda x, y, p: x >= y,
    _aten.ge.Scalar: lambda x, y, p: x >= 0.1,
    _aten.eq.Tensor: lambda x, y, p: x == torch.maximum(x, y),
    _aten.eq.Scalar: lambda x, y, p: x.relu() == 0.0,
    _aten.ne.Tensor: lambda x, y, p: x != torch.maximum(x, y),
    _aten.ne.Scalar: lambda x, y, p: x.relu() != 0.0,
    _aten.logical_and.default: lambda x, y, p: torch.logical_and(x > 0.0, y.relu()),
    _aten.bitwise_and.Tensor: lambda x, y, p: (x > 0.0) & (y > 0.0),
    _aten.logical_or.default: lambda x, y, p: torch.logical_or(x > 0.0, y > 0.0),
    _aten.bitwise_or.Tensor: lambda x, y, p: (x > 0.0) | (y > 0.0),
    _aten.logical_xor.default: lambda x, y, p: torch.logical_xor(x > 0.0, y > 0.0),
    _aten.bitwise_xor.Tensor: lambda x, y, p: (x > 0.0) ^ (y > 0.0),
    _aten.logical_not.default: lambda x, y, p: torch.logical_not(x > 0.0),
    _aten.bitwise_not.default: lambda x, y, p: ~(x > 0.0),
    _aten.isnan.default: lambda x, y, p: _aten.isnan(x.log()),
    _aten.isinf.default: lambda x, y, p: _aten.isinf(x / x.relu()),
    _aten.where.self: lambda x, y, p: torch.where(x > y, x, p),
    _aten.sum.dim_IntList: lambda x, y, p: x.sum(1, keepdim=True),
    _aten.sum.default: lambda x, y, p: _aten.sum(x),
    _aten.mean.dim: lambda x, y, p: x.mean((0, 1)),
    _aten.mean.default: lambda x, y, p: _aten.mean(x),
    _aten.var.correction: lambda x, y, p: x.var(1),
    _aten.linalg_vector_norm.default: lambda x, y, p: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    _aten.amax.default: lambda x, y, p: x.amax(1),
    _aten.max.default: lambda x, y, p: _aten.max(x),
    _aten.amin.default: lambda x, y, p: x.amin(0, keepdim=True),
    _aten.min.default: lambda x, y, p: _aten.min(x),
    _aten.prod.default: lambda x, y, p: _aten.prod(x),
    _aten.prod.dim_int: lambda x, y, p: x.prod(1),
    _aten.any.default: lambda x, y, p: _aten.any(x > 1.0),
    _aten.any.dim: lambda x, y, p: (x > 1.0).any(1),
    _aten.any.dims: lambda x, y, p: _aten.any.dims(x > 1.0, [0, 1]),
    _aten.all.default: lambda x, y, p: _aten.all(x > 0.0),
    _aten.all.dim: lambda x, y, p: (x > 0.0).all(1),
    _aten.cumsum.default: lambda x, y, p: x.cumsum(1),
    _aten.cumprod.default: lambda x, y, p: x.cumprod(0),
    _aten.mm.default: lambda x, y, p: x @ y.t(),
    _aten.bmm.default: lambda x, y, p: torch.bmm(x.unsqueeze(1), y.unsqueeze(2)),
    _aten.addmm.default: lambda x, y, p: _aten.addmm(p[:, :3], x, y.t(), beta=0.5, alpha=2.0),
    _aten.baddbmm.default: lambda x, y, p: _aten.baddbmm(p[:1, :1, None], x.unsqueeze(1), y.unsqueeze(2)),
    _aten.mv.default: lambda x, y, p: _aten.mv(x, y[0]),
    _aten.dot.default: lambda x, y, p: _aten.dot(x[0], y[1]),
    _aten.index.Tensor: lambda x, y, p: x[_INDEX],
    _aten.index_select.default: lambda x, y, p: _aten.index_select(x, 0, _INDEX),
    _aten.gather.default: lambda x, y, p: x.gather(0, _SPREAD),
    _aten.index_put.default: lambda x, y, p: torch.index_put(x, (_INDEX,), y, accumulate=True),
    _aten._unsafe_index_put.default: lambda x, y, p: _aten._unsafe_index_put(x, [_INDEX[:2]], y[:2]),
    _aten.scatter_add.default: lambda x, y, p: x.scatter_add(0, _SPREAD.expand(2, 4), y[:2]),
}  # fmt: skip

# What policies and machines are made of, whose operators are taken apart into those above.
MADE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "addcmul": lambda x, y, p: torch.addcmul(x, y, p, value=0.5),
    "softmax": lambda x, y, p: torch.softmax(x, -1),
    "log_softmax": lambda x, y, p: torch.log_softmax(x, 0),
    "logsumexp": lambda x, y, p: torch.logsumexp(x, -1),
    "gelu": lambda x, y, p: F.gelu(x),
    "silu": lambda x, y, p: F.silu(x),
    "elu": lambda x, y, p: F.elu(x),
    "softplus": lambda x, y, p: F.softplus(x),
    "leaky_relu": lambda x, y, p: F.leaky_relu(x),
    "softsign": lambda x, y, p: F.softsign(x),
    "layer_norm": lambda x, y, p: F.layer_norm(x, (4,)),
    "std": lambda x, y, p: x.std(-1),
    "lerp": lambda x, y, p: torch.lerp(x, y, 0.3),
    "cross": lambda x, y, p: torch.linalg.cross(x[:, :3], y[:, :3]),
    "hypot": lambda x, y, p: torch.hypot(x, y),
    "einsum": lambda x, y, p: torch.einsum("ij,kj->ik", x, y),
    "norm": lambda x, y, p: x.norm(dim=-1),
    "min_max": lambda x, y, p: x.amax(-1) - x.amin(-1),
    "huber": lambda x, y, p: F.huber_loss(x, y, reduction="none", delta=0.5),
    "rotation": lambda x, y, p: torch.stack([x.cos(), -x.sin(), x.sin(), x.cos()], -1).reshape(3, 4, 2, 2) @ y[0, :2],
}  # fmt: skip

Case = tuple[str, Callable[[Tensor, Tensor, Tensor], object]]
_WITHOUT_DERIVATIVE = {"aten.isnan.default", "aten.isinf.default"}
CASES: Sequence[Case] = [(str(op), of) for op, of in ROWS.items()] + list(MADE.items())
LIKE = example({"x": (3, 4), "y": (3, 4)}, {}, {}, {"p": (3, 4)})


def tick_of(
    functions: Sequence[Case],
) -> Callable[[Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]:
    """All of them in one tick, on every episode by itself."""

    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del weights, machine
        lanes = carried["x"].shape[:2]
        given = [z.reshape(-1, 3, 4) for z in (carried["x"], carried["y"], positive(now["p"]))]
        record = {}
        for name, of in functions:
            each = [of(*one) for one in zip(*given, strict=True)]
            results = [r for r in each if isinstance(r, Tensor)]
            whole = torch.stack([r.float() for r in results])
            record[name] = whole.reshape(*lanes, *whole.shape[1:])
        return {"x": carried["x"], "y": carried["y"]}, record

    return tick


def positive(x: Tensor) -> Tensor:
    return 0.2 + x.abs()


def test_every_row_is_tested() -> None:
    assert set(ROWS) == set(RULES)


@pytest.mark.parametrize("op", ROWS, ids=str)
def test_a_test_of_a_row_uses_it(op: OpOverload) -> None:
    def function(x: Tensor, y: Tensor, p: Tensor) -> list[Tensor]:
        made = ROWS[op](x, y, p)
        return [made] if isinstance(made, Tensor) else []

    module = traced(function, [torch.rand(3, 4) for _ in range(3)], decomposed=False)
    assert op in {node.target for node in module.graph.nodes}


def test_every_operator_gives_what_torch_gives_and_has_its_derivative() -> None:
    """In one test, since to trace and compile them takes seconds, and their numbers next to nothing."""
    tick, inputs = tick_of(CASES), drawn(LIKE, 3, 6, 1, seed=5)
    found, expected = CompiledTick(tick, LIKE)(inputs).record, by_torch(tick, inputs).record
    assert [
        wrong for name, _ in CASES if (wrong := _differs(name, found[name], expected[name], inputs))
    ] == []


def _differs(name: str, found: Tensor, expected: Tensor, inputs: Inputs) -> str:
    try:
        assert_close(found.detach(), expected.detach(), name, 2e-6)
        if expected.requires_grad and name not in _WITHOUT_DERIVATIVE:
            _assert_derivatives_close(name, found, expected, inputs)
    except AssertionError as error:
        return str(error)
    return ""


def _assert_derivatives_close(name: str, found: Tensor, expected: Tensor, inputs: Inputs) -> None:
    weights = torch.rand(expected.shape, generator=torch.Generator().manual_seed(2))
    wanted = [*inputs.carried.values(), *inputs.now.values()]
    ours, torchs = (
        torch.autograd.grad((weights * r).sum(), wanted, retain_graph=True, materialize_grads=True)
        for r in (found, expected)
    )
    for a, b in zip(ours, torchs, strict=True):
        assert_close(a, b, f"derivative of {name}", 1e-5)


def test_an_index_that_is_computed_is_refused() -> None:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del weights, machine
        order = now["p"].argsort(-1)
        return {"x": carried["x"].gather(-1, order), "y": carried["y"]}, {"p": now["p"]}

    with pytest.raises(NotCompiled, match=r"has no C|what data say"):
        CompiledTick(tick, LIKE)(drawn(LIKE, 1, 1, 1))
