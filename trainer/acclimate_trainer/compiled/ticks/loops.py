"""From single numbers back to loops: which statements of a tick run together, and what has to lie in memory.

Rows whose operands lie in a row themselves become loops; whatever is short or irregular is written out, statement by
statement. Loops of the same length run as one where nothing forbids it, so that what one computes and the next needs
stays in a register. The others' results lie in the scratch memory, one slot for each element.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from acclimate_trainer.compiled.ticks.elements import Product, Row
from acclimate_trainer.compiled.ticks.program import Program, Store

_SHORTEST = 8  # loop


class Run(NamedTuple):
    """An operand of a loop: elements in a row, or with `step` 0 one for all; or numbers of their own, in `table`."""

    first: int
    step: int
    table: tuple[int, ...] = ()


class Statement(NamedTuple):
    """`size` elements from `first` on, by an operator of the pointwise table; or a store of its only operand."""

    operator: str
    first: int
    size: int
    operands: tuple[Run, ...]
    array: str = ""
    place: int = 0
    add: bool = False

    def elements(self) -> range:
        return range(self.first, self.first + (0 if self.array else self.size))


@dataclass
class Loop:
    """Statements in one loop over `size` elements; with a size of 1, plain statements in their order."""

    size: int
    statements: list[Statement] = field(default_factory=list)


Part: TypeAlias = Loop | Product


class Schedule(NamedTuple):
    """The parts in their order, and the slot of every element that has to lie in memory."""

    parts: tuple[Part, ...]
    slots: dict[int, int]


def schedule(program: Program) -> Schedule:
    parts = _fused(program)
    return Schedule(tuple(parts), _slots(program, parts))


def statements(program: Program) -> Iterable[Statement | Product]:
    regions = _Regions(program)
    for step in program.steps:
        if isinstance(step, Product):
            yield step
        else:
            yield from regions.split_row(step)
    for store in program.stores:
        yield from regions.split_store(store)


class _Regions:
    """Cuts rows into runs: a run must not go from one array into another."""

    def __init__(self, program: Program) -> None:
        self._starts = {source.first for source in program.sources} | {
            source.first + source.size for source in program.sources
        }

    def split_row(self, row: Row) -> Iterable[Statement]:
        for begin, end, operands in self._runs(row.operands):
            yield Statement(row.operator, row.first + begin, end - begin, operands)

    def split_store(self, store: Store) -> Iterable[Statement]:
        for begin, end, operands in self._runs((store.ids,), store.places):
            place = store.places[begin]
            yield Statement("copy", 0, end - begin, operands, store.array, place, store.add)

    def _runs(
        self, columns: Sequence[tuple[int, ...]], places: tuple[int, ...] | None = None
    ) -> Iterable[tuple[int, int, tuple[Run, ...]]]:
        count, begin = len(columns[0]), 0
        while begin < count:
            end = min(self._end(column, begin) for column in columns)
            if places is not None:
                end = min(end, _end_of_places(places, begin))
            if end - begin < _SHORTEST:
                end = begin + 1
            yield begin, end, tuple(_run(column[begin:end]) for column in columns)
            begin = end

    def _end(self, column: tuple[int, ...], begin: int) -> int:
        """Where the stretch that begins there stops being a run."""
        end = begin + 1
        if end == len(column):
            return end
        if column[begin] < 0:
            while end < len(column) and column[end] < 0:
                end += 1
            return end
        step = column[end] - column[begin]
        while (
            step in (0, 1)
            and end < len(column)
            and column[end] - column[end - 1] == step
            and not (step == 1 and column[end] in self._starts)
        ):
            end += 1
        return end


def _end_of_places(places: tuple[int, ...], begin: int) -> int:
    end = begin + 1
    while end < len(places) and places[end] == places[end - 1] + 1:
        end += 1
    return end


def _run(column: tuple[int, ...]) -> Run:
    if len(set(column)) == 1:
        return Run(column[0], 0)
    return Run(column[0], 1) if column[0] >= 0 else Run(column[0], 0, column)


def _fused(program: Program) -> list[Part]:
    """Every statement goes into the first loop of its length that comes late enough."""
    parts: list[Part] = []
    made: dict[int, tuple[int, Statement | Product]] = {}  # by element: which part, what
    for statement in statements(program):
        if isinstance(statement, Product):
            made |= {x: (len(parts), statement) for x in _range(statement)}
            parts.append(statement)
            continue
        earliest = max((_after(statement, run, made) for run in statement.operands), default=0)
        number = next(
            (k for k in range(earliest, len(parts)) if _fits(parts[k], statement)),
            len(parts),
        )
        if number == len(parts):
            parts.append(Loop(statement.size))
        part = parts[number]
        assert isinstance(part, Loop)
        part.statements.append(statement)
        made |= dict.fromkeys(statement.elements(), (number, statement))
    return parts


def _range(product: Product) -> range:
    return range(product.first, product.first + product.outputs)


def _fits(part: Part, statement: Statement) -> bool:
    return isinstance(part, Loop) and part.size == statement.size


def _after(statement: Statement, run: Run, made: dict[int, tuple[int, Statement | Product]]) -> int:
    """The first part that may read the run."""
    needed = [made[x] for x in covered(run, statement.size) if x in made]
    return max((number + (not _in_step(statement, run, maker)) for number, maker in needed), default=0)


def covered(run: Run, count: int) -> range:
    """The elements of a run, constants being none."""
    return range(0) if run.first < 0 else range(run.first, run.first + (count if run.step else 1))


def _in_step(statement: Statement, run: Run, maker: Statement | Product) -> bool:
    """Whether each turn of a loop needs of the other just what the same turn of that makes."""
    if isinstance(maker, Product) or maker.size != statement.size:
        return False
    return statement.size == 1 or (run.step == 1 and run.first == maker.first)


def _slots(program: Program, parts: Sequence[Part]) -> dict[int, int]:
    """Memory for what products read and write, for what loops read in a row, and for what they leave to others."""
    makers: dict[int, tuple[int, Statement]] = {}
    needed: set[int] = set()
    for number, part in enumerate(parts):
        if isinstance(part, Product):
            needed.update(_range(part), range(part.x, part.x + part.inputs))
            continue
        for statement in part.statements:
            makers |= dict.fromkeys(statement.elements(), (number, statement))
    for number, part in enumerate(parts):
        for statement in part.statements if isinstance(part, Loop) else ():
            for run in statement.operands:
                needed.update(_in_memory(statement, run, number, makers))
    for x in list(needed):  # a loop stores all that it makes, or nothing
        if x in makers and makers[x][1].size > 1:
            needed.update(makers[x][1].elements())
    outside = {x for source in program.sources for x in range(source.first, source.first + source.size)}
    return {x: slot for slot, x in enumerate(sorted(needed - outside))}


def _in_memory(
    statement: Statement, run: Run, number: int, makers: dict[int, tuple[int, Statement]]
) -> Iterable[int]:
    """What of a run cannot stay in a register until it is read."""
    in_a_row = statement.size > 1 and run.step == 1
    for x in covered(run, statement.size):
        if x in makers:
            home, maker = makers[x]
            if (home != number and (maker.size > 1 or in_a_row)) or (in_a_row and maker.size == 1):
                yield x
