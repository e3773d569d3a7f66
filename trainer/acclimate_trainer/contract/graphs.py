"""Functions of tensors, written down as graphs of torch's operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor, fx
from torch._guards import TracingContext, tracing
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

Decompositions = Mapping[OpOverload, Callable[..., object]]


def graph_of(
    function: Callable[..., Iterable[Tensor]],
    example: Sequence[Tensor],
    decompositions: Decompositions | None = None,
) -> fx.GraphModule:
    """What `function` does with `example`, operator by operator.

    In a context, since without one torch notes each result's shape in a mode of its own, which takes twice as long.
    """
    with tracing(TracingContext(FakeTensorMode())):
        module: fx.GraphModule = make_fx(function, decomposition_table=dict(decompositions or {}))(*example)
    return module
