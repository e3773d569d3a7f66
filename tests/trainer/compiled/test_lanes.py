"""The functions in lanes.c against double precision: the errors that its comments state, and what is at the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from acclimate_trainer.compiled.ticks.tick import CompiledTick
from acclimate_trainer.compiled.ticks.trace import Inputs
from acclimate_trainer.contract.policy import Tensors
from torch import Tensor

from .ticks import example

COUNT = 40_000
INFINITE = float("inf")


class Function(NamedTuple):
    """of: in any precision. ulp: the largest error, in units in the last place of the result."""

    of: Callable[[Tensor], Tensor]
    low: float
    high: float
    ulp: float
    edges: tuple[float, ...] = ()


FUNCTIONS = {
    "exp": Function(torch.exp, -87.0, 88.7, 2.0, (-INFINITE, INFINITE, 89.0, -200.0)),
    "expm1": Function(torch.expm1, -20.0, 80.0, 3.0, (-INFINITE, INFINITE, 89.0, -200.0)),
    "expm1 near 0": Function(torch.expm1, -0.5, 0.5, 3.0),
    "tanh": Function(torch.tanh, -12.0, 12.0, 3.0, (-INFINITE, INFINITE)),
    "tanh near 0": Function(torch.tanh, -1e-3, 1e-3, 3.0),
    "sigmoid": Function(torch.sigmoid, -80.0, 80.0, 3.0, (-INFINITE, INFINITE)),
    "log": Function(torch.log, 1e-3, 1e3, 2.0, (0.0, -1.0, INFINITE, 1e-42, 3e38)),
    "log near 1": Function(torch.log, 0.9, 1.1, 2.0),
    "log1p": Function(torch.log1p, -0.9, 20.0, 4.0, (-1.0, -2.0, INFINITE)),
    "log1p near 0": Function(torch.log1p, -1e-3, 1e-3, 4.0),
    "reciprocal root": Function(torch.rsqrt, 1e-6, 1e6, 2.0, (0.0, INFINITE, -1.0)),
}  # fmt: skip
WAVES = {"sin": torch.sin, "cos": torch.cos}


@pytest.fixture(scope="module")
def compiled() -> CompiledTick:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del weights, machine
        record = {name: f.of(now[name]) for name, f in FUNCTIONS.items()}
        return carried, record | {name: of(now[name]) for name, of in WAVES.items()}

    names = dict.fromkeys([*FUNCTIONS, *WAVES], ())
    return CompiledTick(tick, example({"x": ()}, {}, {}, names))


def outcome(compiled: CompiledTick, given: dict[str, Tensor]) -> Tensors:
    count = len(next(iter(given.values())))
    now = {name: x.view(1, count, 1) for name, x in given.items()}
    with torch.no_grad():
        ticked = compiled(Inputs({"x": torch.zeros(1, count)}, {}, {}, now))
    return {name: x.view(-1) for name, x in ticked.record.items()}


def test_errors_are_a_few_units_in_the_last_place(compiled: CompiledTick) -> None:
    rng = torch.Generator().manual_seed(0)
    given = {n: torch.rand(COUNT, generator=rng) * (f.high - f.low) + f.low for n, f in FUNCTIONS.items()}
    found = outcome(compiled, given | {name: torch.zeros(COUNT) for name in WAVES})
    errors = {name: in_ulps(found[name], f.of(given[name].double())) for name, f in FUNCTIONS.items()}
    assert {n: e for n, e in errors.items() if e > FUNCTIONS[n].ulp} == {}


def in_ulps(found: Tensor, exact: Tensor) -> float:
    _, exponent = torch.frexp(exact.abs().clamp_min(1.2e-38))
    unit = torch.ldexp(torch.ones_like(exact), exponent - 24)
    return float(((found.double() - exact).abs() / unit).max())


@pytest.mark.parametrize("reach", [3.0, 100.0, 8000.0, 1e6])
def test_waves_are_right_to_a_rounding_of_one_far_out_as_well(compiled: CompiledTick, reach: float) -> None:
    rng = torch.Generator().manual_seed(1)
    given = {name: (2.0 * torch.rand(COUNT, generator=rng) - 1.0) * reach for name in WAVES}
    found = outcome(compiled, given | {name: torch.ones(COUNT) for name in FUNCTIONS})
    for name, of in WAVES.items():
        assert float((found[name].double() - of(given[name].double())).abs().max()) <= 1.2e-7


def test_at_the_edges_they_are_torchs(compiled: CompiledTick) -> None:
    """Infinities, zeros, what is undefined, and what is too small to be normal."""
    longest = max(len(f.edges) for f in FUNCTIONS.values()) + 1
    given = {
        name: torch.tensor((*f.edges, *[float("nan")] * (longest - len(f.edges))))
        for name, f in FUNCTIONS.items()
    }
    waves = torch.tensor([INFINITE, -INFINITE, float("nan"), 0.0, -0.0, 1e30])[:longest]
    found = outcome(compiled, given | dict.fromkeys(WAVES, waves))
    for name, x in given.items():
        torch.testing.assert_close(found[name], FUNCTIONS[name].of(x), equal_nan=True, atol=1e-37, rtol=1e-6)
    for name, of in WAVES.items():
        torch.testing.assert_close(found[name], of(waves), equal_nan=True, atol=1.2e-7, rtol=0.0)
