"""The gradient of a sum over rows in C, and the gradient through it, against torch's."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from acclimate_trainer.algorithms.maml.policy_gradient import row_likelihood
from acclimate_trainer.compiled.rows import RowFunction, RowGradient
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.feedforward import layer_shapes
from torch import Tensor

from .ticks import assert_close

TASKS = 3


@pytest.fixture(params=[1, 16, 37])
def given(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """A policy's parameters by task, rows that fill no block, some of which follow another, and what each counts."""
    rng, rows = torch.Generator().manual_seed(3), request.param

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    shapes = layer_shapes(4, 9, 2, 2)
    params = {n: (0.4 * normal(TASKS, *s)).requires_grad_() for n, s in shapes.items()}
    params["sigma"] = (0.3 + 0.1 * normal(TASKS, *shapes["sigma"]).abs()).requires_grad_()
    sizes = {"x": 4, "action": 2, "follows": 1}
    row = {name: normal(TASKS, rows, size).requires_grad_() for name, size in sizes.items()}
    row["follows"] = torch.where(torch.arange(rows) % 7 == 0, 0.0, 1.0).view(1, -1, 1).expand(TASKS, -1, 1)
    return params, row, normal(TASKS, rows).requires_grad_()


def in_order(function: RowFunction, params: Tensors, handed: Tensors, rows: Tensors) -> Tensor:
    """The values of all rows, (T, N)."""
    before = {name: torch.zeros_like(x[:, :1]) for name, x in handed.items()}
    found = []
    for k in range(rows["x"].shape[1]):
        following, value = function(params, before, {name: x[:, k : k + 1] for name, x in rows.items()})
        before = {**before, **following}
        found.append(value)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_the_gradient_and_the_one_through_it_are_torchs(
    given: tuple[dict[str, Tensor], dict[str, Tensor], Tensor], memory: float
) -> None:
    params, rows, count = given
    rows = rows if memory else {name: rows[name] for name in ("x", "action")}
    likelihood, handed = (
        partial(row_likelihood, memory=memory),
        {"deviation": rows["action"]} if memory else {},
    )

    def values(p: Tensors) -> Tensor:
        return in_order(likelihood, p, handed, rows)

    compiled = RowGradient(likelihood, params, handed, rows)
    mine, found_values = compiled(params, rows, count)
    assert_close(found_values, values(params).detach(), "values", 1e-5)
    theirs: Tensors = torch.func.grad(lambda p: (values(p) * count).sum())(params)
    wanted, further = [*params.values(), rows["x"], rows["action"], count], []
    for found in (theirs, mine):
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
