"""Whether a function of tensors is one graph for all data, so that it can be exported and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor
from torch.overrides import TorchFunctionMode

from acclimate_trainer.compiled.ticks.errors import place_of
from acclimate_trainer.testing.subject import Subject

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
_EXPECTED = "expected tensor operations only: no branch on data, no item(), no numpy"
BRANCHES = "branches on data"
_READERS = {
    Tensor.__bool__: BRANCHES,
    Tensor.__float__: "makes a Python number of data",
    Tensor.__int__: "makes a Python number of data",
    Tensor.__index__: "makes a Python number of data",
    Tensor.__array__: "makes a numpy array of data",
    Tensor.numpy: "makes a numpy array of data",
    Tensor.item: "makes a Python number of data",
    Tensor.tolist: "makes Python numbers of data",
}
_ROUNDING = (
    1e-3  # a graph may compute in another order, and a difference over one period magnifies what that does
)


class _ReadError(Exception):
    """Something looked into a tensor."""


class _Watch(TorchFunctionMode):
    """Raises _ReadError where anything looks at the numbers in a tensor."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        del types
        if func in _READERS:
            raise _ReadError(_READERS[func])
        return func(*args, **(kwargs or {}))


def faults(
    s: Subject, member: str, make: Callable[[], Function], data: Sequence[Tensor], other: Sequence[Tensor]
) -> Iterator[str]:
    """Why what `make` makes is not one graph: traced on `data`, it is tried on `other`.

    make: gives the function anew, as it is before its first call, where it is not pure.
    """
    try:
        with _Watch():
            make()(*data)
    except _ReadError as error:
        yield f"{member} {error}{place_of(error)}, {_EXPECTED}"
        return
    if not s.quick:  # what traces brings in half of sympy, which takes seconds
        yield from _graph_faults(member, make, data, other)


def _graph_faults(
    member: str, make: Callable[[], Function], data: Sequence[Tensor], other: Sequence[Tensor]
) -> Iterator[str]:
    from acclimate_trainer.contract.graphs import graph_of

    run = make()  # on copies, since inputs that are one tensor would become one input
    try:
        graph = graph_of(run, [x.clone() for x in data])
    except Exception as error:  # noqa: BLE001  (whatever it may be)
        what = str(error).strip().split("\n", 1)[0]
        yield f"{member} cannot be traced ({what}), {_EXPECTED}"
        return
    for found, wanted in zip(graph(*other), make()(*other), strict=True):
        if bool(((found - wanted).abs() > _ROUNDING * (1.0 + wanted.abs())).any()):
            yield f"{member} does something else when it is traced with other data, {_EXPECTED}"
