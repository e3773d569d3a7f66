"""The gradient of a sum over rows in C, and the gradient through it, against torch's."""

from __future__ import annotations

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
    row = {"x": normal(TASKS, rows, 4).requires_grad_(), "action": normal(TASKS, rows, 2).requires_grad_()}
    return params, row, normal(TASKS, rows).requires_grad_()


def by_torch(params: Tensors, rows: Tensors, count: Tensor) -> Tensors:
    gradient: Tensors = torch.func.grad(lambda p: (row_likelihood(p, rows) * count).sum())(params)
    return gradient


def test_the_gradient_and_the_one_through_it_are_torchs(
    given: tuple[dict[str, Tensor], dict[str, Tensor], Tensor],
) -> None:
    params, rows, count = given
    compiled = RowGradient(row_likelihood, params, rows)
    assert_close(compiled.values(params, rows), row_likelihood(params, rows).detach(), "values", 1e-5)
    wanted, further = [*params.values(), *rows.values(), count], []
    for found in (by_torch(params, rows, count), compiled(params, rows, count)):
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
