"""The gradient of a sum over rows in C, and the gradient through it, against torch's."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from acclimate_trainer.algorithms.maml.policy_gradient import row_likelihood
from acclimate_trainer.compiled.rows import RowGradient
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.feedforward import layer_shapes
from torch import Tensor

from .ticks import assert_close

TASKS = 3


@pytest.fixture(params=[1, 16, 37])
def given(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """A policy's parameters by task, rows that fill no block, and what each row counts."""
    rng, rows = torch.Generator().manual_seed(3), request.param

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    shapes = layer_shapes(4, 9, 2, 2)
    params = {n: (0.4 * normal(TASKS, *s)).requires_grad_() for n, s in shapes.items()}
    params["sigma"] = (0.3 + 0.1 * normal(TASKS, *shapes["sigma"]).abs()).requires_grad_()
    sizes = {"x": 4, "action": 2, "x_before": 4, "action_before": 2, "follows": 1}
    row = {name: normal(TASKS, rows, size).requires_grad_() for name, size in sizes.items()}
    return params, row, normal(TASKS, rows).requires_grad_()


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_the_gradient_and_the_one_through_it_are_torchs(
    given: tuple[dict[str, Tensor], dict[str, Tensor], Tensor], memory: float
) -> None:
    params, rows, count = given
    rows = rows if memory else {name: rows[name] for name in ("x", "action")}
    function = partial(row_likelihood, memory=memory)
    compiled = RowGradient(function, params, rows)
    assert_close(compiled.values(params, rows), function(params, rows).detach(), "values", 1e-5)
    theirs: Tensors = torch.func.grad(lambda p: (function(p, rows) * count).sum())(params)
    wanted, further = [*params.values(), *rows.values(), count], []
    for found in (theirs, compiled(params, rows, count)):
        weights = torch.Generator().manual_seed(4)
        total = torch.stack(
            [(torch.rand(x.shape, generator=weights) * x).sum() for x in found.values()]
        ).sum()
        further.append((found, torch.autograd.grad(total, wanted)))
    (theirs, through_theirs), (ours, through_ours) = further
    for name in theirs:
        assert_close(ours[name].detach(), theirs[name].detach(), name, 1e-5)
    for a, b in zip(through_ours, through_theirs, strict=True):
        assert_close(a, b, "the gradient through it", 1e-5)
