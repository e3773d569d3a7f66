"""Successor features of tabular MDPs by linear algebra: the exact ground that the learned ones stand on.

N MDPs at once, of S states and A actions; policies are deterministic. Barreto et al., "Successor Features for
Transfer in Reinforcement Learning" (2017), over tables:

    r(s, a) = φ(s, a)ᵀw                                                        (equation 2)
    ψ^π(s, a) = φ(s, a) + γ·Σ_s' P(s' | s, a)·ψ^π(s', π(s'))                    (equation 4)

Values and GPI are those of `successor_features`, with the states of an MDP as its rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from acclimate_trainer.algorithms.successor.features import action_values, of_action

_SWEEPS = 1000  # of policy iteration, which takes a dozen


class FeatureMdps(NamedTuple):
    """N MDPs without a reward: dynamics and features."""

    transition: Tensor  # P(next state | state, action), (N, S, A, S)
    features: Tensor  # φ(s, a), (N, S, A, d)
    gamma: float


def tabular_features(mdps: FeatureMdps, policies: Tensor) -> Tensor:
    """ψ of P `policies` (N, P, S) of int64, by solving their Bellman equations: (N, S, P, A, d), as `gpi` takes it."""
    states, transition = policies.shape[-1], mdps.transition.unsqueeze(1)  # (N, 1, S, A, S)
    moves = of_action(transition, policies)  # (N, P, S, S) under each policy
    seen = of_action(mdps.features.unsqueeze(1), policies)  # (N, P, S, d)
    here = torch.linalg.solve(torch.eye(states, dtype=moves.dtype) - mdps.gamma * moves, seen)
    ahead = torch.einsum("nsax,npxd->nspad", mdps.transition, here)
    return mdps.features.unsqueeze(2) + mdps.gamma * ahead


def optimal_policy(mdps: FeatureMdps, task_vector: Tensor) -> Tensor:
    """A policy (N, S) that is optimal for w (N, d), by policy iteration.

    Raises ArithmeticError where it does not end.
    """
    policy = torch.zeros(mdps.transition.shape[:2], dtype=torch.int64)
    for _ in range(_SWEEPS):
        q = action_values(tabular_features(mdps, policy.unsqueeze(1)), task_vector).squeeze(2)  # (N, S, A)
        gain = q.amax(-1) - of_action(q.unsqueeze(-1), policy).squeeze(-1)
        better = torch.where(gain > 1e-12 * q.abs().amax(), q.argmax(-1), policy)
        if torch.equal(better, policy):
            return policy
        policy = better
    raise ArithmeticError(f"policy iteration did not end within {_SWEEPS} sweeps; are features and w finite?")
