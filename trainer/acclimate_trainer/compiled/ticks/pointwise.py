"""The operators that act on one number of each operand: their C, and when nothing needs to be computed.

The functions that the C calls are in lanes.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from acclimate_trainer.compiled.ticks.elements import Elements, Ids, Simplified


def _never(elements: Elements, operands: tuple[int, ...]) -> int | None:
    del elements, operands
    return None


class Pointwise(NamedTuple):
    """`code` is a C expression of the operands {0}, {1}, …; `mask` where it gives a truth value."""

    code: str
    simplified: Simplified = _never
    mask: bool = False


def apply(elements: Elements, name: str, *operands: Ids) -> Ids:
    """`TABLE[name]` on tensors of ids, broadcast against each other."""
    row = TABLE[name]
    return elements.row(name, operands, _folded(name), mask=row.mask)


def one_of(elements: Elements, name: str, *operands: int) -> int:
    """`TABLE[name]` of single elements."""
    return int(apply(elements, name, *(torch.tensor(x) for x in operands)))


def _add(elements: Elements, operands: tuple[int, ...]) -> int | None:
    a, b = operands
    if elements.value(a) == 0.0:
        return b
    return a if elements.value(b) == 0.0 else None


def _subtract(elements: Elements, operands: tuple[int, ...]) -> int | None:
    a, b = operands
    if elements.value(b) == 0.0:
        return a
    if a == b:
        return elements.constant(0.0)
    return one_of(elements, "negate", b) if elements.value(a) == 0.0 else None


def _multiply(elements: Elements, operands: tuple[int, ...]) -> int | None:
    for x, other in (operands, operands[::-1]):
        match elements.value(x):
            case 0.0:
                return elements.constant(0.0)
            case 1.0:
                return other
            case -1.0:
                return one_of(elements, "negate", other)
    return None


def _divide(elements: Elements, operands: tuple[int, ...]) -> int | None:
    a, b = operands
    divisor = elements.value(b)
    if divisor == 1.0:
        return a
    exact = divisor is not None and divisor != 0.0 and _is_power_of_two(divisor)
    return one_of(elements, "multiply", a, elements.constant(1.0 / divisor)) if exact and divisor else None


def _is_power_of_two(value: float) -> bool:
    mantissa, _ = torch.frexp(torch.tensor(value, dtype=torch.float64))
    return abs(float(mantissa)) == 0.5 and 2.0**-60 < abs(value) < 2.0**60


def _choose(elements: Elements, operands: tuple[int, ...]) -> int | None:
    condition, a, b = operands
    known = elements.value(condition)
    if known is not None:
        return a if known else b
    return a if a == b else None


def _and(elements: Elements, operands: tuple[int, ...]) -> int | None:
    for x, other in (operands, operands[::-1]):
        known = elements.value(x)
        if known is not None:
            return other if known else elements.constant(0.0)
    return None


def _or(elements: Elements, operands: tuple[int, ...]) -> int | None:
    for x, other in (operands, operands[::-1]):
        known = elements.value(x)
        if known is not None:
            return x if known else other
    return None


def _exclusive_or(elements: Elements, operands: tuple[int, ...]) -> int | None:
    for x, other in (operands, operands[::-1]):
        known = elements.value(x)
        if known is not None:
            return one_of(elements, "not", other) if known else other
    return None


TABLE: dict[str, Pointwise] = {
    "copy": Pointwise("{0}"),
    "add": Pointwise("{0} + {1}", _add),
    "subtract": Pointwise("{0} - {1}", _subtract),
    "multiply": Pointwise("{0} * {1}", _multiply),
    "divide": Pointwise("{0} / {1}", _divide),
    "negate": Pointwise("-{0}"),
    "reciprocal": Pointwise("splat(1.0f) / {0}"),
    "square_root": Pointwise("square_root({0})"),
    "inverse_root": Pointwise("splat(1.0f) / square_root({0})"),
    "absolute": Pointwise("absolute({0})"),
    "sign": Pointwise("sign_of({0})"),
    "floor": Pointwise("floor_of({0})"),
    "ceil": Pointwise("ceiling_of({0})"),
    "trunc": Pointwise("truncated({0})"),
    "round": Pointwise("rounded({0})"),
    "maximum": Pointwise("maximum({0}, {1})"),
    "minimum": Pointwise("minimum({0}, {1})"),
    "at_least": Pointwise("at_least({0}, {1})"),
    "at_most": Pointwise("at_most({0}, {1})"),
    **{
        name: Pointwise(f"{name}_of({{0}})")
        for name in ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "sin", "cos", "tan", "asin", "acos",
                     "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf")
    },
    "atan2": Pointwise("atan2_of({0}, {1})"),
    "power": Pointwise("power_of({0}, {1})"),
    "fmod": Pointwise("fmod_of({0}, {1})"),
    "remainder": Pointwise("remainder_of({0}, {1})"),
    "less": Pointwise("{0} < {1}", mask=True),
    "less_equal": Pointwise("{0} <= {1}", mask=True),
    "greater": Pointwise("{0} > {1}", mask=True),
    "greater_equal": Pointwise("{0} >= {1}", mask=True),
    "equal": Pointwise("{0} == {1}", mask=True),
    "unequal": Pointwise("{0} != {1}", mask=True),
    "nonzero": Pointwise("nonzero({0})", mask=True),
    "is_nan": Pointwise("is_nan({0})", mask=True),
    "is_infinite": Pointwise("absolute({0}) == splat(INFINITY)", mask=True),
    "and": Pointwise("{0} & {1}", _and, mask=True),
    "or": Pointwise("{0} | {1}", _or, mask=True),
    "exclusive_or": Pointwise("{0} ^ {1}", _exclusive_or, mask=True),
    "not": Pointwise("~{0}", mask=True),
    "choose": Pointwise("choose({0}, {1}, {2})", _choose),
    "one_if": Pointwise("one_if({0})"),
}  # fmt: skip


def _same(x: Tensor) -> Tensor:
    return x


# The same in torch, for operands that are all constant.
_ON_CONSTANTS: dict[str, Callable[..., Tensor]] = {
    "copy": _same,
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "negate": torch.neg,
    "absolute": torch.abs,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "at_least": torch.maximum,
    "at_most": torch.minimum,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "equal": torch.eq,
    "unequal": torch.ne,
    "nonzero": torch.Tensor.bool,
    "not": torch.logical_not,
    "one_if": torch.Tensor.float,
}


def _folded(name: str) -> Simplified:
    """What the row of the table simplifies, and what follows from constants alone."""
    simplified, function = TABLE[name].simplified, _ON_CONSTANTS.get(name)

    def folded(elements: Elements, operands: tuple[int, ...]) -> int | None:
        values = [elements.value(x) for x in operands]
        if function is not None and None not in values:
            return elements.constant(float(function(*_tensors(values))))
        return simplified(elements, operands)

    return folded


def _tensors(values: Sequence[float | None]) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float32) for value in values]
