"""The task vector w from rewards, r = φᵀw, as a step of `adapt`: recursive least squares in square-root form.

What has been seen is kept as a triangular factor and not as normal equations:

    rootᵀ·root = Σ φφᵀ,   rootᵀ·projection = Σ φ·(r − r̂)

where r̂ = φᵀ·solution, and solution is what w was when φ last spanned, 0 before. From then on the projection is 0, and
what is regressed is the surprise alone: nothing that was rounded once is kept for ever, and w is as good after a
million transitions as after a hundred.

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

import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import StateTensor
from torch import Tensor

from acclimate_trainer.contract.policy import Adapt, Tensors

RANK_TOLERANCE = 1e-3  # a feature of which the others leave a smaller share than this is one of theirs
LEAST_RESIDUAL = 5e-6  # share of the reward that may be rounding
_ROUNDING = 3e-5  # what is left where nothing is
_FAR = 1e6  # beyond anything that is a feature or a reward
_TINY = 1e-12  # a feature that has never been larger has never been seen


def state_tensors(d: int) -> tuple[StateTensor, ...]:
    """What `regress` keeps of d features; a new device or task begins anew."""
    shapes = {"root": (d, d), "projection": (d,), "solution": (d,), "count": (1,), "task_vector": (d,)}
    return tuple(StateTensor(name, shape, "trial", "adapt") for name, shape in shapes.items())


def initial_state(default: Tensor | Sequence[float]) -> dict[str, Tensor]:
    """Nothing seen, and w = `default` (d,)."""
    w = torch.as_tensor(default, dtype=torch.float32)
    d = len(w)
    return {
        "root": torch.zeros(d, d),
        "projection": torch.zeros(d),
        "solution": torch.zeros(d),
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
        residual_share     the same over the RMS of the reward; never below LEAST_RESIDUAL, which is rounding
        step_norm          norm of the change of w
        valid              transitions of this window that were learned from
    """
    valid = _usable(features, reward, mask)  # (T, N) of bool
    weight = valid.to(features.dtype)
    phi = torch.where(valid.unsqueeze(-1), features, 0.0)
    r = torch.where(valid, reward, 0.0)
    surprise = r - (phi @ state["solution"].unsqueeze(-1)).squeeze(-1)  # (T, N)
    past = memory**0.5 * torch.cat([state["root"], state["projection"].unsqueeze(-1)], dim=2)  # (T, d, d + 1)
    seen = torch.cat([past, torch.cat([phi, surprise.unsqueeze(-1)], dim=2)], dim=1)  # (T, d + N, d + 1)

    scale = (seen * seen).sum(1).sqrt().clamp_min(_TINY)  # (T, d + 1) of every feature, and of the surprise
    # In the features' own order there is but one root. An order chosen by size would be decided by the last digit where
    # two are alike, and another engine would keep another root.
    triangle, rest = _triangulate(seen / scale.unsqueeze(1))
    d = triangle.shape[1]
    root, projection = torch.split(triangle * scale.unsqueeze(1), [d, 1], dim=2)
    fitted = state["solution"] + _solve(triangle) * (scale[:, -1:] / scale[:, :-1])  # (T, d)

    rank = _rank(triangle[:, :, :d])
    spans = (rank > d - 0.5).unsqueeze(-1)
    w = torch.where(spans, fitted, state["task_vector"])
    change = w - state["task_vector"]
    count = weight.sum(1)
    unexplained, size = _rms(rest[:, d:] * scale[:, -1:], count), _rms(r, count)
    share = (unexplained / size.clamp_min(_TINY)).clamp_min(LEAST_RESIDUAL)
    info = {
        "rank": rank,
        "residual": share * size,
        "residual_share": share,
        "step_norm": (change * change).sum(1).sqrt(),
        "valid": count,
    }
    following = {
        "root": root,
        "projection": torch.where(spans, 0.0, projection.squeeze(-1)),
        "solution": torch.where(spans, fitted, state["solution"]),
        "count": memory * state["count"] + count.unsqueeze(-1),
    }
    return Adapt({**following, "task_vector": w}, info)


def _usable(features: Tensor, reward: Tensor, mask: Tensor) -> Tensor:
    """Where (T, N) a transition may be learned from. A comparison with NaN is false."""
    return (mask > 0.5) & (features.abs().amax(-1) < _FAR) & (reward.abs() < _FAR)


def _triangulate(x: Tensor) -> tuple[Tensor, Tensor]:
    """Modified Gram-Schmidt on the columns of x (T, M, d + 1), in their order, but for the last: the triangular factor
    (T, d, d + 1), and what is left of the last (T, M).

    For least squares it is backward stable, as long as the right-hand side is eliminated along (Björck 1967, "Solving
    Linear Least Squares Problems by Gram-Schmidt Orthogonalization"). Unrolled over d, and free of branches.
    """
    rows = []
    for i in range(x.shape[2] - 1):
        column = x[:, :, :1]
        size = (column * column).sum(1, keepdim=True).sqrt()  # (T, 1, 1)
        direction = column * ((size > _ROUNDING).to(x.dtype) / size.clamp_min(_ROUNDING))
        row = direction.transpose(1, 2) @ x  # (T, 1, d + 1 − i)
        rows.append(F.pad(row, (i, 0)))
        x = x[:, :, 1:] - direction @ row[:, :, 1:]
    return torch.cat(rows, dim=1), x.squeeze(-1)


def _rank(x: Tensor) -> Tensor:
    """How many columns of x (T, d, d) are far enough from the span of the others, (T,).

    The largest remaining one is eliminated first. In their own order, columns may each be far from those before them
    and yet all but dependent together.
    """
    d = x.shape[2]
    index, remaining = torch.arange(d), torch.ones(x.shape[0], d)
    found = []
    for _ in range(d):
        norm = (x * x).sum(1)  # (T, d)
        chosen = (norm + 1.0) * remaining  # so that even of features that are all 0 a remaining one is chosen
        unit = (index == chosen.argmax(-1, keepdim=True)).to(x.dtype)  # (T, d)
        column = x @ unit.unsqueeze(-1)  # (T, d, 1)
        size = (column * column).sum(1, keepdim=True).sqrt()  # (T, 1, 1)
        direction = column / size.clamp_min(_ROUNDING)
        remaining = remaining * (1.0 - unit)
        x = x - direction @ (direction.transpose(1, 2) @ x)
        found.append((size > RANK_TOLERANCE).to(x.dtype))
    return torch.cat(found, dim=1).sum(dim=(1, 2))


def _solve(triangle: Tensor) -> Tensor:
    """w (T, d) of the triangular factor (T, d, d + 1), by back substitution."""
    d = triangle.shape[1]
    w = triangle[:, d - 1 :, d] / triangle[:, d - 1 :, d - 1].clamp_min(_ROUNDING)  # (T, 1)
    for i in reversed(range(d - 1)):
        rest = triangle[:, i : i + 1, d] - (triangle[:, i, i + 1 : d] * w).sum(1, keepdim=True)
        w = torch.cat([rest / triangle[:, i : i + 1, i].clamp_min(_ROUNDING), w], dim=1)
    return w


def _rms(x: Tensor, count: Tensor) -> Tensor:
    """Root mean square of x (T, N), 0 but for `count` (T,) entries: (T,)."""
    return ((x * x).sum(1) / count.clamp_min(1.0)).sqrt()
