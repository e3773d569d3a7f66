"""A tick in C: any function of tensors that hands what is carried from one tick to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, fx

from acclimate_trainer.compiled.stopwatch import COMPILING, STOPWATCH
from acclimate_trainer.compiled.ticks.kernel import Arguments, Kernel
from acclimate_trainer.compiled.ticks.trace import GROUPS, Inputs, Tick, Traced, trace, traced
from acclimate_trainer.contract.policy import Tensors

_FEW = 64  # numbers that may differ from task to task before each task gets lanes of its own


class Ticked(NamedTuple):
    """What is carried at the end (T, E, …), and what each tick recorded (T, E, S, …)."""

    carried: dict[str, Tensor]
    record: dict[str, Tensor]


class CompiledTick:
    """`tick` as a roll-out of many; compiled when it is first called with inputs that need a gradient, or do not."""

    def __init__(self, tick: Tick, example: Inputs, fading: int | None = None) -> None:
        """`example` has one task and one episode; for `fading` see `trace`. Raises NotCompiled."""
        self._names = {group: list(members) for group, members in zip(GROUPS, example, strict=True)}
        self._shapes = {name: x.shape for name, x in example.carried.items()}
        self._traced: Traced = trace(tick, example, fading)
        self._before: dict[tuple[str, int], fx.GraphModule] = {}
        self._kernels: dict[tuple[frozenset[int], tuple[str, ...]], Kernel] = {}

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """Tensors that the trace has taken as they were."""
        return self._traced.constants

    @property
    def kernels(self) -> int:
        """How many versions there are by now."""
        return len(self._kernels)

    @property
    def kept(self) -> bool:
        """Whether the next process finds all versions in the cache."""
        return all(kernel.library.kept for kernel in self._kernels.values())

    def __call__(self, inputs: Inputs, segment: Tensor | None = None, decay: float = 1.0) -> Ticked:
        """Run S ticks.

        inputs: carried (T, E, …), weights (T, …), machine (T, K, …), now (T, E, S, …), named as in the example.
        segment: which of the K is each task's machine at each tick, (T, S) int32; None: the first.
        decay: factor per tick, going backwards, on the gradient through what is carried and fades.
        Raises NotCompiled where the compiler is missing or refuses.
        """
        tasks, episodes, ticks = next(iter(inputs.now.values())).shape[:3]
        segments = max((x.shape[1] for x in inputs.machine.values()), default=1)
        values = {
            "carried": self._ordered("carried", inputs),
            "weights": self._made("weights", [x.unsqueeze(1) for x in self._ordered("weights", inputs)]),
            "machine": self._made("machine", self._ordered("machine", inputs)),
            "now": self._ordered("now", inputs),
        }
        leads = {"carried": (tasks, episodes), "weights": (tasks,), "machine": (tasks, segments),
                 "now": (tasks, episodes, ticks)}  # fmt: skip
        arguments = Arguments(*(_flat(values[group], leads[group]) for group in GROUPS))
        moved, share = self._placement(arguments.weights.detach())
        if moved:
            arguments = self._regrouped(values, moved, leads)
        kernel = self._kernel(moved, _wanted(arguments))
        if segment is None:
            segment = torch.zeros(tasks, ticks, dtype=torch.int32)
        carried, record = kernel(arguments, segment, decay, tasks_share=share)
        return Ticked(
            _split(carried, self._shapes, (tasks, episodes)),
            _split(record, self._traced.record, (tasks, episodes, ticks)),
        )

    def _ordered(self, group: str, inputs: Inputs) -> list[Tensor]:
        given: Tensors = getattr(inputs, group)
        return [given[name] for name in self._names[group]]

    def _made(self, group: str, own: Sequence[Tensor]) -> list[Tensor]:
        """The graph's inputs of a group, (T, K, …), from the tick's own, (T, K, …)."""
        before = self._traced.before[group]
        kept = [own[k] for k in before.kept]
        if before.module is None:
            return kept
        tasks, segments = own[0].shape[:2]
        given = [own[k].flatten(0, 1) for k in before.taken]
        key = group, tasks * segments
        if key not in self._before:
            self._before[key] = _batched(before.module, given)
        results = self._before[key](*given)
        return kept + [x.reshape(tasks, segments, *x.shape[1:]) for x in results]

    def _placement(self, weights: Tensor) -> tuple[frozenset[int], bool]:
        """Which of the graph's inputs count as a machine's numbers though they are weights; and whether tasks share
        the others (T, U), so that lanes of one block may be of several tasks."""
        same_as_first = weights == weights[:1]
        if bool(same_as_first.all()):
            return frozenset(), True
        graph = self._traced.graph
        places, sizes = graph.places("weights"), graph.sizes("weights")
        alike = torch.split(same_as_first.all(0), sizes)
        varying = [k for k, same in enumerate(alike) if not bool(same.all())]
        if sum(sizes[k] for k in varying) > _FEW:
            return frozenset(), False
        return frozenset(places[k] for k in varying), True

    def _regrouped(
        self,
        values: dict[str, list[Tensor]],
        moved: frozenset[int],
        leads: dict[str, tuple[int, ...]],
    ) -> Arguments:
        rest = {group: iter(tensors) for group, tensors in values.items()}
        groups: dict[str, list[Tensor]] = {group: [] for group in GROUPS}
        for k, (group, _) in enumerate(self._traced.graph.inputs):
            value = next(rest[group])
            home = "machine" if k in moved else group
            if home == "machine":
                value = value.expand(-1, leads["machine"][1], *value.shape[2:])
            groups[home].append(value)
        return Arguments(*(_flat(groups[group], leads[group]) for group in GROUPS))

    def _kernel(self, moved: frozenset[int], wanted: tuple[str, ...]) -> Kernel:
        if (moved, wanted) not in self._kernels:
            graph = self._traced.graph
            inputs = [
                ("machine" if k in moved else group, shape) for k, (group, shape) in enumerate(graph.inputs)
            ]
            regrouped = graph._replace(inputs=tuple(inputs))
            with STOPWATCH.on(COMPILING):
                self._kernels[moved, wanted] = Kernel(regrouped, wanted, self._traced.fading)
        return self._kernels[moved, wanted]


def _batched(module: fx.GraphModule, example: Sequence[Tensor]) -> fx.GraphModule:
    """What is made of one task's inputs (1, …), made of many tasks' (N, …): written out once, since vmap is slow."""

    def made(*each: Tensor) -> tuple[Tensor, ...]:
        return tuple(module(*(x.unsqueeze(0) for x in each)))

    return traced(torch.vmap(made), [x.detach().clone() for x in example], decomposed=False)


def _wanted(arguments: Arguments) -> tuple[str, ...]:
    """The groups that need a gradient; what is carried hands it on."""
    if not (torch.is_grad_enabled() and any(x.requires_grad for x in arguments)):
        return ()
    return tuple(g for g, x in zip(GROUPS, arguments, strict=True) if x.requires_grad or g == "carried")


def _flat(tensors: Sequence[Tensor], lead: Sequence[int]) -> Tensor:
    """Side by side, one row for each of `lead`."""
    if not tensors:
        return torch.zeros(*lead, 0)
    return torch.cat([x.reshape(*lead, -1) for x in tensors], dim=-1)


def _split(whole: Tensor, shapes: Mapping[str, torch.Size], lead: Sequence[int]) -> dict[str, Tensor]:
    parts = torch.split(whole, [shape.numel() for shape in shapes.values()], dim=-1)
    return {
        name: part.reshape(*lead, *shape[2:])
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
