"""Roll-outs in C as a function of torch, differentiable: one call forwards, one backwards, for all tasks."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from acclimate_trainer.compiled.ticks.build import Job, Library, build
from acclimate_trainer.compiled.ticks.source import Sizes, c_source, sizes
from acclimate_trainer.compiled.ticks.trace import Graph


class Arguments(NamedTuple):
    """T tasks with E episodes each of S ticks; M machines' numbers in K segments. All contiguous, float32."""

    carried: Tensor  # (T, E, C)
    weights: Tensor  # (T, U), or (1, U) where all tasks share them
    machine: Tensor  # (T, K, M)
    now: Tensor  # (T, E, S, N)


class Plan(NamedTuple):
    """Which episodes run side by side; what all calls of one size have in common."""

    row: Tensor  # task·E + episode of each lane of each block, int32; −1 for none
    sum_row: Tensor  # of each block, int32: the first of its tasks' sums
    sum_task: Tensor  # of each of those sums, int64: the task
    blocks: int


class Kernel:
    """A tick in C."""

    def __init__(self, graph: Graph, wanted: Sequence[str], fading: int) -> None:
        """wanted: the groups that have a gradient. fading: see `Traced`. Raises NotCompiled."""
        self.sizes: Sizes = sizes(graph)
        self.wanted = tuple(wanted)
        self.source = c_source(graph, wanted, fading)
        self.library: Library = build(self.source, backward=bool(wanted))

    def __call__(
        self, arguments: Arguments, segment: Tensor, decay: float = 1.0, *, tasks_share: bool
    ) -> tuple[Tensor, Tensor]:
        """What is carried at the end, (T, E, C), and recorded, (T, E, S, R).

        segment: of each task at each tick (T, S), int32. decay: factor per tick on the gradient through what is
        carried. tasks_share: lanes of one block may be of several tasks, since all weights are equal.
        """
        if arguments.now.shape[2] == 0:
            raise ValueError("a roll-out of no ticks")
        carried, record = _Rollout.apply(self, segment, decay, tasks_share, *arguments)  # type: ignore[no-untyped-call]
        return carried, record


@cache
def plan(tasks: int, episodes: int, lanes: int, tasks_share: bool) -> Plan:
    rows = torch.arange(tasks * episodes, dtype=torch.int32).view(1 if tasks_share else tasks, -1)
    room = math.ceil(rows.shape[1] / lanes) * lanes
    padded = torch.nn.functional.pad(rows, (0, room - rows.shape[1]), value=-1).view(-1, lanes)
    tasks_of = [sorted({row // episodes for row in block if row >= 0}) for block in padded.tolist()]
    first = torch.tensor([0, *map(len, tasks_of)]).cumsum(0)[:-1]
    return Plan(
        padded.contiguous(),
        first.int(),
        torch.tensor([task for some in tasks_of for task in some]),
        len(tasks_of),
    )


class _Rollout(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, kernel: Kernel, segment: Tensor, decay: float, tasks_share: bool, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        arguments = Arguments(*(t.contiguous() for t in tensors))
        tasks, episodes, ticks, _ = arguments.now.shape
        size, lanes = kernel.sizes, kernel.library.lanes
        shared = plan(tasks, episodes, lanes, tasks_share)
        taped = any(ctx.needs_input_grad)  # type: ignore[attr-defined]
        carried = torch.empty(tasks, episodes, size.carried)
        record = torch.empty(tasks, episodes, ticks, size.record)
        tape = torch.empty(shared.blocks * ticks * size.carried * lanes if taped else 0)
        given = {**arguments._asdict(), "segment": segment, "tape": tape}
        _run(
            kernel.library.forward,
            _job(shared, arguments, given, {"carried_out": carried, "record": record}),
            shared,
        )
        ctx.save_for_backward(*arguments, segment, tape)
        ctx.more = kernel, decay, shared  # type: ignore[attr-defined]
        return carried, record

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_carried_out: Tensor, d_record: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, segment, tape = ctx.saved_tensors  # type: ignore[attr-defined]
        kernel, decay, shared = ctx.more  # type: ignore[attr-defined]
        arguments = Arguments(*tensors)
        backward = kernel.library.backward
        assert backward is not None
        tasks, episodes, _, _ = arguments.now.shape
        given = {**arguments._asdict(), "segment": segment, "tape": tape,
                 "d_carried_out": d_carried_out.contiguous(), "d_record": d_record.contiguous()}  # fmt: skip
        segments = arguments.machine.shape[1]
        out = {"d_carried": torch.empty_like(arguments.carried),
               "sums": torch.empty(len(shared.sum_task), kernel.sizes.weights)}  # fmt: skip
        if "machine" in kernel.wanted:
            out["d_machine"] = torch.zeros(tasks, episodes, segments, kernel.sizes.machine)
        if "now" in kernel.wanted:
            out["d_now"] = torch.empty_like(arguments.now)
        _run(backward, _job(shared, arguments, given, out, decay), shared)
        weights = torch.zeros(tasks, kernel.sizes.weights).index_add_(0, shared.sum_task, out["sums"])
        d_machine = out["d_machine"].sum(1) if "d_machine" in out else None
        d_weights = weights if len(arguments.weights) == tasks else weights.sum(0, keepdim=True)
        return None, None, None, None, out["d_carried"], d_weights, d_machine, out.get("d_now")


def _job(
    shared: Plan, arguments: Arguments, given: dict[str, Tensor], out: dict[str, Tensor], decay: float = 1.0
) -> Job:
    names = {"weights": "uniform"}
    tensors = {"row": shared.row, "sum_row": shared.sum_row, **given, **out}
    pointers = {names.get(name, name): tensor.data_ptr() or None for name, tensor in tensors.items()}
    one = len(arguments.weights) == 1
    return Job(
        episodes=arguments.carried.shape[1],
        ticks=arguments.now.shape[2],
        segments=arguments.machine.shape[1],
        uniform_step=0 if one else arguments.weights.shape[1],
        decay=decay,
        **pointers,
    )


def _run(function: Callable[[int, int, int], int | None], job: Job, shared: Plan) -> None:
    """All blocks, on as many threads as torch has. Each writes to places of its own: the numbers are the same."""
    threads = min(torch.get_num_threads(), shared.blocks)
    bounds = [shared.blocks * k // threads for k in range(threads + 1)]
    address = ctypes.addressof(job)
    if threads == 1:
        results = [function(address, 0, shared.blocks)]
    else:
        results = list(
            _pool(threads).map(lambda k: function(address, bounds[k], bounds[k + 1]), range(threads))
        )
    if any(results):
        raise MemoryError("no memory for the backward pass of a compiled roll-out")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="acclimate-rollout")
