"""The C of a tick with its adjoint: one file, a function for each and the loops around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from acclimate_trainer.compiled.ticks.elements import Elements, Ids
from acclimate_trainer.compiled.ticks.emit import flush_function, tick_function
from acclimate_trainer.compiled.ticks.lowering import lower
from acclimate_trainer.compiled.ticks.program import LOG, Program, Results, program
from acclimate_trainer.compiled.ticks.trace import GROUPS, Graph, adjoint, forward

_SOURCES = {"carried": "carried", "weights": "uniform", "machine": "machine", "now": "now"}  # names in C
_GRADIENTS = {"carried": "d_carried", "weights": "sum", "machine": "d_machine", "now": "d_now"}
_SUMS = ("weights", "machine")


class Sizes(NamedTuple):
    """How many numbers one episode has of each."""

    carried: int
    weights: int
    machine: int
    now: int
    record: int


def sizes(graph: Graph) -> Sizes:
    carried, weights, machine, now = (sum(graph.sizes(group)) for group in GROUPS)
    record = sum(shape.numel() for group, shape in graph.outputs if group == "record")
    return Sizes(carried, weights, machine, now, record)


def c_source(graph: Graph, wanted: Sequence[str], fading: int, fixed: Collection[int] = ()) -> str:
    """wanted: groups of inputs that have a gradient; none: the roll-out forwards only. The others: see `Kernel`."""
    ahead = _forward(graph)
    backward = _backward(graph, wanted, fixed) if wanted else None
    functions = [tick_function("tick_forward", ahead, ["carried_out", "record"])]
    if backward is not None:
        functions += [
            tick_function("tick_backward", backward, [*_GRADIENTS.values(), LOG]),
            flush_function("tick_flush", backward.deferred, backward.logged),
        ]
    size = sizes(graph)
    values = {
        "CARRIED": size.carried,
        "FADING": fading,
        "UNIFORM": size.weights,
        "MACHINE": size.machine,
        "NOW": size.now,
        "RECORD": size.record,
        "LOGGED": backward.logged if backward else 0,
        "FUNCTIONS": "\n".join(functions),
    }
    frame = _text("frame.c") if wanted else _text("frame.c").partition(_BACKWARD)[0]
    for name, value in values.items():
        frame = frame.replace(f"@{name}@", str(value))
    return "\n".join([*map(_text, ("lanes.c", "products.c", "rows.c")), frame])


_BACKWARD = "/* Backwards. */\n"


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / "c" / name).read_text(encoding="utf-8")


def _sources(elements: Elements, graph: Graph) -> list[Ids]:
    """Elements of the graph's inputs, a group being one array."""
    size, whole = sizes(graph), {}
    for group in GROUPS:
        count: int = getattr(size, group)
        whole[group] = elements.source(_SOURCES[group], count, uniform=group == "weights")
    parts = {group: iter(torch.split(ids, graph.sizes(group))) for group, ids in whole.items()}
    return [next(parts[group]).reshape(shape) for group, shape in graph.inputs]


def _flat(tensors: Sequence[Ids]) -> list[int]:
    return [x for ids in tensors for x in ids.reshape(-1).tolist()]


def _forward(graph: Graph) -> Program:
    elements = Elements()
    out = lower(elements, forward(graph), _sources(elements, graph))
    count = len(graph.places("carried"))
    return program(elements, Results({"carried_out": _flat(out[:count]), "record": _flat(out[count:])}, {}))


def _backward(graph: Graph, wanted: Sequence[str], fixed: Collection[int]) -> Program:
    elements = Elements()
    inputs = _sources(elements, graph)
    size = sizes(graph)
    cotangents = {
        "carried": elements.source("d_next", size.carried),
        "record": elements.source("d_record", size.record),
    }
    parts = {
        name: iter(torch.split(ids, [shape.numel() for group, shape in graph.outputs if group == name]))
        for name, ids in cotangents.items()
    }
    outputs = [next(parts[name]).reshape(shape) for name, shape in graph.outputs]
    kept = [k for k, (group, _) in enumerate(graph.inputs) if group in wanted and k not in fixed]
    found = dict(zip(kept, lower(elements, adjoint(graph, kept), inputs + outputs), strict=True))
    by_group: dict[str, list[Ids]] = {group: [] for group in wanted}
    for k, (group, shape) in enumerate(graph.inputs):
        if group in wanted:
            by_group[group].append(found[k] if k in found else elements.constant_tensor(torch.zeros(shape)))
    ids = {_GRADIENTS[group]: _flat(tensors) for group, tensors in by_group.items()}
    sums = {name: x for name, x in ids.items() if name in {_GRADIENTS[group] for group in _SUMS}}
    stores = {name: x for name, x in ids.items() if name not in sums}
    return program(elements, Results(stores, sums, weights=_GRADIENTS["weights"]))
