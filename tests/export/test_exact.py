"""Numbers of a graph are the same on an engine: in float64, and where they are nearly 0 or 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from acclimate_export.graphs.exact import with_exact_numbers
from acclimate_export.graphs.onnx import to_onnx
from acclimate_export.graphs.tracing import Traced
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

Function = Callable[[Tensor], Tensor]
NEAR = [0.01, 0.0100001, 0.03, 0.25, 1.7]  # .01 and .03 are other numbers in float32
FUNCTIONS: dict[str, Function] = {
    "plus": lambda x: x + 0.01 - x,
    "minus": lambda x: (x - 0.01) - (x - 0.03),
    "times": lambda x: x * 0.01,
    "over": lambda x: x / 0.03,
    "number minus": lambda x: 0.01 - x,
    "to the power of": lambda x: x**0.3,
    "within": lambda x: x.clamp(0.01, 0.03),
    "at least and at most": lambda x: x.clamp(min=0.03).clamp(max=0.25),
    "at least": lambda x: x.clamp_min(0.03),
    "at most": lambda x: x.clamp_max(0.03),
    "hardtanh": lambda x: F.hardtanh(x, -0.01, 0.03),
    "below": lambda x: torch.where(x < 0.01, 1.0, 0.0),
    "at most, asked": lambda x: torch.where(x <= 0.03, 1.0, 0.0),
    "above": lambda x: torch.where(x > 0.01, 1.0, 0.0),
    "equal": lambda x: torch.where(x == 0.01, 1.0, 0.0),
    "full": lambda x: torch.full_like(x, 0.03) - x,
    "plus almost nothing": lambda x: 1e9 * ((x - x) + 1e-9),
    "less almost nothing": lambda x: 1e9 * ((x - x) - 1e-9),
    "almost once": lambda x: 1e6 * (x * 1.000003 - x),
    "by almost one": lambda x: 1e6 * (x / 0.999997 - x),
    "a single number": lambda x: x + 1e6 * (0.01 - x.mean() + 1e-9),
}


def traced() -> Traced:
    """All of them, side by side."""
    given = torch.tensor(NEAR)

    def graph(x: Tensor) -> tuple[Tensor, ...]:
        wide = x.double() + torch.tensor([v - float(np.float32(v)) for v in NEAR], dtype=torch.float64)
        return tuple((1e6 * function(wide)).float() for function in FUNCTIONS.values())

    return Traced(make_fx(graph)(given), {"x": given}, {name: (len(NEAR),) for name in FUNCTIONS})


def test_onnxruntime_computes_what_torch_does() -> None:
    here = traced()
    expected = here.graph(*here.inputs.values())
    session = onnxruntime.InferenceSession(to_onnx(here, "graph").model)
    found = session.run(None, {"x": here.inputs["x"].numpy()})
    for name, one, other in zip(FUNCTIONS, found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_graph_in_float32_stays_as_it_is_where_nothing_is_left_out_of_it() -> None:
    module = make_fx(lambda x: (0.01 - x) ** 0.3 + 0.0)(torch.ones(3))
    assert with_exact_numbers(module) is module


def test_in_float32_almost_nothing_is_not_nothing_either() -> None:
    given = torch.zeros(3)
    here = Traced(make_fx(lambda x: torch.log(x + 1e-9))(given), {"x": given}, {"y": (3,)})
    (found,) = onnxruntime.InferenceSession(to_onnx(here, "graph").model).run(None, {"x": given.numpy()})
    np.testing.assert_allclose(found, np.log(1e-9), rtol=1e-6)


def test_what_is_given_is_not_changed() -> None:
    here = traced()
    before = str(here.graph.graph)
    with_exact_numbers(here.graph)
    assert str(here.graph.graph) == before
