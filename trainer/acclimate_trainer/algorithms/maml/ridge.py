"""The baseline of the inner step: ridge regression on a task's own transitions, and what it leaves unexplained.

Features are scaled to unit mean square first, so that one ridge suits them all. They are nearly collinear, and the
residual is small against the values, so that the rounding of the normal equations alone would be seen in the adapted
parameters. One step of iterative refinement, its residual taken from the data, removes that. With features X, values
y, a mask M of n transitions and ridge ρ:

    A·β = Xᵀ·M·y/n,    A = Xᵀ·M·X/n + ρ,    r = y − X·β
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

RIDGE = 1e-3  # of normalised features
_EPSILON = 1e-6


def ridge_residual(features: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """What ridge regression on `features` (T, N, F), fitted where `mask` (T, N), leaves of `values` (T, N)."""
    return _fitted(features, values, mask).residual


def ridge_residual_by_hand(features: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """The same with its gradient by features and values written out, a fraction of the work; for training only."""
    residual: Tensor = _Residual.apply(features, values, mask)  # type: ignore[no-untyped-call]
    return residual


class _Fit(NamedTuple):
    """x: features by their `scale` (T, 1, F). project: x where the mask is, (T, F, N). inverse: of A."""

    x: Tensor
    scale: Tensor
    project: Tensor
    inverse: Tensor
    weights: Tensor  # β (T, F, 1)
    residual: Tensor  # (T, N)


def _fitted(features: Tensor, values: Tensor, mask: Tensor) -> _Fit:
    count = _count(mask)
    mean_square = mask.unsqueeze(1) @ (features * features) / count  # (T, 1, F)
    scale = torch.rsqrt(mean_square + _EPSILON)
    x = features * scale
    project = (x * mask.unsqueeze(-1)).transpose(1, 2)
    inverse = inverse_spd(project @ x / count + RIDGE * torch.eye(x.shape[-1]))
    target = values.unsqueeze(-1)
    first = inverse @ (project @ target / count)
    rest = target - x @ first
    second = inverse @ (project @ rest / count - RIDGE * first)
    return _Fit(x, scale, project, inverse, first + second, (rest - x @ second).squeeze(-1))


def _count(mask: Tensor) -> Tensor:
    """(T, 1, 1)"""
    return mask.sum(-1).clamp_min(1.0)[:, None, None]


class _Residual(torch.autograd.Function):
    """With u = A⁻¹·Xᵀ·g, the gradient g of r is that of y less M·X·u/n, and of X it is −dy·βᵀ − M·r·uᵀ/n."""

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        fit = _fitted(features, values, mask)
        ctx.save_for_backward(features, mask, *fit)
        return fit.residual

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, g: Tensor) -> tuple[Tensor, Tensor, None]:
        features, mask, *kept = ctx.saved_tensors  # type: ignore[attr-defined]
        fit, count = _Fit(*kept), _count(mask)
        share = mask.unsqueeze(-1) / count  # (T, N, 1)
        pulled = fit.x.transpose(1, 2) @ g.unsqueeze(-1)
        u = fit.inverse @ pulled
        u = u + fit.inverse @ (pulled - fit.project @ (fit.x @ u) / count - RIDGE * u)  # refined as well
        d_values = g.unsqueeze(-1) - share * (fit.x @ u)
        left = torch.cat([d_values, share * fit.residual.unsqueeze(-1)], dim=-1)  # (T, N, 2)
        right = -torch.cat([fit.weights, u], dim=-1).transpose(1, 2)  # (T, 2, F); dX = left·right
        d_scale = ((left.transpose(1, 2) @ features) * right).sum(1, keepdim=True)
        own = left @ (right * fit.scale)
        return torch.addcmul(own, features, share * (-(fit.scale**3) * d_scale)), d_values.squeeze(-1), None


def inverse_spd(a: Tensor) -> Tensor:
    """Inverse of symmetric positive definite a (T, F, F).

    Gauss-Jordan without pivoting, unrolled: stable for such matrices, and nothing but products and sums, which
    every engine has.
    """
    n = a.shape[-1]
    m = torch.cat([a, torch.eye(n, dtype=a.dtype).expand_as(a)], dim=-1)  # (T, F, 2F)
    for i in range(n):
        row = m[:, i : i + 1]
        unit = torch.zeros(n, 1, dtype=a.dtype)
        unit[i] = 1.0
        m = m - (m[:, :, i : i + 1] - unit) * (row / row[:, :, i : i + 1])
    return m[:, :, n:]
