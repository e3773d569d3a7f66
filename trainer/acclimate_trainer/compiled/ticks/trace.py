"""A tick, and its vector-Jacobian product, as graphs of torch's operators on one episode of one machine.

A tick is a function of tensors (T, E, …) that never mixes tasks nor episodes, so that it can be traced with one of
each; what the trace then holds is done for every lane. What depends on nothing but weights, or on nothing but the
machine's numbers, is taken out of it: it is the same in every tick, and torch computes it once per roll-out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, fx

from acclimate_trainer.compiled.ticks.decompositions import decompositions
from acclimate_trainer.compiled.ticks.errors import NotCompiled, place_of
from acclimate_trainer.contract.graphs import graph_of
from acclimate_trainer.contract.policy import Tensors

Tick: TypeAlias = Callable[[Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]
"""(carried, weights, machine, now) -> (carried', record); see `Inputs`."""

GROUPS = ("carried", "weights", "machine", "now")
CONSTANT = ("weights", "machine")  # over a roll-out, or over a part of one
_aten = torch.ops.aten
_VIEWS = frozenset(
    {_aten.view.default, _aten._unsafe_view.default, _aten.permute.default, _aten.transpose.int, _aten.t.default,
     _aten.unsqueeze.default, _aten.squeeze.default, _aten.squeeze.dim, _aten.squeeze.dims, _aten.expand.default,
     _aten.slice.Tensor, _aten.select.int, _aten.alias.default, _aten.detach.default, _aten.clone.default}
)  # fmt: skip


class Inputs(NamedTuple):
    """What a tick sees, by name.

    carried: what one tick hands to the next (T, E, …)
    weights: a policy's numbers, which many tasks may share (T, …)
    machine: numbers of its own for each task, which may change in mid-trial (T, …)
    now: what is new in every tick (T, E, …)
    """

    carried: Tensors
    weights: Tensors
    machine: Tensors
    now: Tensors


class Graph(NamedTuple):
    """`module` of tensors with one task and one episode, in order of `inputs`, each a group and a shape."""

    module: fx.GraphModule
    inputs: tuple[tuple[str, torch.Size], ...]
    outputs: tuple[tuple[str, torch.Size], ...]  # "carried" or "record"

    def places(self, group: str) -> list[int]:
        return [k for k, (name, _) in enumerate(self.inputs) if name == group]

    def sizes(self, group: str) -> list[int]:
        """How many numbers each of a group's inputs holds."""
        return [shape.numel() for name, shape in self.inputs if name == group]


class Before(NamedTuple):
    """What a group's inputs of a graph are made of, once per roll-out: some of the tick's own, then others of them."""

    kept: tuple[int, ...]
    taken: tuple[int, ...]  # of the tick's own, what the module takes
    module: fx.GraphModule | None  # with one task


class Traced(NamedTuple):
    """A tick without what is constant in it."""

    graph: Graph
    before: Mapping[str, Before]  # by group
    record: Mapping[str, torch.Size]  # shapes of one task and one episode
    fading: int  # numbers of what is carried, the first of them, on which `decay` acts
    constants: tuple[Tensor, ...]  # what the functions hold themselves


def trace(
    tick: Tick, example: Inputs, fading: int | None = None, *, taken_out: Collection[str] = CONSTANT
) -> Traced:
    """`example` has one task and one episode. Raises NotCompiled, saying where, for what cannot be traced.

    fading: how many of the tensors carried, from the first on, the gradient fades through; None: all.
    taken_out: groups of which that is taken out of the tick which depends on nothing else.
    """
    names = [list(group) for group in example]
    record: dict[str, torch.Size] = {}

    def flat(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        carried, seen = tick(*({name: next(rest) for name in group} for group in names))
        if carried.keys() != example.carried.keys():
            raise NotCompiled(
                f"a tick hands on {', '.join(carried) or 'nothing'}, and begins with {', '.join(example.carried)}"
            )
        record.update({name: value.shape for name, value in seen.items()})
        return [carried[name] for name in names[0]] + list(seen.values())

    # Copies, since a trace tells its inputs apart by what tensor they are.
    tensors = [value.detach().clone() for group in example for value in group.values()]
    _check(example)
    # Its own operators, since a decomposed one has another derivative where it has a kink, and `detach` none.
    module = traced(flat, tensors, decomposed=False)
    groups = [group for group, members in zip(GROUPS, names, strict=True) for _ in members]
    inputs = tuple((group, tensor.shape) for group, tensor in zip(groups, tensors, strict=True))
    outputs = [("carried", value.shape) for value in example.carried.values()]
    outputs += [("record", shape) for shape in record.values()]
    constants = tuple(module.get_buffer(str(node.target)) for node in module.graph.find_nodes(op="get_attr"))
    graph = Graph(module, inputs, tuple(outputs))
    before: dict[str, Before] = {}
    for group in taken_out:
        graph, before[group] = _taken_out(graph, group)
    count = sum(graph.sizes("carried")[:fading])
    return Traced(graph, before, record, count, constants)


def adjoint(graph: Graph, kept: Sequence[int]) -> fx.GraphModule:
    """The graph's inputs, then a cotangent of each output -> a cotangent of the inputs to be kept."""
    count = len(graph.inputs)

    def product(*tensors: Tensor) -> tuple[Tensor, ...]:
        primals, cotangents = list(tensors[:count]), tensors[count:]

        def function(*changing: Tensor) -> tuple[Tensor, ...]:
            for k, tensor in zip(kept, changing, strict=True):
                primals[k] = tensor
            return tuple(graph.module(*primals))

        pull_back = torch.func.vjp(function, *(primals[k] for k in kept))[1]
        cotangent: tuple[Tensor, ...] = pull_back(cotangents)
        return cotangent

    example = [torch.zeros(shape) for _, shape in (*graph.inputs, *graph.outputs)]
    return traced(product, example)


def forward(graph: Graph) -> fx.GraphModule:
    """The graph in core operators."""
    return traced(graph.module, [torch.zeros(shape) for _, shape in graph.inputs])


def traced(
    function: Callable[..., Iterable[Tensor]], example: Sequence[Tensor], *, decomposed: bool = True
) -> fx.GraphModule:
    """A graph of torch's operators, or with `decomposed` of its core operators, without what nothing needs.

    Raises NotCompiled, saying where.
    """
    pure = torch.func.functionalize(function, remove="mutations")
    table = decompositions() if decomposed else {}
    try:
        module = graph_of(pure, example, table)
    except NotCompiled:
        raise
    except Exception as error:  # whatever a user's function raises, torch would say as well
        raise NotCompiled(_refusal(error)) from error
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _refusal(error: Exception) -> str:
    place = place_of(error)
    if "data-dependent control flow" in str(error):
        return f"it branches on data{place}, where a compiled tick does the same in all episodes"
    said = " ".join(str(error).split()) or type(error).__name__
    return f"it cannot be traced: {said[:200]}{place}"


def _check(example: Inputs) -> None:
    for group, members in zip(GROUPS, example, strict=True):
        for name, value in members.items():
            if value.dtype != torch.float32:
                raise NotCompiled(
                    f"{group} {name!r} is {value.dtype}, where compiled ticks know float32 only"
                )


def _taken_out(graph: Graph, group: str) -> tuple[Graph, Before]:
    """The graph with what depends on one group alone as inputs, less what nothing reads; and what makes these."""
    nodes, mine = list(graph.module.graph.nodes), set(graph.places(group))
    placeholders = [node for node in nodes if node.op == "placeholder"]
    own = [placeholders[k] for k in sorted(mine)]
    computed = _computed(nodes, set(own))
    edge = [n for n in nodes if n in computed and any(user not in computed for user in n.users)]
    hoisted = [node for node in edge if isinstance(node.meta.get("val"), Tensor)]
    kept = [node for node in own if any(user not in computed for user in node.users)]
    rest = [node for k, node in enumerate(placeholders) if k not in mine or node in kept]
    groups = dict(zip(placeholders, graph.inputs, strict=True))
    inputs = [groups[node] for node in rest] + [(group, node.meta["val"].shape) for node in hoisted]
    after = _extract(graph.module, [*rest, *hoisted], _outputs(graph.module))
    read = ancestors(hoisted)
    taken = [node for node in own if node in read]
    module = _extract(graph.module, taken, hoisted) if hoisted else None
    places, needed = (tuple(k for k, node in enumerate(own) if node in some) for some in (kept, taken))
    return Graph(after, tuple(inputs), graph.outputs), Before(places, needed, module)


def _computed(nodes: Iterable[fx.Node], own: set[fx.Node]) -> set[fx.Node]:
    """Nodes that depend on `own` and constants alone, and are more than views of them."""
    same: set[fx.Node] = set(own)  # views of own
    fixed: set[fx.Node] = set()  # constants
    computed: set[fx.Node] = set()
    for node in nodes:
        if node.op == "get_attr" or (node.op == "call_function" and fixed.issuperset(node.all_input_nodes)):
            fixed.add(node)
        elif node.op == "call_function" and (same | fixed | computed).issuperset(node.all_input_nodes):
            is_view = node.target in _VIEWS and same.issuperset(node.all_input_nodes)
            (same if is_view else computed).add(node)
    return computed


def ancestors(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """All that these are made of, and they themselves."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _outputs(module: fx.GraphModule) -> list[fx.Node]:
    (result,) = next(iter(module.graph.find_nodes(op="output"))).args
    assert isinstance(result, list | tuple)
    return [node for node in result if isinstance(node, fx.Node)]


def _extract(module: fx.GraphModule, inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> fx.GraphModule:
    """What makes `outputs` from `inputs`, and from constants."""
    graph, copies = fx.Graph(), {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    for node in module.graph.nodes:
        if node not in copies and node.op not in ("placeholder", "output") and _available(node, copies):
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(tuple(copies[node] for node in outputs))
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)


def _available(node: fx.Node, copies: Mapping[fx.Node, fx.Node]) -> bool:
    return all(n in copies for n in node.all_input_nodes)
