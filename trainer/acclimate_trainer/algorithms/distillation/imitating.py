"""What it costs a student to differ from a teacher."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-3  # of the teacher's usual action


def imitation_loss(actions: Tensor, wanted: Tensor, tolerance: float) -> Tensor:
    """log(1 + (difference/tolerance)²) of actions (T, E, ticks, n_act), in units of what is usual on a task: (T,).

    Where the teacher acts on what the student cannot know yet, the mean of what it might do, which least squares aim
    at, may be no action at all: of a motor wired either way round that teaches nothing. A logarithm prefers one of the
    teacher's possible actions to all that lie between: the student tries something, sees what comes of it, and knows.
    """
    usual = wanted.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + _LEAST
    return torch.log1p(((actions - wanted) / (tolerance * usual)).square()).mean(dim=(1, 2, 3))


def feature_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean square of what features (T, E, ticks, H) lack of the teacher's, in units of how these vary: a scalar."""
    spread = wanted.var(dim=(0, 1, 2)).mean() + _LEAST**2
    return (found - wanted).square().mean() / spread
