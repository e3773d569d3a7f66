"""A tick as a C function."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from acclimate_trainer.compiled.ticks.elements import Product, Source
from acclimate_trainer.compiled.ticks.loops import Part, Run, Schedule, Statement, schedule
from acclimate_trainer.compiled.ticks.pointwise import TABLE
from acclimate_trainer.compiled.ticks.program import Deferred, Program

_INDENT = "    "


def tick_function(name: str, program: Program, arrays: Sequence[str]) -> str:
    """`static void name(...)` whose parameters are the program's sources, then `arrays`, those that it stores into."""
    return _Function(program).text(name, arrays)


def flush_function(name: str, deferred: Sequence[Deferred], logged: int) -> str:
    """`static void name(lanes *sum, const lanes *log, long ticks)` adds what the logs of some ticks are worth."""
    calls = [
        f"add_outer(sum + {d.place}, {d.by_row}, {d.by_column}, log + {d.a}, log + {d.b}, {logged}, ticks, "
        f"{d.rows}, {d.columns});"
        for d in deferred
    ]
    return _function(name, ["lanes *restrict sum", "const lanes *restrict log", "long ticks"], calls)


def _function(name: str, parameters: Sequence[str], body: Sequence[str]) -> str:
    head = f"static __attribute__((noinline)) void {name}({', '.join(parameters)})"
    return "\n".join([head, "{", *(_INDENT + line for line in body), "}", ""])


class _Function:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._schedule: Schedule = schedule(program)
        self._tables: list[str] = []
        self._local: set[int] = set()  # elements that are variables where the text has got to
        self._in_loop: set[int] = set()  # first elements of the rows that the loop around it has made

    def text(self, name: str, arrays: Sequence[str]) -> str:
        sources = [
            f"const {'float' if s.uniform else 'lanes'} *restrict {s.name}" for s in self._program.sources
        ]
        body = [line for part in self._schedule.parts for line in self._part(part)]
        slots = len(self._schedule.slots)
        memory = [f"lanes s[{slots}];"] if slots else []
        parameters = [*sources, *(f"lanes *restrict {array}" for array in arrays)]
        return _function(name, parameters, [*self._tables, *memory, *body])

    def _part(self, part: Part) -> Iterator[str]:
        if isinstance(part, Product):
            yield self._product(part)
        elif part.size == 1:
            for statement in part.statements:
                yield from self._statement(statement, "")
        else:
            yield f"for (int i = 0; i < {part.size}; i++) {{"
            for statement in part.statements:
                yield from (_INDENT + line for line in self._statement(statement, " + i"))
            yield "}"
            self._in_loop = set()

    def _product(self, part: Product) -> str:
        weights = self._source(part.weight)
        assert weights is not None
        to = f"s + {self._schedule.slots[part.first]}"
        w = f"{weights.name} + {part.weight - weights.first}"
        return (
            f"multiply({to}, {self._address(part.x)}, {w}, {part.inputs}, {part.outputs}, "
            f"{part.by_input}, {part.by_output});"
        )

    def _statement(self, statement: Statement, index: str) -> Iterator[str]:
        operands = [self._operand(run, index) for run in statement.operands]
        code = TABLE[statement.operator].code.format(*operands)
        if statement.array:
            # A truth value that is an output goes out as a number.
            value = f"one_if({code})" if statement.operands[0].first in self._program.masks else code
            yield f"{statement.array}[{statement.place}{index}] {'+=' if statement.add else '='} {value};"
            return
        is_mask = statement.first in self._program.masks
        variable = f"e{statement.first}"
        yield f"{'mask' if is_mask else 'lanes'} {variable} = {code};"
        (self._in_loop if index else self._local).add(statement.first)
        if statement.first in self._schedule.slots:
            value = f"(lanes){variable}" if is_mask else variable
            yield f"s[{self._schedule.slots[statement.first]}{index}] = {value};"

    def _operand(self, run: Run, index: str) -> str:
        if run.table:
            return f"splat({self._table(run.table)}[i])"
        if run.first < 0:
            return _constant(self._program.constants[-run.first - 1])
        own = index if run.step else ""
        source = self._source(run.first)
        if source is not None:
            place = f"{source.name}[{run.first - source.first}{own}]"
            return f"splat({place})" if source.uniform else place
        if run.first in (self._in_loop if run.step and index else self._local):
            return f"e{run.first}"
        slot = f"s[{self._schedule.slots[run.first]}{own}]"
        return f"(mask){slot}" if run.first in self._program.masks else slot

    def _table(self, ids: tuple[int, ...]) -> str:
        name = f"table{len(self._tables)}"
        values = ", ".join(_literal(self._program.constants[-x - 1]) for x in ids)
        self._tables.append(f"static const float {name}[] = {{{values}}};")
        return name

    def _source(self, element: int) -> Source | None:
        return next((s for s in self._program.sources if s.first <= element < s.first + s.size), None)

    def _address(self, element: int) -> str:
        source = self._source(element)
        if source is None:
            return f"s + {self._schedule.slots[element]}"
        return f"{source.name} + {element - source.first}"


def _constant(value: float) -> str:
    return f"splat({_literal(value)})"


def _literal(value: float) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{float(value):.9g}f" if "." in f"{value:.9g}" or "e" in f"{value:.9g}" else f"{value:.9g}.0f"
