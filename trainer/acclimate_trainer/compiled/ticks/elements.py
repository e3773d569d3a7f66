"""A tick taken apart into single numbers, each computed once: what a trace's tensors are made of.

Every number that differs from episode to episode is an element, and every element has an id, 0, 1, … in the order in
which they are computed; constants have negative ids. A tensor is then a tensor of ids (int64), and whatever only moves
numbers about (views, slices, concatenations, transpositions) is done on ids, here and now, and costs nothing when the
tick runs. Elements with ids in a row come to lie in a row in memory, so that one loop computes them.

An expression of the same operands is the same element, and what is always 0 or 1 is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Ids: TypeAlias = Tensor
"""Element ids, int64, in the shape of the tensor that they stand for."""


class Source(NamedTuple):
    """Elements that come from outside of the tick, in a row. `uniform`: the same number in all lanes of a block."""

    name: str
    first: int
    size: int
    uniform: bool


class Row(NamedTuple):
    """`operator` applied to rows of operands: element `first + i` from `operands[k][i]`."""

    operator: str
    first: int
    operands: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        return len(self.operands[0])


class Product(NamedTuple):
    """y[j] = Σᵢ weight[i, j]·x[i], where weight[i, j] is element `weight + i·by_input + j·by_output`."""

    first: int
    outputs: int
    x: int  # the first of `inputs` elements in a row
    inputs: int
    weight: int
    by_input: int
    by_output: int


class Outer(NamedTuple):
    """y[i, j] = Σₚ a[p][i]·b[p][j]: what the gradient of a product's weights is; computed only where it is needed."""

    first: int
    a: tuple[tuple[int, ...], ...]
    b: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.a[0]), len(self.b[0])


Step: TypeAlias = Row | Product | Outer


@dataclass
class Elements:
    """Collects the steps of one tick in the order in which they can run."""

    sources: list[Source] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    masks: set[int] = field(default_factory=set)
    """Ids of truth values."""
    count: int = 0
    _known: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)
    _constant_ids: dict[bytes, int] = field(default_factory=dict)

    def source(self, name: str, count: int, *, uniform: bool = False) -> Ids:
        self.sources.append(Source(name, self.count, count, uniform))
        return self._take(count)

    def constant(self, value: float) -> int:
        """The id of a constant; those of one bit pattern are one."""
        key = struct.pack("<d", value)
        if key not in self._constant_ids:
            self.constants.append(value)
            self._constant_ids[key] = -len(self.constants)
        return self._constant_ids[key]

    def constant_tensor(self, tensor: Tensor) -> Ids:
        ids = [self.constant(float(x)) for x in tensor.detach().reshape(-1).tolist()]
        return torch.tensor(ids, dtype=torch.int64).reshape(tensor.shape)

    def value(self, element: int) -> float | None:
        """Of a constant; None for what is computed."""
        return self.constants[-element - 1] if element < 0 else None

    def row(self, operator: str, operands: Sequence[Ids], simplified: Simplified, *, mask: bool) -> Ids:
        """`operator` on each element of the operands, broadcast against each other."""
        shape = torch.broadcast_shapes(*(ids.shape for ids in operands))  # type: ignore[no-untyped-call]
        columns = [ids.expand(shape).reshape(-1).tolist() for ids in operands]
        arguments = list(zip(*columns, strict=True))
        # First what is there already: to find that out may make elements of other operators.
        found = {
            one: self._known.get((operator, one), simplified(self, one)) for one in dict.fromkeys(arguments)
        }
        fresh = [one for one, element in found.items() if element is None]
        for number, one in enumerate(fresh):
            found[one] = self._known[operator, one] = self.count + number
        if fresh:
            self.steps.append(Row(operator, self.count, tuple(zip(*fresh, strict=True))))
            if mask:
                self.masks.update(range(self.count, self.count + len(fresh)))
            self.count += len(fresh)
        return torch.tensor([found[one] for one in arguments], dtype=torch.int64).reshape(shape)

    def in_a_row(self, ids: Sequence[int]) -> int:
        """The first of elements in a row that equal these: themselves, where they are in one, or copies."""
        if self._is_run(ids):
            return ids[0]
        key = ("copy", tuple(ids))
        if key not in self._known:
            self._known[key] = self.count
            self.steps.append(Row("copy", self.count, (tuple(ids),)))
            self.count += len(ids)
        return self._known[key]

    def _is_run(self, ids: Sequence[int]) -> bool:
        """Whether they are in a row, and in one array, each lane having its own."""
        if ids[0] < 0 or any(b != a + 1 for a, b in pairwise(ids)):
            return False
        first, last = self.source_of(ids[0]), self.source_of(ids[-1])
        return first is last and not (first is not None and first.uniform)

    def product(self, x: Sequence[int], weight: int, by_input: int, by_output: int, outputs: int) -> Ids:
        key = ("product", (*x, weight, by_input, by_output, outputs))
        if key not in self._known:
            first = self.in_a_row(x)
            self._known[key] = self.count
            self.steps.append(Product(self.count, outputs, first, len(x), weight, by_input, by_output))
            self.count += outputs
        return torch.arange(self._known[key], self._known[key] + outputs)

    def outer(self, a: Ids, b: Ids) -> Ids:
        """aᵀ·b of a (p, m) and b (p, n): (m, n)."""
        rows = tuple(map(tuple, a.tolist())), tuple(map(tuple, b.tolist()))
        self.steps.append(Outer(self.count, *rows))
        return self._take(a.shape[1] * b.shape[1]).reshape(a.shape[1], b.shape[1])

    def source_of(self, element: int) -> Source | None:
        return next((s for s in self.sources if s.first <= element < s.first + s.size), None)

    def _take(self, count: int) -> Ids:
        self.count += count
        return torch.arange(self.count - count, self.count)


Simplified: TypeAlias = Callable[[Elements, tuple[int, ...]], "int | None"]
"""An element that equals an operator's result for such operands, where one is there already."""
