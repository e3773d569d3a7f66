"""Least squares in the form that rounding hurts least: the triangular root of what is known (Bierman 1977, chapter V).

What is known of x is that R·x should be c, every row with an error of about one. More rows A·x ≈ b come in beneath, and
an orthogonal transform, which changes no error, makes a triangle of all of them again. By modified Gram-Schmidt, which
does not mind how columns are scaled (Björck 1967); the normal equations Rᵀ·R would square what columns that are nearly
alike leave, and in float32 engines would not agree on it. Nothing but products, sums and roots of static shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-12


def triangle(rows: Tensor) -> Tensor:
    """R and c, (T, K, K + 1), of rows [A | b] (T, M, K + 1)."""
    size, out = rows.shape[-1] - 1, []
    for k in range(size):
        column = rows[:, :, k : k + 1]
        direction = column * torch.rsqrt(column.square().sum(1, keepdim=True) + _LEAST)
        along = direction.transpose(1, 2) @ rows  # (T, 1, K + 1)
        rows = rows - direction @ along
        out.append(along * (torch.arange(size + 1) >= k).to(rows.dtype))
    return torch.cat(out, dim=1)


def solution(root: Tensor) -> Tensor:
    """x and R⁻¹, (T, K, 1 + K), of R and c."""
    size = root.shape[1]
    right = torch.cat(
        [root[:, :, size:], torch.eye(size, dtype=root.dtype).expand(len(root), -1, -1)], dim=-1
    )
    found = right[:, -1:] / root[:, -1:, size - 1 : size]
    for k in reversed(range(size - 1)):
        known = root[:, k : k + 1, k + 1 : size] @ found
        found = torch.cat([(right[:, k : k + 1] - known) / root[:, k : k + 1, k : k + 1], found], dim=1)
    return found
