"""Tabular successor features against exact policy evaluation, and the theorems on generalised policy improvement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.successor.features import action_values, gpi
from acclimate_trainer.baselines.successor_tables import FeatureMdps, optimal_policy, tabular_features
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

MDPS = 20  # at once


def random_mdps(seed: int, states: int, actions: int, features: int, gamma: float) -> FeatureMdps:
    """From nearly deterministic to well mixed."""
    rng = np.random.default_rng(seed)
    shape = (MDPS, states, actions)
    weight = rng.standard_exponential((*shape, states)) ** rng.uniform(1.0, 6.0, (MDPS, 1, 1, 1))
    phi = rng.standard_normal((*shape, features))
    return FeatureMdps(torch.from_numpy(weight / weight.sum(-1, keepdims=True)), torch.from_numpy(phi), gamma)


def random_policies(seed: int, mdps: FeatureMdps, count: int) -> Tensor:
    rng = np.random.default_rng([seed, 1])
    states, actions = mdps.transition.shape[1:3]
    return torch.from_numpy(rng.integers(actions, size=(MDPS, count, states)))


def random_w(seed: int, mdps: FeatureMdps) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, 2]).standard_normal((MDPS, mdps.features.shape[-1])))


def evaluated(mdps: FeatureMdps, policy: Tensor, w: Tensor) -> Tensor:
    """Q^π (N, S, A) of `policy` (N, S) by iterating Bellman's equation for the scalar reward, with no ψ anywhere."""
    reward = (mdps.features * w[:, None, None, :]).sum(-1)
    q = torch.zeros_like(reward)
    for _ in range(int(np.log(1e-14) / np.log(mdps.gamma)) + 1):
        value = q.gather(-1, policy.unsqueeze(-1)).squeeze(-1)  # (N, S)
        q = reward + mdps.gamma * (mdps.transition * value[:, None, None, :]).sum(-1)
    return q


mdp_sizes = {
    "seed": st.integers(0, 2**32 - 1),
    "states": st.integers(1, 8),
    "actions": st.integers(1, 4),
    "features": st.integers(1, 5),
    "count": st.integers(1, 4),
    "gamma": st.floats(0.05, 0.95),
}


