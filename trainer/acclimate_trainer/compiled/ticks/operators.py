"""torch's operators, a row each: how a result's elements are made of the operands'.

An operator that has no row is not compiled, and the roll-out goes on in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload

from acclimate_trainer.compiled.ticks.elements import Elements, Ids
from acclimate_trainer.compiled.ticks.pointwise import apply
from acclimate_trainer.compiled.ticks.products import matrix_product

_aten = torch.ops.aten


@dataclass(frozen=True)
class Value:
    """A tensor of the trace: its elements, and its content where that is constant."""

    ids: Ids
    dtype: torch.dtype
    content: Tensor | None = None


Arguments: TypeAlias = Sequence[object]
Keywords: TypeAlias = Mapping[str, object]
Rule: TypeAlias = Callable[[Elements, OpOverload, Arguments, Keywords], Ids | list[Ids]]


def ids_of(elements: Elements, operand: object) -> Ids:
    """Of an operand of arithmetic: truth values count as 0 and 1, numbers as constants."""
    if isinstance(operand, Value):
        is_mask = operand.dtype == torch.bool and operand.content is None
        return apply(elements, "one_if", operand.ids) if is_mask else operand.ids
    assert isinstance(operand, bool | int | float)
    return torch.tensor(elements.constant(float(operand)))


def mask_of(elements: Elements, operand: object) -> Ids:
    """Of an operand of logic."""
    assert isinstance(operand, Value)
    if operand.dtype == torch.bool or operand.content is not None:
        return operand.ids
    return apply(elements, "nonzero", operand.ids)


def _bare(operand: object) -> object:
    if isinstance(operand, Value):
        return operand.ids
    if isinstance(operand, list | tuple):
        return [_bare(x) for x in operand]
    return operand


def _tensor(operand: object) -> Value:
    assert isinstance(operand, Value)
    return operand


def _move(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids | list[Ids]:
    """What only moves numbers about does so with ids."""
    del elements
    moved: Ids | tuple[Ids, ...] = op(*map(_bare, args), **kwargs)
    return moved if isinstance(moved, Tensor) else list(moved)


def _reshape(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """Ids need not lie in memory as the numbers do."""
    del elements, op, kwargs
    shape = args[1]
    assert isinstance(shape, list | tuple)
    return _tensor(args[0]).ids.reshape([int(str(size)) for size in shape])


def _same(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del elements, op, kwargs
    return _tensor(args[0]).ids


def _filled(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """What takes nothing of a tensor but its shape."""
    like = _tensor(args[0])
    return elements.constant_tensor(op(torch.zeros(like.ids.shape, dtype=like.dtype), *args[1:], **kwargs))


def _pad(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del kwargs
    filling = args[2] if len(args) > 2 else 0.0
    assert isinstance(filling, int | float)
    padded: Ids = op(_tensor(args[0]).ids, args[1], elements.constant(float(filling)))
    return padded


def _triangle(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    x = _tensor(args[0]).ids
    kept = op(torch.ones(x.shape, dtype=torch.bool), *args[1:], **kwargs)
    return torch.where(kept, x, elements.constant(0.0))


def _by(name: str) -> Rule:
    """A row of the table of pointwise operators."""

    def rule(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
        del op, kwargs
        return apply(elements, name, *(ids_of(elements, x) for x in args))

    return rule


def _logic(name: str) -> Rule:
    def rule(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
        del op, kwargs
        return apply(elements, name, *(mask_of(elements, x) for x in args))

    return rule


def _scaled(name: str) -> Rule:
    """a + alpha·b, and the like."""

    def rule(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
        del op
        a, b = (ids_of(elements, x) for x in args[:2])
        alpha = ids_of(elements, kwargs.get("alpha", args[2] if len(args) > 2 else 1.0))
        return apply(elements, name, a, apply(elements, "multiply", alpha, b))

    return rule


def _divide(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del op
    quotient = apply(elements, "divide", *(ids_of(elements, x) for x in args[:2]))
    mode = kwargs.get("rounding_mode")
    return quotient if mode is None else apply(elements, str(mode), quotient)


def _clamp(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del op
    x = ids_of(elements, args[0])
    for name, bound, k in (("at_least", "min", 1), ("at_most", "max", 2)):
        limit = kwargs.get(bound, args[k] if len(args) > k else None)
        x = x if limit is None else apply(elements, name, x, ids_of(elements, limit))
    return x


def _hardtanh(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    return _clamp(elements, op, [*args, *(-1.0, 1.0)[len(args) - 1 :]], kwargs)


def _where(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del op, kwargs
    condition, a, b = args
    return apply(elements, "choose", mask_of(elements, condition), ids_of(elements, a), ids_of(elements, b))


def _power(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """Small whole and half exponents by what they are."""
    del op, kwargs
    x, exponent = ids_of(elements, args[0]), args[1]
    if exponent in (2, 3):
        square = apply(elements, "multiply", x, x)
        return square if exponent == 2 else apply(elements, "multiply", square, x)
    for value, name in ((0.5, "square_root"), (-0.5, "inverse_root"), (-1.0, "reciprocal")):
        if exponent == value:
            return apply(elements, name, x)
    if exponent == 1:
        return x
    if exponent == 0:
        return torch.full_like(x, elements.constant(1.0))
    return apply(elements, "power", x, ids_of(elements, exponent))


def _convert(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """Between truth values and numbers."""
    del op
    x = _tensor(args[0])
    wanted = kwargs.get("dtype", x.dtype)
    if wanted == torch.bool:
        return mask_of(elements, x)
    return ids_of(elements, x)


def reduce(elements: Elements, name: str, ids: Ids, axes: Sequence[int], keep: bool) -> Ids:
    """`name` of all elements along `axes`, by halves."""
    axes = sorted(axis % ids.dim() for axis in axes) if ids.dim() else []
    rest = [axis for axis in range(ids.dim()) if axis not in axes]
    shape = [1 if axis in axes else size for axis, size in enumerate(ids.shape) if keep or axis not in axes]
    flat = ids.permute(*rest, *axes).reshape(*(ids.shape[axis] for axis in rest), -1)
    while (count := flat.shape[-1]) > 1:
        half = count // 2
        pairs = apply(elements, name, flat[..., :half], flat[..., half : 2 * half])
        flat = torch.cat([pairs, flat[..., 2 * half :]], dim=-1)
    return flat.reshape(shape)


def _axes(args: Arguments, kwargs: Keywords) -> list[int]:
    """All of them where none is named."""
    found = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if isinstance(found, int):
        return [found]
    named = list(found) if isinstance(found, list | tuple) else []
    return named or list(range(_tensor(args[0]).ids.dim()))


def _keeps(args: Arguments, kwargs: Keywords) -> bool:
    return bool(kwargs.get("keepdim", args[2] if len(args) > 2 else False))


def _reduced(name: str) -> Rule:
    def rule(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
        del op
        x = mask_of(elements, args[0]) if name in ("and", "or") else ids_of(elements, args[0])
        return reduce(elements, name, x, _axes(args, kwargs), _keeps(args, kwargs))

    return rule


def _mean(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del op
    x, axes = ids_of(elements, args[0]), _axes(args, kwargs)
    total = reduce(elements, "add", x, axes, _keeps(args, kwargs))
    count = x.numel() / max(total.numel(), 1)
    return apply(elements, "multiply", total, torch.tensor(elements.constant(1.0 / count)))


def _norm(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """Euclidean."""
    del op
    order = args[1] if len(args) > 1 else kwargs.get("ord", 2)
    if order != 2:
        raise NoRule
    x = ids_of(elements, args[0])
    named = kwargs.get("dim", args[2] if len(args) > 2 else None)
    axes = [named] if isinstance(named, int) else list(named or range(x.dim()))  # type: ignore[call-overload]
    keep = bool(kwargs.get("keepdim", args[3] if len(args) > 3 else False))
    return apply(
        elements, "square_root", reduce(elements, "add", apply(elements, "multiply", x, x), axes, keep)
    )


def _variance(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del op
    x, axes = ids_of(elements, args[0]), _axes(args, kwargs)
    keep, correction = bool(kwargs.get("keepdim", False)), kwargs.get("correction", 1)
    assert isinstance(correction, int | float)
    total = reduce(elements, "add", x, axes, True)
    count = x.numel() / max(total.numel(), 1)
    mean = apply(elements, "multiply", total, torch.tensor(elements.constant(1.0 / count)))
    centred = apply(elements, "subtract", x, mean)
    squares = reduce(elements, "add", apply(elements, "multiply", centred, centred), axes, keep)
    return apply(elements, "multiply", squares, torch.tensor(elements.constant(1.0 / (count - correction))))


def _cumulated(name: str) -> Rule:
    def rule(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
        del op, kwargs
        axis = args[1]
        assert isinstance(axis, int)
        out: list[Ids] = []
        for part in ids_of(elements, args[0]).unbind(axis):
            out.append(apply(elements, name, out[-1], part) if out else part)
        return torch.stack(out, dim=axis)

    return rule


def _product(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """Of matrices, or of equally many of them."""
    del op, kwargs
    a, b = (ids_of(elements, x) for x in args)
    if a.dim() == 2:
        return matrix_product(elements, a, b)
    return torch.stack([matrix_product(elements, *pair) for pair in zip(a, b, strict=True)])


def _product_and_sum(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    beta, alpha = (ids_of(elements, kwargs.get(name, 1.0)) for name in ("beta", "alpha"))
    product = apply(elements, "multiply", alpha, _product(elements, op, args[1:], {}))
    return apply(elements, "add", product, apply(elements, "multiply", beta, ids_of(elements, args[0])))


def _vector_product(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """Matrix by vector, and vector by vector."""
    del op, kwargs
    a, b = (ids_of(elements, x) for x in args)
    rows = a if a.dim() == 2 else a.unsqueeze(0)
    return matrix_product(elements, rows, b.unsqueeze(1)).reshape(a.shape[:-1])


def _added_at(elements: Elements, into: Ids, places: Tensor, values: Ids) -> Ids:
    """`into` (flat) with each of `values` added at its place, of which several may be one."""
    out = into.clone()
    for place, value in zip(places.tolist(), values.reshape(-1), strict=True):
        out[place] = apply(elements, "add", out[place], value)
    return out


def _index_put(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    into, values = _tensor(args[0]).ids, _tensor(args[2]).ids
    indices = _constants(args[1])
    if not kwargs.get("accumulate", args[3] if len(args) > 3 else False):
        placed: Ids = op(into, indices, values)
        return placed
    places = _aten.index.Tensor(torch.arange(into.numel()).reshape(into.shape), indices)
    added = _added_at(elements, into.reshape(-1), places.reshape(-1), values.expand(places.shape))
    return added.reshape(into.shape)


def _index(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """With indices that are constant; a choice that depends on data is no fixed piece of code."""
    del elements, kwargs
    moved: Ids = op(_tensor(args[0]).ids, *(_constants(x) for x in args[1:]))
    return moved


def _scatter_add(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    del op, kwargs
    into, axis, index, values = _tensor(args[0]).ids, args[1], _constants(args[2]), _tensor(args[3]).ids
    assert isinstance(axis, int)
    assert isinstance(index, Tensor)
    places = torch.gather(torch.arange(into.numel()).reshape(into.shape), axis, index)
    part = values[tuple(slice(size) for size in index.shape)]
    return _added_at(elements, into.reshape(-1), places.reshape(-1), part).reshape(into.shape)


class NoRule(Exception):  # noqa: N818
    """The row does not cover these arguments."""


def no_rule(elements: Elements, op: OpOverload, args: Arguments, kwargs: Keywords) -> Ids:
    """What is done about an operator that is not in the table."""
    del elements, op, args, kwargs
    raise NoRule


class NotConstant(Exception):  # noqa: N818  (caught where the operator's name is known)
    """An index is computed from what changes."""


def _constants(operand: object) -> object:
    """Indices as real tensors."""
    if isinstance(operand, Value):
        if operand.content is None:
            raise NotConstant
        return operand.content
    if isinstance(operand, list | tuple):
        return [_constants(x) for x in operand]
    return operand


RULES: dict[OpOverload, Rule] = {
    **dict.fromkeys((_aten.view.default, _aten._unsafe_view.default), _reshape),
    **dict.fromkeys(
        (_aten.permute.default,
         _aten.transpose.int, _aten.t.default, _aten.unsqueeze.default, _aten.squeeze.default,
         _aten.squeeze.dim, _aten.squeeze.dims, _aten.expand.default, _aten.slice.Tensor, _aten.select.int,
         _aten.cat.default, _aten.stack.default, _aten.split.Tensor, _aten.split_with_sizes.default,
         _aten.unbind.int, _aten.flip.default, _aten.roll.default, _aten.repeat.default,
         _aten.slice_scatter.default, _aten.select_scatter.default,
         _aten.diagonal_scatter.default, _aten.diagonal.default,
         _aten.unfold.default),
        _move,
    ),
    **dict.fromkeys(
        (_aten.clone.default, _aten.alias.default, _aten.detach.default),
        _same,
    ),
    **dict.fromkeys(
        (_aten.full_like.default, _aten.zeros_like.default, _aten.ones_like.default, _aten.new_zeros.default,
         _aten.new_ones.default, _aten.new_full.default, _aten.fill.Scalar),
        _filled,
    ),
    _aten.constant_pad_nd.default: _pad,
    **dict.fromkeys((_aten.triu.default, _aten.tril.default), _triangle),
    _aten._to_copy.default: _convert,
    **dict.fromkeys((_aten.add.Tensor, _aten.add.Scalar), _scaled("add")),
    **dict.fromkeys((_aten.sub.Tensor, _aten.sub.Scalar), _scaled("subtract")),
    **dict.fromkeys((_aten.mul.Tensor, _aten.mul.Scalar), _by("multiply")),
    **dict.fromkeys(
        (_aten.div.Tensor, _aten.div.Scalar, _aten.div.Tensor_mode), _divide
    ),
    _aten.neg.default: _by("negate"),
    _aten.reciprocal.default: _by("reciprocal"),
    _aten.sqrt.default: _by("square_root"),
    _aten.rsqrt.default: _by("inverse_root"),
    _aten.abs.default: _by("absolute"),
    **{
        getattr(_aten, name).default: _by(name)
        for name in ("sign", "floor", "ceil", "trunc", "round", "exp", "expm1", "log", "log1p", "tanh",
                     "sigmoid", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
                     "atanh", "erf", "atan2", "maximum", "minimum")
    },
    _aten.relu.default: lambda elements, op, args, _: _clamp(elements, op, args, {"min": 0.0}),
    **dict.fromkeys((_aten.clamp.default, _aten.clamp.Tensor), _clamp),
    **dict.fromkeys((_aten.clamp_min.default, _aten.clamp_min.Tensor), _by("at_least")),
    **dict.fromkeys((_aten.clamp_max.default, _aten.clamp_max.Tensor), _by("at_most")),
    _aten.hardtanh.default: _hardtanh,
    **dict.fromkeys((_aten.pow.Tensor_Scalar, _aten.pow.Tensor_Tensor, _aten.pow.Scalar), _power),
    **dict.fromkeys((_aten.fmod.Tensor, _aten.fmod.Scalar), _by("fmod")),
    **dict.fromkeys((_aten.remainder.Tensor, _aten.remainder.Scalar), _by("remainder")),
    **{
        getattr(getattr(_aten, name), kind): _by(row)
        for name, row in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
                          "eq": "equal", "ne": "unequal"}.items()
        for kind in ("Tensor", "Scalar")
    },
    **dict.fromkeys((_aten.logical_and.default, _aten.bitwise_and.Tensor), _logic("and")),
    **dict.fromkeys((_aten.logical_or.default, _aten.bitwise_or.Tensor), _logic("or")),
    **dict.fromkeys((_aten.logical_xor.default, _aten.bitwise_xor.Tensor), _logic("exclusive_or")),
    **dict.fromkeys((_aten.logical_not.default, _aten.bitwise_not.default), _logic("not")),
    _aten.isnan.default: _by("is_nan"),
    _aten.isinf.default: _by("is_infinite"),
    _aten.where.self: _where,
    **dict.fromkeys((_aten.sum.dim_IntList, _aten.sum.default), _reduced("add")),
    **dict.fromkeys((_aten.mean.dim, _aten.mean.default), _mean),
    _aten.var.correction: _variance,
    _aten.linalg_vector_norm.default: _norm,
    **dict.fromkeys((_aten.amax.default, _aten.max.default), _reduced("maximum")),
    **dict.fromkeys((_aten.amin.default, _aten.min.default), _reduced("minimum")),
    **dict.fromkeys((_aten.prod.default, _aten.prod.dim_int), _reduced("multiply")),
    **dict.fromkeys((_aten.any.default, _aten.any.dim, _aten.any.dims), _reduced("or")),
    **dict.fromkeys((_aten.all.default, _aten.all.dim), _reduced("and")),
    _aten.cumsum.default: _cumulated("add"),
    _aten.cumprod.default: _cumulated("multiply"),
    **dict.fromkeys((_aten.mm.default, _aten.bmm.default), _product),
    **dict.fromkeys((_aten.addmm.default, _aten.baddbmm.default), _product_and_sum),
    **dict.fromkeys((_aten.mv.default, _aten.dot.default), _vector_product),
    **dict.fromkeys((_aten.index.Tensor, _aten.index_select.default, _aten.gather.default), _index),
    **dict.fromkeys((_aten.index_put.default, _aten._unsafe_index_put.default), _index_put),
    _aten.scatter_add.default: _scatter_add,
}  # fmt: skip
