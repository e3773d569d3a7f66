"""From tensors of tasks and episodes to the tensors of one device.

A policy is a program on [tasks, episodes, ...]. On a device both are one long, and a graph that carries them along
spends more time on reshaping than on arithmetic. `on_device` replays a trace on tensors that lack leading axes of
length one: pointwise operations broadcast without them, products become plain matrix products, reshapes that only
add or remove such axes vanish. An operation that no rule covers gets its axes back first: slower, never wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from acclimate_trainer.contract.graphs import graph_of
from torch import Tensor, fx
from torch._ops import OpOverload

TensorFunction: TypeAlias = Callable[..., tuple[Tensor, ...]]
Shape: TypeAlias = Sequence[int]


@dataclass(frozen=True)
class _Value:
    """A tensor that has rank `rank` in the trace; here it may lack leading axes of length one."""

    tensor: Tensor
    rank: int

    def whole(self, but: int = 0) -> Tensor:
        """With all its axes, `but` for one of the leading ones where that is 1."""
        tensor = _of_rank(self.tensor, self.rank - but)
        return tensor.squeeze(0) if tensor.dim() > self.rank - but else tensor

    def from_the_end(self, axis: object) -> int:
        """The negative number of an axis, which holds whether or not leading ones are there."""
        assert isinstance(axis, int)
        return axis if axis < 0 else axis - self.rank


_Arguments: TypeAlias = tuple[object, ...]
_Rule: TypeAlias = Callable[[OpOverload, _Arguments, Shape], "Tensor | None"]  # None: does not apply


def on_device(
    function: TensorFunction, axes: Sequence[int], example: Sequence[Tensor], outputs: Sequence[Shape]
) -> fx.GraphModule:
    """Trace `function` of tensors with `axes[i]` leading axes of length one, as a function without them.

    `example` are inputs without these axes, `outputs` the shapes of its results without them.
    """
    stacked = [t.reshape(*[1] * count, *t.shape) for t, count in zip(example, axes, strict=True)]
    traced = graph_of(function, stacked)
    traced.graph.eliminate_dead_code()  # a forward derivative checks shapes as it goes, which are known now
    replay = _Replay(traced)

    def device(*inputs: Tensor) -> tuple[Tensor, ...]:
        values = [_Value(t, t.dim() + count) for t, count in zip(inputs, axes, strict=True)]
        return tuple(_shaped(v.tensor, shape) for v, shape in zip(replay.run(*values), outputs, strict=True))

    graph = graph_of(device, example)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


class _Replay(fx.Interpreter):
    """Runs a trace on `_Value`s."""

    def run_node(self, n: fx.Node) -> object:
        if n.op == "call_function" and isinstance(n.target, OpOverload):
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            return _call(n.target, args, kwargs, n.meta["val"])
        return _each(super().run_node(n), _valued)


def _call(op: OpOverload, args: _Arguments, kwargs: Mapping[str, object], expected: object) -> object:
    if op in _SPLITS and not kwargs:
        parts = _split(op, args)
        if parts is not None:
            return parts
    rule = _RULES.get(op, _pointwise if torch.Tag.pointwise in op.tags else None)
    if rule is not None and not kwargs and isinstance(expected, Tensor):
        result = rule(op, args, expected.shape)
        if result is not None:
            return _Value(result, expected.dim())
    whole = [_each(argument, _whole) for argument in args]
    return _each(op(*whole, **{name: _each(value, _whole) for name, value in kwargs.items()}), _valued)


def _pointwise(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor:
    """Broadcasting counts axes from the last one, so that leading ones of length one may as well be absent."""
    del shape
    result: Tensor = op(*(_each(argument, _bare) for argument in args))
    return result


def _reshape(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor | None:
    """What keeps number and order of the entries. Nothing to do where only leading axes differ."""
    del op
    tensor, wanted = _tensor(args[0]), _stripped(shape)
    if tensor.numel() != torch.Size(shape).numel():
        return None
    same = tensor.dim() <= len(shape) and _stripped(tensor.shape) == wanted
    return tensor if same else tensor.reshape(wanted)


def _product(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor | None:
    """A batched product with a single matrix in the batch, or with the same one for all of it."""
    if shape[0] == 1:
        matrices = [value.whole(but=1) for value in map(_value, args)]
        return torch.addmm(*matrices) if op is _aten.baddbmm.default else torch.mm(*matrices)
    *_, left, right = (value.whole() for value in map(_value, args))
    if op is _aten.bmm.default and right.stride(0) == 0:  # expanded over the batch
        return torch.mm(left.reshape(-1, left.shape[-1]), right[0]).reshape(shape)
    return None


def _product_and_sum(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor:
    """a + b·c in two operations: exporters would make it three, with a factor of one."""
    del op
    start, left, right = args
    product = _pointwise(_aten.mul.Tensor, (left, right), shape)
    return _pointwise(_aten.add.Tensor, (start, _Value(product, len(shape))), shape)


def _concatenate(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor:
    """Parts that lack more leading axes than another get them back, up to the one along which they are joined."""
    del op, shape
    assert isinstance(args[0], list | tuple)
    back = _value(args[0][0]).from_the_end(args[1] if len(args) > 1 else 0)
    rank = max(-back, *(_tensor(part).dim() for part in args[0]))
    return torch.cat([_of_rank(_tensor(part), rank) for part in args[0]], back)


def _split(op: OpOverload, args: _Arguments) -> list[_Value] | None:
    """Into several tensors, along an axis that is there."""
    value = _value(args[0])
    back = value.from_the_end(args[2] if len(args) > 2 else 0)
    if -back > value.tensor.dim():
        return None
    parts: Sequence[Tensor] = op(value.tensor, args[1], back)
    return [_Value(part, value.rank) for part in parts]


def _along(*positions: int) -> _Rule:
    """An operation along axes that its arguments at `positions` name, counted from the last axis instead."""

    def rule(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor | None:
        del shape
        value, changed = _value(args[0]), list(args)
        for i in positions:
            changed[i] = _each(changed[i], value.from_the_end)
            if not all(-axis <= value.tensor.dim() for axis in _integers(changed[i])):
                return None
        result: Tensor = op(value.tensor, *changed[1:])
        return result

    return rule


def _select(op: OpOverload, args: _Arguments, shape: Shape) -> Tensor | None:
    result = _reshape(op, args, shape)
    return _along(1)(op, args, shape) if result is None else result


_aten = torch.ops.aten
_SPLITS = {_aten.split.Tensor, _aten.split_with_sizes.default}
_RULES: dict[OpOverload, _Rule] = {
    **dict.fromkeys((_aten.view.default, _aten._unsafe_view.default, _aten.unsqueeze.default), _reshape),
    **dict.fromkeys(
        (_aten.squeeze.dim, _aten.squeeze.dims, _aten.expand.default, _aten.clone.default), _reshape
    ),
    **dict.fromkeys((_aten.bmm.default, _aten.baddbmm.default), _product),
    **dict.fromkeys(
        (_aten.sum.dim_IntList, _aten.amax.default, _aten.argmax.default, _aten.slice.Tensor), _along(1)
    ),
    _aten.select.int: _select,
    _aten.transpose.int: _along(1, 2),
    _aten.cat.default: _concatenate,
    _aten.addcmul.default: _product_and_sum,
}


def _of_rank(tensor: Tensor, rank: int) -> Tensor:
    """With leading axes of length one until it has at least `rank` axes."""
    while tensor.dim() < rank:
        tensor = tensor.unsqueeze(0)  # one by one: the exporter makes one of several
    return tensor


def _value(argument: object) -> _Value:
    assert isinstance(argument, _Value)
    return argument


def _tensor(argument: object) -> Tensor:
    return _value(argument).tensor


def _bare(argument: object) -> object:
    return argument.tensor if isinstance(argument, _Value) else argument


def _whole(argument: object) -> object:
    return argument.whole() if isinstance(argument, _Value) else argument


def _valued(result: object) -> object:
    return _Value(result, result.dim()) if isinstance(result, Tensor) else result


def _integers(axes: object) -> list[int]:
    return [axis for axis in (axes if isinstance(axes, list | tuple) else [axes]) if isinstance(axis, int)]


def _each(tree: object, change: Callable[[object], object]) -> object:
    """`change` applied to what `tree`, an argument or result, is or holds."""
    return type(tree)(_each(x, change) for x in tree) if isinstance(tree, list | tuple) else change(tree)


def _shaped(tensor: Tensor, shape: Shape) -> Tensor:
    return tensor if tensor.shape == torch.Size(shape) else tensor.reshape(shape)


def _stripped(shape: Shape) -> tuple[int, ...]:
    """Without the leading ones."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[first:])
