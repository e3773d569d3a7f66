"""The steps of a tick that anything depends on, and where its results go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from acclimate_trainer.compiled.ticks.elements import Elements, Outer, Product, Row, Source

LOG = "log"


class Store(NamedTuple):
    """array[places[i]] = element ids[i], or += it."""

    array: str
    places: tuple[int, ...]
    ids: tuple[int, ...]
    add: bool = False


class Deferred(NamedTuple):
    """A gradient of weights, Σ a[i]·b[j] over ticks, which is cheaper for several ticks at once.

    Each tick leaves a and b in the log, at `a` and `b`; entry (i, j) belongs to place + i·by_row + j·by_column.
    """

    place: int
    by_row: int
    by_column: int
    rows: int
    columns: int
    a: int
    b: int


class Program(NamedTuple):
    """One tick."""

    sources: tuple[Source, ...]
    constants: tuple[float, ...]
    masks: frozenset[int]
    steps: tuple[Row | Product, ...]
    stores: tuple[Store, ...]
    deferred: tuple[Deferred, ...]
    logged: int  # numbers that one tick leaves in the log


class Results(NamedTuple):
    """Elements by the array that they go to; those of `sums` are added up over ticks."""

    stores: Mapping[str, Sequence[int]]
    sums: Mapping[str, Sequence[int]]
    weights: str = ""
    """The sum whose outer products may be deferred."""


def program(elements: Elements, results: Results) -> Program:
    """What is needed for these results, and nothing else."""
    stores = [Store(name, tuple(range(len(ids))), tuple(ids)) for name, ids in results.stores.items()]
    deferred: list[Deferred] = []
    for name, ids in results.sums.items():
        terms = list(_terms(elements, ids))
        if name == results.weights:
            terms = _defer(elements, terms, stores, deferred)
        if kept := [(place, element) for place, element in terms if elements.value(element) != 0.0]:
            places, values = zip(*kept, strict=True)
            stores.append(Store(name, places, values, add=True))
    steps = _live(elements, stores)
    logged = sum(len(store.ids) for store in stores if store.array == LOG)
    return Program(
        tuple(elements.sources), tuple(elements.constants), frozenset(elements.masks), steps, tuple(stores),
        tuple(deferred), logged,
    )  # fmt: skip


def _terms(elements: Elements, ids: Sequence[int]) -> Iterable[tuple[int, int]]:
    """(place, element) whose sums by place are what `ids` are: sums of outer products taken apart."""
    sums = {row.first + i: (row, i) for row in elements.steps if isinstance(row, Row) and row.operator == "add"
            for i in range(row.size)}  # fmt: skip
    outer = _ids_of_outers(elements)
    for place, element in enumerate(ids):
        waiting = [element]
        while waiting:
            last = waiting.pop()
            row, i = sums.get(last, (None, 0))
            parts = [] if row is None else [column[i] for column in row.operands]
            if any(part in outer for part in parts):
                waiting += parts
            else:
                yield place, last


def _ids_of_outers(elements: Elements) -> set[int]:
    found: set[int] = set()
    for step in elements.steps:
        if isinstance(step, Outer):
            rows, columns = step.shape
            found.update(range(step.first, step.first + rows * columns))
    return found


def _defer(
    elements: Elements, terms: list[tuple[int, int]], stores: list[Store], deferred: list[Deferred]
) -> list[tuple[int, int]]:
    """Take the outer products that are whole out of `terms`; what is left is added up tick by tick."""
    log = 0
    for step in elements.steps:
        if not isinstance(step, Outer):
            continue
        rows, columns = step.shape
        mine = [(place, x) for place, x in terms if step.first <= x < step.first + rows * columns]
        layout = _layout(mine, step)
        if layout is None:
            continue
        for a, b in zip(step.a, step.b, strict=True):
            stores += [_logged(log, a), _logged(log + rows, b)]
            deferred.append(Deferred(*layout, rows, columns, log, log + rows))
            log += rows + columns
        taken = set(mine)
        terms = [term for term in terms if term not in taken]
    return terms


def _logged(place: int, ids: tuple[int, ...]) -> Store:
    return Store(LOG, tuple(range(place, place + len(ids))), ids)


def _layout(terms: list[tuple[int, int]], step: Outer) -> tuple[int, int, int] | None:
    """First place, and steps from row to row and column to column; None where they are not regular."""
    rows, columns = step.shape
    if len(terms) != rows * columns or len({x for _, x in terms}) != len(terms):
        return None
    places = torch.tensor([place for place, _ in sorted(terms, key=lambda term: term[1])]).view(rows, columns)
    first = int(places[0, 0])
    by_row = int(places[1, 0]) - first if rows > 1 else 0
    by_column = int(places[0, 1]) - first if columns > 1 else 0
    regular = first + by_row * torch.arange(rows).unsqueeze(1) + by_column * torch.arange(columns)
    return (first, by_row, by_column) if torch.equal(places, regular) else None


def _live(elements: Elements, stores: Sequence[Store]) -> tuple[Row | Product, ...]:
    """The steps, less the elements that no store needs. Outer products that one does are written out."""
    needed = {x for store in stores for x in store.ids if x >= 0}
    steps: list[Row | Product] = []
    for step in reversed(elements.steps):
        for part in reversed(_kept(elements, step, needed)):
            needed.update(x for x in _operands(part) if x >= 0)
            steps.append(part)
    return tuple(reversed(steps))


def _operands(step: Row | Product) -> Iterable[int]:
    if isinstance(step, Row):
        return (x for column in step.operands for x in column)
    return range(step.x, step.x + step.inputs)


def _kept(elements: Elements, step: Row | Product | Outer, needed: set[int]) -> list[Row | Product]:
    if isinstance(step, Product):
        return [step] if needed.intersection(range(step.first, step.first + step.outputs)) else []
    count = step.size if isinstance(step, Row) else step.shape[0] * step.shape[1]
    out: list[Row | Product] = []
    for begin, end in _stretches([step.first + i in needed for i in range(count)]):
        if isinstance(step, Row):
            operands = tuple(column[begin:end] for column in step.operands)
            out.append(Row(step.operator, step.first + begin, operands))
        else:
            out += _written_out(elements, step, begin, end)
    return out


def _stretches(wanted: Sequence[bool]) -> Iterable[tuple[int, int]]:
    """Begin and end of every stretch of true ones."""
    begin: int | None = None
    for i, inside in enumerate([*wanted, False]):
        if inside and begin is None:
            begin = i
        elif not inside and begin is not None:
            yield begin, i
            begin = None


def _written_out(elements: Elements, step: Outer, begin: int, end: int) -> list[Row]:
    """Products, then their sums, into the ids that entries `begin` to `end` of the outer product have."""
    columns = step.shape[1]
    places = [divmod(k, columns) for k in range(begin, end)]
    rows: list[Row] = []
    total: tuple[int, ...] | None = None
    for p, (a, b) in enumerate(zip(step.a, step.b, strict=True)):
        last = p == len(step.a) - 1
        factors = tuple(a[i] for i, _ in places), tuple(b[j] for _, j in places)
        first = step.first + begin if last and total is None else _fresh(elements, end - begin)
        rows.append(Row("multiply", first, factors))
        term = tuple(range(first, first + end - begin))
        if total is not None:
            first = step.first + begin if last else _fresh(elements, end - begin)
            rows.append(Row("add", first, (total, term)))
            term = tuple(range(first, first + end - begin))
        total = term
    return rows


def _fresh(elements: Elements, count: int) -> int:
    elements.count += count
    return elements.count - count
