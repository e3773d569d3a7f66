"""Gittins indices of a Bernoulli arm: the charge per pull at which it is just worth pulling.

Pulling the arm of highest index is optimal for discounted rewards without end (Gittins, "Bandit processes and
dynamic allocation indices", 1979). For n undiscounted pulls the index with as many pulls as are left is a strong
heuristic (Kaufmann, "On Bayesian index policies for sequential resource allocation", 2018, who calls it
FH-Gittins). Calibration: for each charge λ of a grid, V_λ = max(0, m − λ + γ·E[V_λ of the next counts]), solved
backwards; the index is where the second argument crosses 0, interpolated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
GRID = (
    256  # intervals of λ in [0, 1]; what is interpolated is convex and piecewise linear, good to about 1e-5
)
LOOKAHEAD = 1000  # pulls after which, at the latest, a discounted arm is taken for known


def finite_gittins(pulls: int) -> list[Table]:
    """Index by pulls left, wins and losses: entry m is (pulls + 1 − m, pulls + 1 − m), entry 0 empty."""
    charge = _charges()
    value: Table = np.zeros((pulls + 1, pulls + 1, 1))
    tables: list[Table] = [np.empty((0, 0))]
    for left in range(1, pulls + 1):
        mean = _means(pulls + 1 - left)
        surplus = mean - charge + mean * value[1:, :-1] + (1.0 - mean) * value[:-1, 1:]
        tables.append(_crossing(surplus, charge))
        value = np.maximum(surplus, 0.0)
    return tables


def discounted_gittins(pulls: int, discount: float) -> Table:
    """Index by wins and losses, (pulls, pulls), for rewards discounted by `discount` < 1 without end.

    Entries of `pulls` trials or more are NaN.
    """
    charge, table = _charges(), np.full((pulls, pulls), np.nan)
    horizon = pulls + min(LOOKAHEAD, round(5.0 / (1.0 - discount)))
    value = np.maximum(_diagonal(horizon) - charge, 0.0) / (1.0 - discount)  # an arm known by then
    for total in range(horizon - 1, -1, -1):
        mean, wins = _diagonal(total), np.arange(total + 1)
        surplus = mean - charge + discount * (mean * value[1:] + (1.0 - mean) * value[:-1])
        if total < pulls:
            table[wins, total - wins] = _crossing(surplus, charge)
        value = np.maximum(surplus, 0.0)
    return table


def _charges() -> Table:
    return np.linspace(0.0, 1.0, GRID + 1)


def _means(size: int) -> Table:
    """Posterior mean by wins and losses, (size, size, 1)."""
    count = np.arange(size, dtype=np.float64)
    mean: Table = (1.0 + count[:, None]) / (2.0 + count[:, None] + count)
    return mean[..., None]


def _diagonal(total: int) -> Table:
    """Posterior mean by wins after `total` trials, (total + 1, 1)."""
    mean: Table = np.arange(1.0, total + 2.0) / (2.0 + total)
    return mean[:, None]


def _crossing(surplus: Table, charge: Table) -> Table:
    """The charge at which `surplus` falls through 0, along the last axis."""
    after = np.clip((surplus > 0.0).sum(-1), 1, GRID)
    above, below = (np.take_along_axis(surplus, (after - i)[..., None], -1)[..., 0] for i in (1, 0))
    crossing: Table = charge[after - 1] + above / (above - below) / GRID
    return crossing
