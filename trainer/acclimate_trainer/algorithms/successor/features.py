"""Successor features: what tabular and deep algorithms, and the graphs on a device, share.

All tasks share their dynamics, and their rewards are r = wᵀφ. The successor features of a policy π,

    ψ^π(s, a) = E^π[ Σ_k γᵏ·φ_{t+k} | s_t = s, a_t = a ],      Q^π_w(s, a) = wᵀψ^π(s, a),

are what it will see of each feature, and so its value under any w is a product away (Barreto et al., "Successor
Features for Transfer in Reinforcement Learning", 2017, equations 2 to 4). T is tasks, P policies, A actions (or
candidates of them, where actions are continuous), d features; the functions here trace into standard operators.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Choice(NamedTuple):
    """What generalised policy improvement chose, int64 (T, rows)."""

    pair: Tensor  # policy · A + action: what both follow from
    action: Tensor
    policy: Tensor  # the policy whose value of the action was the largest


def action_values(psi: Tensor, task_vector: Tensor) -> Tensor:
    """Q (T, rows, P, A) of every policy and action, from ψ (T, rows, P, A, d) and w (T, d): wᵀψ."""
    return torch.bmm(psi.flatten(1, 3), task_vector.unsqueeze(-1)).view(psi.shape[:-1])


def gpi(psi: Tensor, task_vector: Tensor, perturbation: Tensor | None = None) -> Choice:
    """Generalised policy improvement, argmax_a max_π wᵀψ^π(s, a) (Barreto et al. 2017, equation 7).

    psi: (T, rows, P, A, d). task_vector: w (T, d). perturbation: added to the value of each action, (T, rows, A),
    to explore.
    """
    values = action_values(psi, task_vector)
    if perturbation is not None:
        values = values + perturbation.unsqueeze(-2)
    actions = values.shape[-1]
    pair = values.flatten(-2).argmax(-1)
    return Choice(pair, pair % actions, torch.div(pair, actions, rounding_mode="floor"))


def of_action(psi: Tensor, action: Tensor) -> Tensor:
    """ψ(s, a) (…, d) of the actions taken, int64 (…), from ψ of all of them (…, A, d)."""
    index = action[..., None, None].expand(*action.shape, 1, psi.shape[-1])
    return torch.take_along_dim(psi, index, dim=-2).squeeze(-2)


def td_target(features: Tensor, following: Tensor, discount: float) -> Tensor:
    """φ(s, a, s') + γ·ψ(s', a') (…, d), without a gradient: ψ's own Bellman equation (Barreto et al. 2017, equation 4).

    features: φ of the transition (…, d). following: ψ(s', a') of the policy that is learned (…, d), zero after an end.
    """
    return (features + discount * following).detach()


def traced_targets(
    features: Tensor, following: Tensor, agrees: Tensor, goes_on: Tensor, discount: float, trace: float
) -> Tensor:
    """Targets (…, n, d) of n transitions in a row, which go on for as long as what was done is what the policy does.

    G_t = φ_t + γ·[ψ_{t+1} + λ·c_{t+1}·(G_{t+1} − ψ_{t+1})], Retrace(λ) for a policy without chance (Munos et al. 2016,
    equation 4): with λ = 0 `td_target`; with more, an error of ψ counts fewer times in ψ itself.

    features: φ (…, n, d). following: ψ(s_t, a_t) of the policy's own actions, at all n + 1 states (…, n + 1, d).
    agrees: c, 1 where the action taken in state t is the policy's (…, n). goes_on: 0 where the episode ended in itself
    with that transition (…, n). trace: λ.
    """
    ahead, out = following[..., -1, :], []
    for t in range(features.shape[-2] - 1, -1, -1):
        out.append(td_target(features[..., t, :], goes_on[..., t, None] * ahead, discount))
        ahead = following[..., t, :] + trace * agrees[..., t, None] * (out[-1] - following[..., t, :])
    return torch.stack(out[::-1], -2)
