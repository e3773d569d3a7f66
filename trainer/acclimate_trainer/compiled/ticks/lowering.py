"""A traced graph as elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import getitem

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from acclimate_trainer.compiled.ticks.elements import Elements, Ids
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.compiled.ticks.operators import RULES, NoRule, NotConstant, Value, no_rule


def lower(elements: Elements, module: fx.GraphModule, inputs: Sequence[Ids]) -> list[Ids]:
    """Elements of the graph's outputs, its inputs being these; numbers, where an output is a truth value."""
    given = iter(inputs)
    known: dict[fx.Node, object] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            known[node] = Value(next(given), torch.float32)
        elif node.op == "get_attr":
            known[node] = constant(elements, module.get_buffer(str(node.target)))
        elif node.op == "call_function":
            known[node] = _call(elements, node, known)
    (results,) = next(iter(module.graph.find_nodes(op="output"))).args
    assert isinstance(results, list | tuple)
    return [_result(known[node]) for node in results if isinstance(node, fx.Node)]


def constant(elements: Elements, tensor: Tensor) -> Value:
    return Value(elements.constant_tensor(tensor), tensor.dtype, tensor.detach())


def _result(value: object) -> Ids:
    assert isinstance(value, Value)
    return value.ids


def _call(elements: Elements, node: fx.Node, known: Mapping[fx.Node, object]) -> object:
    args = [_fetched(x, known) for x in node.args]
    kwargs = {name: _fetched(x, known) for name, x in node.kwargs.items()}
    if node.target is getitem:
        parts, index = args
        assert isinstance(parts, list)
        assert isinstance(index, int)
        return parts[index]
    assert isinstance(node.target, OpOverload)
    if _is_constant((args, kwargs)):
        return _folded(elements, node.target, args, kwargs)
    try:
        made = RULES.get(node.target, no_rule)(elements, node.target, args, kwargs)
    except NoRule:
        raise NotCompiled(f"operator {node.target} has no C") from None
    except NotConstant:
        raise NotCompiled(f"operator {node.target} takes what data say it should") from None
    expected = node.meta["val"]
    if isinstance(made, list):
        return [Value(ids, part.dtype) for ids, part in zip(made, expected, strict=True)]
    assert made.shape == expected.shape, f"{node.target}: {made.shape} for {expected.shape}"
    return Value(made, expected.dtype)


def _fetched(argument: object, known: Mapping[fx.Node, object]) -> object:
    if isinstance(argument, fx.Node):
        return known[argument]
    if isinstance(argument, list | tuple):
        return [_fetched(x, known) for x in argument]
    return argument


def _is_constant(tree: object) -> bool:
    """Whether no operand is computed from what changes."""
    if isinstance(tree, Value):
        return tree.content is not None
    if isinstance(tree, list | tuple):
        return all(map(_is_constant, tree))
    return all(map(_is_constant, tree.values())) if isinstance(tree, dict) else True


def _folded(
    elements: Elements, op: OpOverload, args: Sequence[object], kwargs: Mapping[str, object]
) -> object:
    with torch.no_grad():
        result = op(*map(_content, args), **{name: _content(x) for name, x in kwargs.items()})
    if isinstance(result, list | tuple):
        return [constant(elements, part) for part in result]
    return constant(elements, result)


def _content(argument: object) -> object:
    if isinstance(argument, Value):
        return argument.content
    if isinstance(argument, list | tuple):
        return [_content(x) for x in argument]
    return argument
