"""The task vector w from rewards, r = φᵀw, as a step of `adapt`: recursive least squares in square-root form.

What has been seen is kept as a triangular factor and not as normal equations:

    rootᵀ·root = Σ φφᵀ,   rootᵀ·projection = Σ φ·r

This is the information filter in square-root form (Bierman 1977, "Factorization Methods for Discrete Sequential
Estimation", chapter V): a new window is stacked under the root, and one orthogonal elimination of both is the root
of all. It takes as much memory as the Gram matrix Σ φφᵀ itself, or as the covariance of recursive least squares, and
is better than either where arithmetic is float32:

- forming φφᵀ squares the condition number κ of the features: of w's digits κ² takes its share, where here κ does.
  A reward in float32 is rounded already, and that alone costs κ: no method can be better.
- the covariance form has to begin with a prior, which biases w, hides what has not been seen, and may lose its
  positive definiteness to rounding. The root begins with zeros, and its rank says what has been seen.

Features are scaled to unit norm for the elimination, so that their units do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from acclimate.manifest import StateTensor
from torch import Tensor

from acclimate_trainer.contract import Adapt, Tensors

RANK_TOLERANCE = 1e-3  # a feature of which the others leave a smaller share than this is one of theirs
_ROUNDING = 1e-6  # what is left where nothing is
_FAR = 1e6  # beyond anything that is a feature or a reward
_TINY = 1e-12  # a feature that has never been larger has never been seen


def state_tensors(d: int) -> tuple[StateTensor, ...]:
    """What `regress` keeps of d features; a new device or task begins anew."""
    shapes = {"root": (d, d), "projection": (d,), "count": (1,), "task_vector": (d,)}
    return tuple(StateTensor(name, shape, "trial", "adapt") for name, shape in shapes.items())


def initial_state(default: Tensor | Sequence[float]) -> dict[str, Tensor]:
    """Nothing seen, and w = `default` (d,)."""
    w = torch.as_tensor(default, dtype=torch.float32)
    d = len(w)
    return {
        "root": torch.zeros(d, d),
        "projection": torch.zeros(d),
        "count": torch.zeros(1),
        "task_vector": w.clone(),
    }


def regress(state: Tensors, features: Tensor, reward: Tensor, mask: Tensor, memory: float = 1.0) -> Adapt:
    """w of all that has been seen, this window included; kept where that does not span.

    `state` as `initial_state` names it, stacked over T tasks; N transitions of d `features` (T, N, d) with `reward`
    (T, N), seen where `mask` (T, N) is 1. What is not finite, or absurdly large, is not learned from.
    `memory`: weight of what was seen before, at each call, for a task that drifts; 1 forgets nothing.

    info (T,):
        rank               how many directions of φ have been seen; w is solved for where that is d
        residual           RMS over the window of the reward that no w explains, given all that has been seen
        residual_share     the same over the RMS of the reward
        step_norm          norm of the change of w
        valid              transitions of this window that were learned from
    """
    valid = _usable(features, reward, mask)  # (T, N) of bool
    weight = valid.to(features.dtype)
    phi = torch.where(valid.unsqueeze(-1), features, 0.0)
    r = torch.where(valid, reward, 0.0)
    past = memory**0.5 * torch.cat([state["root"], state["projection"].unsqueeze(-1)], dim=2)  # (T, d, d + 1)
    seen = torch.cat([past, torch.cat([phi, r.unsqueeze(-1)], dim=2)], dim=1)  # (T, d + N, d + 1)

    scale = (seen * seen).sum(1).sqrt().clamp_min(_TINY)  # (T, d + 1) of every feature, and of the reward
    pivots, rest = _eliminate(seen / scale.unsqueeze(1))
    root, projection = _factor(pivots, scale)
    fitted = _solve(pivots) * (scale[:, -1:] / scale[:, :-1])  # (T, d)

    rank = torch.stack([pivot.found for pivot in pivots]).sum(0)  # (T,)
    spans = (rank > len(pivots) - 0.5).unsqueeze(-1)
    w = torch.where(spans, fitted, state["task_vector"])
    count = weight.sum(1)
    residual, size = _rms(rest[:, len(pivots) :] * scale[:, -1:], count), _rms(r, count)
    change = w - state["task_vector"]
    info = {
        "rank": rank,
        "residual": residual,
        "residual_share": residual / size.clamp_min(_TINY),
        "step_norm": (change * change).sum(1).sqrt(),
        "valid": count,
    }
    following = {
        "root": root,
        "projection": projection,
        "count": memory * state["count"] + count.unsqueeze(-1),
    }
    return Adapt({**following, "task_vector": w}, info)


class _Pivot(NamedTuple):
    """One step of the elimination: which feature, and the row of the factor that it gives, by feature."""

    unit: Tensor  # (T, d) one-hot
    row: Tensor  # (T, d + 1), the reward's entry last; 0 for features eliminated before
    size: Tensor  # (T,) what earlier features leave of this one, as a share of it
    found: Tensor  # (T,) 1 where that is enough to divide by


def _usable(features: Tensor, reward: Tensor, mask: Tensor) -> Tensor:
    """Where (T, N) a transition may be learned from. A comparison with NaN is false."""
    return (mask > 0.5) & (features.abs().amax(-1) < _FAR) & (reward.abs() < _FAR)


def _eliminate(x: Tensor) -> tuple[list[_Pivot], Tensor]:
    """Modified Gram-Schmidt on the columns of x (T, M, d + 1), the largest remaining one first, the last never; and
    what is left of the last (T, M).

    For least squares it is backward stable, as long as the right-hand side is eliminated along (Björck 1967, "Solving
    Linear Least Squares Problems by Gram-Schmidt Orthogonalization"). Unrolled over d, and free of branches.
    """
    d = x.shape[2] - 1
    index, is_feature = torch.arange(d + 1), (torch.arange(d + 1) < d).to(x.dtype)
    remaining = is_feature.expand(x.shape[0], d + 1)
    pivots = []
    for _ in range(d):
        norm = (x * x).sum(1)  # (T, d + 1)
        chosen = (norm + 1.0) * remaining  # so that even of features that are all 0 a remaining one is chosen
        unit = (index == chosen.argmax(-1, keepdim=True)).to(x.dtype)  # (T, d + 1)
        column = x @ unit.unsqueeze(-1)  # (T, M, 1)
        size = (norm * unit).sum(1).sqrt()  # (T,)
        direction = column * ((size > _ROUNDING).to(x.dtype) / size.clamp_min(_ROUNDING))[:, None, None]
        row = direction.transpose(1, 2) @ x  # (T, 1, d + 1)
        remaining = remaining * (1.0 - unit)
        x = (x - direction @ row) * (remaining + (1.0 - is_feature)).unsqueeze(1)
        found = (size > RANK_TOLERANCE).to(x.dtype)
        pivots.append(_Pivot(unit[:, :d], row.squeeze(1), size, found))
    return pivots, x[:, :, -1]


def _factor(pivots: Sequence[_Pivot], scale: Tensor) -> tuple[Tensor, Tensor]:
    """root (T, d, d) and projection (T, d), in the units of features and reward."""
    rows = torch.stack([pivot.row for pivot in pivots], dim=1) * scale.unsqueeze(1)  # (T, d, d + 1)
    return rows[:, :, :-1], rows[:, :, -1]


def _solve(pivots: Sequence[_Pivot]) -> Tensor:
    """Back substitution, (T, d); a feature that the others give already gets 0."""
    w = torch.zeros_like(pivots[0].unit)
    for pivot in reversed(pivots):
        rest = pivot.row[:, -1] - (pivot.row[:, :-1] * w).sum(1)
        value = pivot.found * rest / pivot.size.clamp_min(RANK_TOLERANCE)
        w = w + pivot.unit * value.unsqueeze(-1)
    return w


def _rms(x: Tensor, count: Tensor) -> Tensor:
    """Root mean square of x (T, N), 0 but for `count` (T,) entries: (T,)."""
    return ((x * x).sum(1) / count.clamp_min(1.0)).sqrt()
