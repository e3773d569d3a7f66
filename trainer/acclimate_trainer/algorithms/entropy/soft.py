"""Maximum entropy: what soft Q-learning is made of, for tables, networks and devices alike.

A policy is to earn reward and to keep its choices open: it maximises Σ γᵗ·(r − α·KL[π(·|s) ‖ uniform]). The best one is

    π(a|s) = exp(Q(s, a)/α)/Σ_b exp(Q(s, b)/α),      V(s) = α·log mean_a exp(Q(s, a)/α),      Q(s, a) = r + γ·E[V(s')]

(Haarnoja et al. 2017, "Reinforcement Learning with Deep Energy-Based Policies", equations 3 to 6 and theorem 3). The
entropy is measured from that of the uniform distribution over A actions: the policy is the same, and values stay
within those of the rewards whatever A is. With α → 0 this is Q-learning: V is the largest Q.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LEAST = 1e-6  # of an exponential draw


def soft_value(q: Tensor, alpha: Tensor) -> Tensor:
    """V (…) of values q (…, A), at a temperature alpha that broadcasts against (…)."""
    most = q.amax(-1, keepdim=True)
    spread = torch.exp((q - most) / alpha.unsqueeze(-1)).mean(-1)
    return most.squeeze(-1) + alpha * torch.log(spread)


def probabilities(q: Tensor, alpha: Tensor) -> Tensor:
    """π (…, A) of values q (…, A)."""
    return torch.softmax(q / alpha.unsqueeze(-1), -1)


def undecided(share: Tensor) -> Tensor:
    """The entropy of probabilities (…, A), of the largest that it could be: from 0 to 1, (…)."""
    entropy = -(share * torch.log(share.clamp_min(1e-12))).sum(-1)
    return entropy / math.log(share.shape[-1])


def sampled(q: Tensor, alpha: Tensor, noise: Tensor) -> Tensor:
    """Actions by number (…), drawn from π by standard normal `noise` (…, 2·A); the best ones where that is 0.

    argmax(Q + α·G) of Gumbel noise G is a draw from the softmax. −log G' of an exponential G' is Gumbel noise, and
    half of the sum of two squared normal numbers is exponential.
    """
    first, second = noise.chunk(2, -1)
    gumbel = -torch.log((0.5 * (first * first + second * second)).clamp_min(_LEAST))
    return (q + alpha.unsqueeze(-1) * gumbel).argmax(-1)
