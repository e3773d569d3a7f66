"""Generalised policy improvement and the vector TD target, by hand; and what `gpi` owes to any ψ."""

from __future__ import annotations

import pytest
import torch
from acclimate_trainer.algorithms.successor.features import (
    action_values,
    gpi,
    of_action,
    td_target,
    traced_targets,
)
from torch import Tensor
from torch.testing import assert_close

T, ROWS, P, A, D = 3, 5, 4, 6, 2


def random_psi(seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(T, ROWS, P, A, D, generator=rng), torch.randn(T, D, generator=rng)


def test_values_are_products_with_each_tasks_own_w() -> None:
    psi, w = random_psi()
    expected = torch.stack([(psi[task] * w[task]).sum(-1) for task in range(T)])
    assert_close(action_values(psi, w), expected)


def test_the_best_action_of_the_best_policy_by_hand() -> None:
    """One policy collects feature 0 by action 1, another feature 1 by action 2."""
    psi = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]])
    tasks = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    choice = gpi(psi.expand(3, 1, 2, 3, 2), tasks)
    assert choice.action.flatten().tolist() == [1, 2, 2]
    assert choice.policy.flatten().tolist() == [0, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_worth_more_than_the_choice(seed: int) -> None:
    psi, w = random_psi(seed)
    values, choice = action_values(psi, w), gpi(psi, w)
    assert choice.action.shape == choice.policy.shape == (T, ROWS)
    for t in range(T):
        for row in range(ROWS):
            chosen = values[t, row, choice.policy[t, row], choice.action[t, row]]
            assert chosen == values[t, row].max()
    assert torch.equal(choice.pair, choice.policy * A + choice.action)


def test_a_perturbation_is_added_to_the_actions_of_every_policy() -> None:
    psi, w = random_psi()
    wanted = torch.arange(T * ROWS).reshape(T, ROWS) % A
    perturbation = 100.0 * torch.nn.functional.one_hot(wanted, A).float()
    assert torch.equal(gpi(psi, w, perturbation).action, wanted)
    assert torch.equal(gpi(psi, w, torch.zeros(T, ROWS, A)).pair, gpi(psi, w).pair)


def test_features_of_the_actions_taken() -> None:
    psi, _ = random_psi()
    action = torch.tensor([0, 5, 3, 2]).expand(T, ROWS, P)
    found = of_action(psi, action)
    assert found.shape == (T, ROWS, P, D)
    assert torch.equal(found[1, 2, 1], psi[1, 2, 1, 5])


def test_the_target_is_what_is_seen_and_what_follows_and_has_no_gradient() -> None:
    phi, ahead = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 4.0]], requires_grad=True)
    target = td_target(phi, ahead, 0.5)
    assert target.tolist() == [[2.0, 2.0]]
    assert not target.requires_grad


def test_traced_targets_go_on_while_what_was_done_is_what_the_policy_does() -> None:
    """Three steps of one feature; the action of the last state is another than the policy's."""
    phi = torch.tensor([1.0, 2.0, 4.0]).view(3, 1)
    psi = torch.tensor([9.0, 10.0, 20.0, 40.0]).view(4, 1)
    agrees = torch.tensor([0.0, 1.0, 0.0])
    last, cut = 4.0 + 0.5 * 40.0, 2.0 + 0.5 * 20.0
    first = 1.0 + 0.5 * (10.0 + 0.8 * (cut - 10.0))
    on = torch.ones(3)
    assert_close(traced_targets(phi, psi, agrees, on, 0.5, 0.8).flatten(), torch.tensor([first, cut, last]))
    assert_close(traced_targets(phi, psi, agrees, on, 0.5, 0.0), td_target(phi, psi[1:], 0.5))


def test_nothing_follows_where_an_episode_has_ended() -> None:
    """Neither what ψ says of the state that comes after, nor what was seen there."""
    phi = torch.tensor([1.0, 2.0, 4.0]).view(3, 1)
    psi = torch.tensor([9.0, 10.0, 20.0, 40.0]).view(4, 1)
    goes_on = torch.tensor([1.0, 0.0, 1.0])
    found = traced_targets(phi, psi, torch.ones(3), goes_on, 0.5, 1.0).flatten()
    assert_close(found, torch.tensor([1.0 + 0.5 * 2.0, 2.0, 4.0 + 0.5 * 40.0]))


def test_on_a_policys_own_path_the_whole_trace_is_its_return() -> None:
    phi, psi = torch.randn(2, 5, 3), torch.zeros(2, 6, 3)
    found = traced_targets(phi, psi, torch.ones(2, 5), torch.ones(2, 5), 0.9, 1.0)
    expected = sum(0.9**k * phi[:, k] for k in range(5))
    assert_close(found[:, 0], expected)
