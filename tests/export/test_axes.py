"""Dropping the axes of tasks and episodes changes no number, whatever operations a policy is made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as nn
from acclimate_export.graphs.axes import on_device
from torch import Tensor, fx

Function = Callable[[Tensor, Tensor], Tensor]


def _filled(x: Tensor, w: Tensor) -> Tensor:
    unit = torch.zeros(4, 1)
    unit[2] = 1.0
    return x @ unit + w.sum()


def _in_place_on_a_view(x: Tensor, w: Tensor) -> Tensor:
    y = x * 1.0
    y[:, :, 1:2] = w[:, :, :1, None].sum(1)
    return y


# x is (1, 1, 4), which the device knows as (4,); w is (1, 4, 3), which it knows as (4, 3).
FUNCTIONS: dict[str, Function] = {
    "pointwise": lambda x, w: torch.tanh(x).unsqueeze(-1) * w.unsqueeze(1) + 2.0,
    "broadcast against a constant": lambda x, w: x * torch.arange(4.0) + w.sum(),
    "batched product": lambda x, w: torch.bmm(x, w),
    "batched product with bias": lambda x, w: torch.baddbmm(w[:, :1], torch.relu(x), w),
    "product and sum of a constant": lambda x, w: torch.addcmul(w.sum(), x, torch.ones(4)),
    "product and sum": lambda x, w: torch.addcmul(w[:, 0], x[..., :3], w[:, 1], value=2.0),
    "batched product with one matrix": lambda x, w: torch.bmm(
        w[0, :, :2].reshape(2, 2, 2) + x.sum(), w[:, :2, 1:].expand(2, 2, 2)
    ),
    "product with a constant": lambda x, w: x @ torch.ones(4, 2) + w.sum(),
    "product of a transpose": lambda x, w: (w.transpose(1, 2) @ x.transpose(1, 2)).transpose(1, 2),
    "transpose of axes that are not there": lambda x, w: x.transpose(0, 1) + w.sum(),
    "cat along the last axis": lambda x, w: torch.cat([x, x * 2.0], dim=-1) + w.sum(),
    "cat along an axis from the front": lambda x, w: torch.cat([w, w + 1.0], dim=2) + x.sum(),
    "cat along a missing axis": lambda x, w: torch.cat([x, x + 1.0], dim=1) * w.sum(),
    "cat of unequal ranks": lambda x, w: torch.cat([x, w.sum().expand(1, 1, 1)], dim=2),
    "split of the last axis": lambda x, w: x.split(2, dim=-1)[1] * w[:, 0, :2] + w.split([1, 2], 2)[1][:, :1],
    "split of an axis from the front": lambda x, w: w.split([3, 1], dim=1)[1] + x.sum(),
    "split of a missing axis": lambda x, w: x.split(1, dim=0)[0] * w.sum(),
    "stack": lambda x, w: torch.stack([x, w[:, :1, :1] * x], dim=-1),
    "sum of a real axis": lambda x, w: w.sum(dim=1, keepdim=True) * x.sum(dim=-1, keepdim=True),
    "largest of a real axis": lambda x, w: w.amax(dim=1) * x.argmax(dim=-1, keepdim=True),
    "largest of a missing axis": lambda x, w: x.amax(dim=1) + w.argmax(0, keepdim=True).to(w.dtype).sum(),
    "sum of a missing axis": lambda x, w: x.sum(dim=(0, 1)) + w.sum(),
    "slices": lambda x, w: w[:, 1:3] * x[:, :, 1:4],
    "slice of a missing axis": lambda x, w: x[:, 0:1] + w[0:1].sum(),
    "select": lambda x, w: w[:, 2] * x[:, 0, 1:2],
    "select a missing axis": lambda x, w: x[0] * w[0, 1, 1],
    "unbind": lambda x, w: sum(x.unbind(-1), torch.zeros(())) * w[:, 0, :1],
    "reshape and expand": lambda x, w: x.reshape(1, 2, 2).expand(3, 2, 2) + w.reshape(1, 12)[:, :1, None],
    "squeeze": lambda x, w: x.squeeze(1).squeeze(0) * w.squeeze(0).sum(),
    "keyword arguments": lambda x, w: (
        torch.nn.functional.softplus(x, beta=2.0) + torch.clamp(w, min=0.1).sum()
    ),
    "operations without a rule": lambda x, w: torch.cumsum(x, dim=2) + torch.flip(w, dims=[1]).sum(),
    "a constant filled in place": _filled,
    "an input's copy changed in place": _in_place_on_a_view,
}


def _device(function: Function, x: Tensor, w: Tensor) -> tuple[fx.GraphModule, Tensor]:
    expected = function(x[None, None], w[None])
    shape = tuple(expected.shape)
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    graph = on_device(
        lambda a, b: (function(a, b),), (2, 1), (torch.zeros_like(x), torch.zeros_like(w)), (shape,)
    )
    return graph, expected.reshape(shape)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_numbers_without_the_axes(name: str) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(4), torch.randn(4, 3)
    graph, expected = _device(FUNCTIONS[name], x, w)
    (found,) = graph(x, w)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_same_numbers_for_a_gradient() -> None:
    """As in an inner step: the backward pass of a product, a reduction and a clamp."""

    def step(x: Tensor, w: Tensor) -> Tensor:
        def loss(weights: Tensor) -> Tensor:
            return (nn.hardtanh(torch.bmm(x, weights)) ** 2).sum() + torch.log(weights.abs() + 1.0).mean()

        return w - 0.1 * torch.func.grad(loss)(w)

    torch.manual_seed(1)
    x, w = torch.randn(4), torch.randn(4, 3)
    graph, expected = _device(step, x, w)
    torch.testing.assert_close(graph(x, w)[0], expected, rtol=1e-6, atol=1e-6)


def test_a_layer_needs_no_reshaping_but_that_of_its_input() -> None:
    def layer(x: Tensor, w: Tensor) -> Tensor:
        hidden = torch.tanh(torch.baddbmm(w[:, :1], x, w))
        return (hidden * 2.0).unsqueeze(0).squeeze(0)

    graph, _ = _device(layer, torch.zeros(4), torch.zeros(4, 3))
    calls = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert calls == [
        f"aten.{name}"
        for name in (
            "slice.Tensor",
            "unsqueeze.default",
            "addmm.default",
            "tanh.default",
            "mul.Tensor",
            "view.default",
        )
    ]