@settings(max_examples=40, deadline=None)
@given(**mdp_sizes)
def test_values_from_successor_features_are_those_of_policy_evaluation(
    seed: int, states: int, actions: int, features: int, count: int, gamma: float
) -> None:
    mdps = random_mdps(seed, states, actions, features, gamma)
    policies, w = random_policies(seed, mdps, count), random_w(seed, mdps)
    q = action_values(tabular_features(mdps, policies), w)
    for i in range(count):
        assert_close(q[:, :, i], evaluated(mdps, policies[:, i], w), rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(**mdp_sizes)
def test_gpi_is_nowhere_worse_than_any_policy_of_the_family(
    seed: int, states: int, actions: int, features: int, count: int, gamma: float
) -> None:
    """Theorem 1 of Barreto et al. (2017), with exact values."""
    mdps = random_mdps(seed, states, actions, features, gamma)
    policies, w = random_policies(seed, mdps, count), random_w(seed, mdps)
    psi = tabular_features(mdps, policies)
    improved = evaluated(mdps, gpi(psi, w).action, w)
    assert (improved >= action_values(psi, w).amax(2) - 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(**mdp_sizes, error=st.floats(1e-3, 3.0))
def test_gpi_with_wrong_values_loses_no_more_than_the_theorem_says(
    seed: int, states: int, actions: int, features: int, count: int, gamma: float, error: float
) -> None:
    """Theorem 1 with |Q̃ − Q| <= ε: Q^π >= max_i Q^(π_i) − 2ε/(1 − γ); the error is in ψ, and ε what it makes of Q."""
    mdps = random_mdps(seed, states, actions, features, gamma)
    policies, w = random_policies(seed, mdps, count), random_w(seed, mdps)
    psi = tabular_features(mdps, policies)
    noise = np.random.default_rng([seed, 3]).uniform(-error, error, psi.shape)
    wrong = psi + torch.from_numpy(noise)
    epsilon = (action_values(wrong, w) - action_values(psi, w)).abs().amax((1, 2, 3))  # (N,)
    improved = evaluated(mdps, gpi(wrong, w).action, w)
    loss = (action_values(psi, w).amax(2) - improved).amax((1, 2))
    assert (loss <= 2.0 * epsilon / (1.0 - gamma) + 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(**mdp_sizes)
def test_transfer_is_as_good_as_the_nearest_task_promises(
    seed: int, states: int, actions: int, features: int, count: int, gamma: float
) -> None:
    """Theorem 2: with the optimal policies of other tasks, Q* − Q^π <= 2/(1 − γ)·max‖φ‖·min_j ‖w − w_j‖."""
    mdps = random_mdps(seed, states, actions, features, gamma)
    w, others = random_w(seed, mdps), [random_w(seed + 1 + j, mdps) for j in range(count)]
    psi = tabular_features(mdps, torch.stack([optimal_policy(mdps, other) for other in others], 1))
    best = evaluated(mdps, optimal_policy(mdps, w), w)
    loss = (best - evaluated(mdps, gpi(psi, w).action, w)).amax((1, 2))
    nearest = torch.stack([(w - other).norm(dim=-1) for other in others]).amin(0)
    longest = mdps.features.norm(dim=-1).amax((1, 2))
    assert (loss >= -1e-9).all()
    assert (loss <= 2.0 / (1.0 - gamma) * longest * nearest + 1e-9).all()


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.95])
def test_the_bound_of_theorem_1_is_reached(gamma: float) -> None:
    """One state, two actions, of which one costs just under 2ε; an error of ε in both values hides that."""
    epsilon = 0.1
    mdps = FeatureMdps(
        torch.ones(1, 1, 2, 1, dtype=torch.float64),
        torch.tensor([0.0, -1.999 * epsilon], dtype=torch.float64).reshape(1, 1, 2, 1),
        gamma,
    )
    w = torch.ones(1, 1, dtype=torch.float64)
    psi = tabular_features(mdps, torch.zeros(1, 1, 1, dtype=torch.int64))
    wrong = psi + torch.tensor([-epsilon, epsilon], dtype=torch.float64).reshape(1, 1, 1, 2, 1)
    chosen = gpi(wrong, w).action
    loss = float(action_values(psi, w).max() - evaluated(mdps, chosen, w)[0, 0, chosen[0, 0]])  # of the state
    bound = 2.0 * epsilon / (1.0 - gamma)
    assert 0.99 * bound < loss <= bound


def two_rooms() -> FeatureMdps:
    """From state 0 "left" (0) leads to state 1, "right" (1) to state 2; from either one goes on to state 3, the end.

    In state 1 action 0 gives (1, 0) and action 1 gives (0, 5); in state 2 action 0 gives (½, 1), action 1 nothing.
    """
    transition = torch.zeros(1, 4, 2, 4, dtype=torch.float64)
    transition[0, 0, 0, 1] = transition[0, 0, 1, 2] = 1.0
    transition[0, 1:, :, 3] = 1.0
    features = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
    features[0, 1, 0], features[0, 1, 1] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 5.0])
    features[0, 2, 0] = torch.tensor([0.5, 1.0])
    return FeatureMdps(transition, features, 0.9)


def test_greedy_by_one_old_policy_is_not_optimal_under_a_new_w() -> None:
    """It sees what the old policy would do later on, which in state 1 is to leave the 5 where they are."""
    mdps = two_rooms()
    old, new = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    first = optimal_policy(mdps, old)
    assert first[0, :3].tolist() == [0, 0, 0]
    psi = tabular_features(mdps, first.unsqueeze(1))
    greedy, best = gpi(psi, new).action, optimal_policy(mdps, new)
    assert (greedy[0, 0], best[0, 0]) == (1, 0)
    value = [float(evaluated(mdps, policy, new)[0, 0].gather(0, policy[0, :1])) for policy in (greedy, best)]
    assert value == pytest.approx([0.9, 4.5])
    assert value[0] > float(action_values(psi, new)[0, 0, 0, 0])  # and yet better than what it came from


def test_a_second_policy_makes_up_for_that() -> None:
    """GPI over both: the second one knows what can be had in state 1."""
    mdps = two_rooms()
    old, new = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.1, 1.0]]).double()
    taker = optimal_policy(mdps, torch.tensor([[-1.0, 1.0]]).double())
    psi = tabular_features(mdps, torch.stack([optimal_policy(mdps, old), taker], 1))
    choice = gpi(psi, new)
    assert (choice.action[0, 0], choice.policy[0, 0]) == (0, 1)
    assert_close(evaluated(mdps, choice.action, new), evaluated(mdps, optimal_policy(mdps, new), new))


def test_the_optimal_policy_solves_bellmans_equation_of_optimality() -> None:
    mdps = random_mdps(0, 8, 4, 3, 0.9)
    w = random_w(0, mdps)
    q = evaluated(mdps, optimal_policy(mdps, w), w)
    reward = (mdps.features * w[:, None, None, :]).sum(-1)
    ahead = (mdps.transition * q.amax(-1)[:, None, None, :]).sum(-1)
    assert_close(q, reward + 0.9 * ahead, rtol=1e-9, atol=1e-9)
