"""Products of matrices: by the weights of a network, of two things that change, and by constants."""

from __future__ import annotations

import torch

from acclimate_trainer.compiled.ticks.elements import Elements, Ids, Source
from acclimate_trainer.compiled.ticks.pointwise import apply

_LARGE = 16  # entries of a matrix of weights from which on a loop is worth it
_OUTER = 32  # entries of an outer product that may be the gradient of weights


def matrix_product(elements: Elements, a: Ids, b: Ids) -> Ids:
    """a (m, k) by b (k, n)."""
    if (weights := _weights(elements, b)) is not None:
        return torch.stack([_by_weights(elements, row, weights, b.shape[1]) for row in a])
    if (weights := _weights(elements, a.t())) is not None:
        return torch.stack([_by_weights(elements, column, weights, a.shape[0]) for column in b.t()], dim=1)
    if a.shape[0] * b.shape[1] >= _OUTER and a.shape[1] <= min(a.shape[0], b.shape[1]) and _changing(a, b):
        return elements.outer(a.t(), b)
    return _written_out(elements, a, b)


def _by_weights(elements: Elements, x: Ids, weights: tuple[int, int, int], outputs: int) -> Ids:
    return elements.product(x.tolist(), *weights, outputs)


def _written_out(elements: Elements, a: Ids, b: Ids) -> Ids:
    """Sums of products, without those by 0 and 1."""
    total: Ids | None = None
    for column, row in zip(a.t(), b, strict=True):
        term = apply(elements, "multiply", column.unsqueeze(1), row.unsqueeze(0))
        total = term if total is None else apply(elements, "add", total, term)
    assert total is not None
    return total


def _changing(a: Ids, b: Ids) -> bool:
    return bool((a >= 0).all() and (b >= 0).all())


def _weights(elements: Elements, matrix: Ids) -> tuple[int, int, int] | None:
    """First id and steps from row to row and column to column, where these are numbers that lanes share."""
    rows, columns = matrix.shape
    first = int(matrix[0, 0])
    if matrix.numel() < _LARGE or not _uniform(elements.source_of(first), matrix):
        return None
    by_row = int(matrix[1, 0]) - first if rows > 1 else 0
    by_column = int(matrix[0, 1]) - first if columns > 1 else 0
    regular = first + by_row * torch.arange(rows).unsqueeze(1) + by_column * torch.arange(columns)
    return (first, by_row, by_column) if torch.equal(matrix, regular) else None


def _uniform(source: Source | None, matrix: Ids) -> bool:
    if source is None or not source.uniform:
        return False
    return bool(((matrix >= source.first) & (matrix < source.first + source.size)).all())
