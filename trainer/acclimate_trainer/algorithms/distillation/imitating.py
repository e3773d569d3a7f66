"""What it costs a student to differ from a teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-3  # of the teacher's usual action


def imitation_loss(actions: Tensor, wanted: Tensor, tolerance: float, weight: Tensor | None = None) -> Tensor:
    """log(1 + (difference/tolerance)²) of actions (T, E, ticks, n_act), in units of what is usual on a task: (T,).

    Where the teacher acts on what the student cannot know yet, the mean of what it might do, which least squares aim
    at, may be no action at all: of a motor wired either way round that teaches nothing. A logarithm prefers one of the
    teacher's possible actions to all that lie between: the student tries something, sees what comes of it, and knows.

    weight: 1 in ticks that count, (T, E, ticks); all of them if left out.
    """
    usual = _mean(wanted.square(), weight).view(-1, 1, 1, 1).sqrt() + _LEAST
    return _mean(torch.log1p(((actions - wanted) / (tolerance * usual)).square()), weight)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Of values (T, E, ticks, n_act), (T,)."""
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    counted = torch.where(weight.unsqueeze(-1) > 0.0, values, 0.0).sum(dim=(1, 2, 3))
    return counted / (weight.sum(dim=(1, 2)) * values.shape[-1]).clamp_min(1.0)


def feature_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean square of what features (T, E, ticks, H) lack of the teacher's, in units of how these vary: a scalar."""
    spread = wanted.var(dim=(0, 1, 2)).mean() + _LEAST**2
    return (found - wanted).square().mean() / spread


def choice_loss(scores: Tensor, values: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of choices by scores (…, A) to those by values (…, A), softened: a scalar.

    −Σ_a softmax(Q/τ)_a·log softmax(scores)_a (Parisotto et al. 2016, equations 3 and 4), τ in units of how the values
    of one state usually differ: what they are worth depends on the rewards.
    """
    spread = values.std(-1).mean() + _LEAST**2
    wanted = torch.softmax(values / (temperature * spread), dim=-1)
    return -(wanted * F.log_softmax(scores, dim=-1)).sum(-1).mean()
