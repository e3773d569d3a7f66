"""A simplified graph gives the same numbers with less to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from acclimate_export.graphs.simplify import simplify
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

Function = Callable[[Tensor, Tensor], Tensor]


def _eliminated(x: Tensor, w: Tensor) -> Tensor:
    unit = torch.zeros(3, 1)
    unit[1] = 1.0  # in place, but on a constant
    return x @ (torch.eye(3) * 0.5) + (w @ unit).sum()


def _written(x: Tensor, w: Tensor) -> Tensor:
    y = torch.zeros(2, 3)
    y[0] = x[0]
    return y + torch.zeros(2, 3) + w.sum()


FUNCTIONS: dict[str, tuple[Function, int]] = {
    "nothing to do": (lambda x, w: x @ w, 1),
    "a constant expression": (lambda x, w: x @ w * torch.arange(3.0).cumsum(0).sqrt(), 2),
    "a constant written in place": (_eliminated, 4),
    "the same twice": (lambda x, w: torch.tanh(x @ w) * torch.tanh(x @ w), 3),
    "an axis the other way round": (lambda x, w: (x @ w).flip(-1), 2),
    "two of them": (lambda x, w: (x @ w).flip(0, 1).exp(), 4),
    "equal constants": (lambda x, w: (x @ torch.ones(3, 3) - w.sum()) * (x @ torch.ones(3, 3)), 4),
}


def _calls(module: fx.GraphModule) -> int:
    return sum(node.op == "call_function" for node in module.graph.nodes)


def _traced(function: Function) -> tuple[fx.GraphModule, tuple[Tensor, Tensor]]:
    inputs = (
        torch.randn(2, 3, generator=torch.Generator().manual_seed(1)),
        torch.randn(3, 3, generator=torch.Generator().manual_seed(2)),
    )
    return make_fx(function)(*inputs), inputs


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_numbers_from_fewer_operations(name: str) -> None:
    function, calls = FUNCTIONS[name]
    module, inputs = _traced(function)
    simple = simplify(module)
    for x in (inputs[0], 3.0 * inputs[0] + 1.0):
        assert torch.equal(simple(x, inputs[1]), function(x, inputs[1]))
    assert _calls(simple) == calls
    assert simple.code == simple.graph.python_code("self").src  # what runs is what the graph says
    assert not simple.graph.find_nodes(op="call_function", target=torch.ops.aten.flip.default)


def test_what_writes_an_input_in_place_is_left_alone() -> None:
    module, (x, w) = _traced(_written)
    simple = simplify(module)
    for scale in (1.0, 2.0, 0.0):  # a folded zeros(2, 3) would remember the call before
        assert torch.equal(simple(x * scale, w), _written(x * scale, w))


def test_constants_of_the_same_numbers_in_another_shape_stay_what_they_are() -> None:
    def function(x: Tensor, w: Tensor) -> Tensor:
        return (x @ torch.ones(3, 1)) * (x * torch.ones(1, 3)) + w.sum()

    module, (x, w) = _traced(function)
    assert torch.equal(simplify(module)(x, w), function(x, w))
