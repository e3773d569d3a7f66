"""The gradient of a sum over many rows, in compiled C, as torch can differentiate once more: MAML's inner step.

    G(w) = Σᵣ cᵣ·∂f(w, xᵣ)/∂w

is the adjoint of f. Its own derivative in a direction V is that of a number for each row as well,

    ⟨V, G(w)⟩ = Σᵣ cᵣ·(∂f(w, xᵣ)/∂w)·V

a Jacobian-vector product, whose adjoint gives what reaches w, x and c: no more than two roll-outs whose ticks are rows.
A row may hand something to the next one, and so is every lane's first row the last one of the lane before, which
counts nothing there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from acclimate_trainer.compiled.ticks.kernel import Arguments, Kernel, plan, pull_back, run_forward
from acclimate_trainer.compiled.ticks.trace import Inputs, Tick, trace
from acclimate_trainer.contract.policy import Tensors

RowFunction: TypeAlias = Callable[[Tensors, Tensors, Tensors], tuple[Tensors, Tensor]]
"""(weights (T, …), handed on by the row before (T, 1, …), a row of each task (T, 1, …)) -> (handed on, (T, 1)).

What is handed on must depend on weights and row alone, and a task's first row on nothing that is.
"""
_OF = "direction."


class RowGradient:
    """See the module."""

    def __init__(self, function: RowFunction, weights: Tensors, handed: Tensors, row: Tensors) -> None:
        """Examples, of any number of tasks; `row` of any number of rows. Raises NotCompiled."""
        self._weights, self._handed, self._row = list(weights), list(handed), list(row)
        self._shapes = [x.shape[1:] for x in weights.values()]
        w = {name: torch.zeros(1, *x.shape[1:]) for name, x in weights.items()}
        h = {name: torch.zeros(1, 1, *x.shape[2:]) for name, x in handed.items()}
        r = {name: torch.zeros(1, 1, *x.shape[2:]) for name, x in row.items()}
        more = r | {"cotangent": torch.zeros(1, 1)}
        values = trace(_values(function), Inputs(h, w, {}, r), taken_out=()).graph
        both = Inputs(_with_directions(h), _with_directions(w), {}, more)
        derivatives = trace(self._derivatives(function), both, taken_out=()).graph
        directions = derivatives.places("weights")[len(w) :]
        self.first = Kernel(values, ["carried", "weights"], 0)
        self.second = Kernel(derivatives, ["carried", "weights", "now"], 0, directions)

    @property
    def kept(self) -> bool:
        """Whether the next process finds in the cache what was compiled."""
        return self.first.library.kept and self.second.library.kept

    def __call__(
        self, weights: Tensors, rows: Tensors, cotangent: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """G by name, (T, …), from weights (T, …), rows (T, N, …), and c (T, N); and f, (T, N), without gradient."""
        tasks = len(cotangent)
        flat = torch.cat([weights[name].reshape(tasks, -1) for name in self._weights], dim=-1)
        x = torch.cat([rows[name].reshape(*cotangent.shape, -1) for name in self._row], dim=-1)
        found, values = _Gradient.apply(self, flat, x, cotangent)  # type: ignore[no-untyped-call]
        parts = torch.split(found, [shape.numel() for shape in self._shapes], dim=-1)
        return {
            name: part.reshape(tasks, *shape)
            for name, part, shape in zip(self._weights, parts, self._shapes, strict=True)
        }, values

    @property
    def overlap(self) -> int:
        """Rows that each lane begins with for the sake of what they hand on."""
        return 1 if self._handed else 0

    def _derivatives(self, function: RowFunction) -> Tick:
        def tick(
            carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors
        ) -> tuple[Tensors, Tensors]:
            del machine
            row = {name: now[name] for name in self._row}

            def value(w: Tensors, h: Tensors) -> tuple[dict[str, Tensor], Tensor]:
                following, found = function(w, h, row)
                return dict(following), found

            groups = (weights, self._weights), (carried, self._handed)
            at = tuple({name: group[name] for name in names} for group, names in groups)
            along = tuple({name: group[_OF + name] for name in names} for group, names in groups)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of what torch itself uses for it
                found = torch.func.jvp(value, at, along)
            following: Tensors = found[0][0]
            turning: Tensors = found[1][0]
            slope: Tensor = found[1][1]
            following = {**following, **{_OF + name: x for name, x in turning.items()}}
            return following, {"slope": slope * now["cotangent"]}

        return tick


def _with_directions(tensors: Tensors) -> Tensors:
    return {**tensors, **{_OF + name: x for name, x in tensors.items()}}


def _values(function: RowFunction) -> Tick:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del machine
        following, value = function(weights, carried, now)
        return following, {"value": value}

    return tick


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, of: RowGradient, weights: Tensor, x: Tensor, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.of = of  # type: ignore[attr-defined]
        ctx.save_for_backward(weights, x, cotangent)
        found = _adjoint(of.first, weights, x, cotangent, of.overlap)
        ctx.mark_non_differentiable(found.values)
        return found.weights, found.values

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, direction: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        of: RowGradient = ctx.of  # type: ignore[attr-defined]
        weights, x, cotangent = ctx.saved_tensors  # type: ignore[attr-defined]
        both = torch.cat([weights, direction], dim=-1)
        more = torch.cat([x, cotangent.unsqueeze(-1)], dim=-1)
        found = _adjoint(of.second, both, more, torch.ones_like(cotangent), of.overlap)
        assert found.rows is not None
        return None, found.weights[:, : weights.shape[1]], found.rows[..., :-1], found.rows[..., -1]


class _Found(NamedTuple):
    """Gradients by weights (T, U) and, where they are wanted, rows (T, N, n); what each row recorded (T, N)."""

    weights: Tensor
    rows: Tensor | None
    values: Tensor


def _adjoint(kernel: Kernel, weights: Tensor, x: Tensor, cotangent: Tensor, overlap: int) -> _Found:
    lanes, (tasks, rows, _) = kernel.library.lanes, x.shape
    now, shared = _in_lanes(x, lanes, overlap), plan(tasks, lanes, lanes, False)
    nothing = torch.zeros(tasks, lanes, kernel.sizes.carried)
    arguments = Arguments(nothing, weights.contiguous(), torch.zeros(tasks, 1, 0), now)
    segment = torch.zeros(tasks, now.shape[2], dtype=torch.int32)
    run = run_forward(kernel, arguments, segment, shared, taped=True)
    d_record = _in_lanes(cotangent.unsqueeze(-1), lanes, overlap)
    d_record[:, :, :overlap] = 0.0
    given = {"segment": segment, "tape": run.tape, "d_carried_out": nothing, "d_record": d_record}
    found = pull_back(kernel, arguments, given, shared)
    d_rows = None if found.now is None else _in_rows(found.now, rows, overlap)
    values = run.record[:, :, overlap:].reshape(tasks, -1)[:, :rows]
    return _Found(found.weights, d_rows, values)


def _in_lanes(x: Tensor, lanes: int, overlap: int) -> Tensor:
    """Rows (T, N, n) as ticks of as many episodes as there are lanes, (T, lanes, overlap + S, n).

    A lane goes on where the one before ends, and begins with the last `overlap` rows of that. What is missing is filled
    with zeros.
    """
    ticks = math.ceil(x.shape[1] / lanes)
    padded = torch.nn.functional.pad(x, [0, 0, overlap, lanes * ticks - x.shape[1]])
    return padded.unfold(1, overlap + ticks, ticks).transpose(2, 3).contiguous()


def _in_rows(x: Tensor, rows: int, overlap: int) -> Tensor:
    """The adjoint of that."""
    tasks, lanes, ticks, size = x.shape
    whole = x[:, :, overlap:].clone()
    if overlap:
        whole[:, :-1, ticks - 2 * overlap :] += x[:, 1:, :overlap]
    return whole.reshape(tasks, lanes * (ticks - overlap), size)[:, :rows]
