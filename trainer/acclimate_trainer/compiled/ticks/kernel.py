"""Roll-outs in C as a function of torch, differentiable: one call forwards, one backwards, for all tasks."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from acclimate_trainer.compiled.stopwatch import ROLL_OUTS, STOPWATCH
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

    def __init__(self, graph: Graph, wanted: Sequence[str], fading: int, fixed: Collection[int] = ()) -> None:
        """wanted: the groups that have a gradient. fading: see `Traced`. fixed: inputs of those that have none.

        Raises NotCompiled.
        """
        self.sizes: Sizes = sizes(graph)
        self.wanted = tuple(wanted)
        self.source = c_source(graph, wanted, fading, fixed)
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
        tasks, episodes, _, _ = arguments.now.shape
        shared = plan(tasks, episodes, kernel.library.lanes, tasks_share)
        taped = any(ctx.needs_input_grad)  # type: ignore[attr-defined]
        run = run_forward(kernel, arguments, segment, shared, taped=taped)
        ctx.save_for_backward(*arguments, segment, run.tape)
        ctx.more = kernel, decay, shared  # type: ignore[attr-defined]
        return run.carried, run.record

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_carried: Tensor, d_record: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, segment, tape = ctx.saved_tensors  # type: ignore[attr-defined]
        kernel, decay, shared = ctx.more  # type: ignore[attr-defined]
        arguments = Arguments(*tensors)
        given = {"segment": segment, "tape": tape, "d_carried_out": d_carried, "d_record": d_record}
        found = pull_back(kernel, arguments, given, shared, decay)
        if len(arguments.weights) != len(found.weights):
            found = found._replace(weights=found.weights.sum(0, keepdim=True))
        return None, None, None, None, *found


class Run(NamedTuple):
    """What came of a roll-out forwards."""

    carried: Tensor  # (T, E, C)
    record: Tensor  # (T, E, S, R)
    tape: (
        Tensor  # what each tick began with, as the way backwards takes it; nothing where it was not asked for
    )


def run_forward(kernel: Kernel, arguments: Arguments, segment: Tensor, shared: Plan, *, taped: bool) -> Run:
    """Contiguous arguments, without a gradient."""
    tasks, episodes, ticks, _ = arguments.now.shape
    size, lanes = kernel.sizes, kernel.library.lanes
    run = Run(
        torch.empty(tasks, episodes, size.carried),
        torch.empty(tasks, episodes, ticks, size.record),
        torch.empty(shared.blocks * ticks * size.carried * lanes if taped else 0),
    )
    out = {"carried_out": run.carried, "record": run.record, "tape": run.tape}
    tensors = {**arguments._asdict(), "segment": segment, **out}
    _run(kernel.library.forward, _job(shared, arguments, tensors), shared)
    return run


class Gradients(NamedTuple):
    """As `Arguments`; None for those that no gradient is wanted of."""

    carried: Tensor
    weights: Tensor  # (T, U), each task's own
    machine: Tensor | None
    now: Tensor | None


def pull_back(
    kernel: Kernel, arguments: Arguments, given: Mapping[str, Tensor], shared: Plan, decay: float = 1.0
) -> Gradients:
    """From cotangents of what is carried at the end and recorded, `d_carried_out` and `d_record` in `given`.

    `given` also has the tape and the segments of the way forwards. Contiguous, as `arguments` are.
    """
    tasks, episodes, _, _ = arguments.now.shape
    size, segments, backward = kernel.sizes, arguments.machine.shape[1], kernel.library.backward
    assert backward is not None
    out = {
        "d_carried": torch.empty_like(arguments.carried),
        "sums": torch.empty(len(shared.sum_task), size.weights),
    }
    if "machine" in kernel.wanted:
        out["d_machine"] = torch.zeros(tasks, episodes, segments, size.machine)
    if "now" in kernel.wanted:
        out["d_now"] = torch.empty_like(arguments.now)
    whole = {name: tensor.contiguous() for name, tensor in given.items()}
    _run(backward, _job(shared, arguments, {**arguments._asdict(), **whole, **out}, decay), shared)
    weights = torch.zeros(tasks, size.weights).index_add_(0, shared.sum_task, out["sums"])
    d_machine = out["d_machine"].sum(1) if "d_machine" in out else None
    return Gradients(out["d_carried"], weights, d_machine, out.get("d_now"))


def _job(shared: Plan, arguments: Arguments, tensors: Mapping[str, Tensor], decay: float = 1.0) -> Job:
    """`tensors` by their names in C, but for the weights; they must outlive the job."""
    whole = {"row": shared.row, "sum_row": shared.sum_row, **tensors}
    pointers = {
        "uniform" if name == "weights" else name: tensor.data_ptr() or None for name, tensor in whole.items()
    }
    return Job(
        episodes=arguments.carried.shape[1],
        ticks=arguments.now.shape[2],
        segments=arguments.machine.shape[1],
        uniform_step=0 if len(arguments.weights) == 1 else arguments.weights.shape[1],
        decay=decay,
        **pointers,
    )


def _run(function: Callable[[int, int, int], int | None], job: Job, shared: Plan) -> None:
    """All blocks, on as many threads as torch has. Each writes to places of its own: the numbers are the same."""
    threads = min(torch.get_num_threads(), shared.blocks)
    bounds = [shared.blocks * k // threads for k in range(threads + 1)]
    address = ctypes.addressof(job)
    with STOPWATCH.on(ROLL_OUTS):
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
