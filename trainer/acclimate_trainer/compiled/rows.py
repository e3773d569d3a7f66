"""The gradient of a sum over many rows, in compiled C, as torch can differentiate once more: MAML's inner step.

    G(w) = Σᵣ cᵣ·∂f(w, xᵣ)/∂w

is the adjoint of f. Its own derivative in a direction V is that of a number for each row as well,

    ⟨V, G(w)⟩ = Σᵣ cᵣ·(∂f(w, xᵣ)/∂w)·V

a Jacobian-vector product, whose adjoint gives what reaches w, x and c: no more than two roll-outs whose ticks are rows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from acclimate_trainer.compiled.ticks.kernel import Arguments, Kernel, plan, pull_back
from acclimate_trainer.compiled.ticks.trace import Inputs, Tick, trace
from acclimate_trainer.contract.policy import Tensors

RowFunction: TypeAlias = Callable[[Tensors, Tensors], Tensor]
"""(weights (T, …), a row of each task (T, 1, …)) -> (T, 1)"""
_OF = "direction."


class RowGradient:
    """See the module."""

    def __init__(self, function: RowFunction, weights: Tensors, row: Tensors) -> None:
        """`weights` and `row` are examples, of any number of tasks and rows. Raises NotCompiled."""
        self._weights, self._row = list(weights), list(row)
        self._shapes = [x.shape[1:] for x in weights.values()]
        w = {name: torch.zeros(1, *x.shape[1:]) for name, x in weights.items()}
        r = {name: torch.zeros(1, 1, *x.shape[2:]) for name, x in row.items()}
        both, more = w | {_OF + name: x for name, x in w.items()}, r | {"cotangent": torch.zeros(1, 1)}
        values = trace(_values(function), Inputs({}, w, {}, r), taken_out=()).graph
        derivatives = trace(self._derivatives(function), Inputs({}, both, {}, more), taken_out=()).graph
        directions = derivatives.places("weights")[len(w) :]
        self.first = Kernel(values, ["weights"], 0)
        self.second = Kernel(derivatives, ["weights", "now"], 0, directions)

    @property
    def kept(self) -> bool:
        """Whether the next process finds in the cache what was compiled."""
        return self.first.library.kept and self.second.library.kept

    def __call__(self, weights: Tensors, rows: Tensors, cotangent: Tensor) -> dict[str, Tensor]:
        """G by name, (T, …), from weights (T, …), rows (T, N, …), and c (T, N)."""
        tasks = len(cotangent)
        flat, x = self._flat(weights, rows, cotangent.shape)
        found: Tensor = _Gradient.apply(self, flat, x, cotangent)  # type: ignore[no-untyped-call]
        parts = torch.split(found, [shape.numel() for shape in self._shapes], dim=-1)
        return {
            name: part.reshape(tasks, *shape)
            for name, part, shape in zip(self._weights, parts, self._shapes, strict=True)
        }

    @torch.no_grad()
    def values(self, weights: Tensors, rows: Tensors) -> Tensor:
        """f itself, (T, N), without a gradient."""
        first, *_ = rows.values()
        flat, x = self._flat(weights, rows, first.shape[:2])
        tasks, count, _ = x.shape
        arguments = _arguments(self.first, flat, x)
        segment = torch.zeros(tasks, arguments.now.shape[2], dtype=torch.int32)
        _, record = self.first(arguments, segment, tasks_share=False)
        return record.reshape(tasks, -1)[:, :count]

    def _flat(self, weights: Tensors, rows: Tensors, lead: Sequence[int]) -> tuple[Tensor, Tensor]:
        flat = torch.cat([weights[name].reshape(lead[0], -1) for name in self._weights], dim=-1)
        return flat, torch.cat([rows[name].reshape(*lead, -1) for name in self._row], dim=-1)

    def _derivatives(self, function: RowFunction) -> Tick:
        def tick(
            carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors
        ) -> tuple[Tensors, Tensors]:
            del carried, machine
            row = {name: now[name] for name in self._row}

            def value(*given: Tensor) -> Tensor:
                return function(dict(zip(self._weights, given, strict=True)), row)

            at = tuple(weights[name] for name in self._weights)
            along = tuple(weights[_OF + name] for name in self._weights)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of what torch itself uses for it
                slope: Tensor = torch.func.jvp(value, at, along)[1]
            return {}, {"slope": slope * now["cotangent"]}

        return tick


def _values(function: RowFunction) -> Tick:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del carried, machine
        return {}, {"value": function(weights, now)}

    return tick


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, of: RowGradient, weights: Tensor, x: Tensor, cotangent: Tensor) -> Tensor:
        ctx.of = of  # type: ignore[attr-defined]
        ctx.save_for_backward(weights, x, cotangent)
        return _adjoint(of.first, weights, x, cotangent)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, direction: Tensor) -> tuple[Tensor | None, ...]:
        of: RowGradient = ctx.of  # type: ignore[attr-defined]
        weights, x, cotangent = ctx.saved_tensors  # type: ignore[attr-defined]
        both = torch.cat([weights, direction], dim=-1)
        more = torch.cat([x, cotangent.unsqueeze(-1)], dim=-1)
        d_weights, d_more = _adjoint(of.second, both, more, torch.ones_like(cotangent))
        assert d_more is not None
        return None, d_weights[:, : weights.shape[1]], d_more[..., :-1], d_more[..., -1]


def _adjoint(kernel: Kernel, weights: Tensor, x: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor | None]:
    """By weights (T, U) and by rows (T, N, n)."""
    tasks, rows, _ = x.shape
    arguments = _arguments(kernel, weights, x)
    _, lanes, ticks, _ = arguments.now.shape
    given = {
        "segment": torch.zeros(tasks, ticks, dtype=torch.int32),
        "d_carried_out": arguments.carried,
        "d_record": _in_lanes(cotangent.unsqueeze(-1), lanes),
    }
    found = pull_back(kernel, arguments, given, plan(tasks, lanes, lanes, False))
    d_now = None if found.now is None else found.now.reshape(tasks, lanes * ticks, -1)[:, :rows]
    return found.weights, d_now


def _arguments(kernel: Kernel, weights: Tensor, x: Tensor) -> Arguments:
    lanes, tasks = kernel.library.lanes, len(x)
    return Arguments(
        torch.zeros(tasks, lanes, 0), weights.contiguous(), torch.zeros(tasks, 1, 0), _in_lanes(x, lanes)
    )


def _in_lanes(x: Tensor, lanes: int) -> Tensor:
    """Rows (T, N, n) as ticks of as many episodes as there are lanes, so that sums are collected over several ticks.

    What is missing is filled with zeros, the cotangents of those rows as well.
    """
    ticks = math.ceil(x.shape[1] / lanes)
    padded = torch.nn.functional.pad(x, [0, 0, 0, lanes * ticks - x.shape[1]])
    return padded.reshape(len(x), lanes, ticks, -1).contiguous()
