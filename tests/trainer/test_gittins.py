"""Gittins indices: published values, values by hand, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate_trainer.baselines.gittins import discounted_gittins, finite_gittins


@pytest.mark.parametrize(
    ("discount", "wins", "losses", "expected"),
    [(0.9, 0, 0, 0.7029), (0.9, 1, 0, 0.8001), (0.9, 0, 1, 0.5001), (0.99, 0, 0, 0.8699)],
)
def test_published_values(discount: float, wins: int, losses: int, expected: float) -> None:
    """Gittins, Glazebrook and Weber, "Multi-armed Bandit Allocation Indices" (2011), tables 8.8 and following."""
    assert discounted_gittins(2, discount)[wins, losses] == pytest.approx(expected, abs=5e-4)


def test_by_hand() -> None:
    """One pull left: the mean. Two left: 1/2 − λ + 1/2·(2/3 − λ) = 0 at λ = 5/9."""
    tables = finite_gittins(2)
    assert tables[1][:2, :2] == pytest.approx(np.array([[1 / 2, 1 / 3], [2 / 3, 1 / 2]]), abs=1e-9)
    assert tables[2][0, 0] == pytest.approx(5 / 9, abs=5e-4)


def test_index_axioms() -> None:
    """Above the mean, at most 1; rises with wins and with pulls left, falls with losses; nears the mean in the end."""
    tables = finite_gittins(30)
    for left in (1, 5, 15, 30):
        table = tables[left]
        count = np.arange(len(table))
        mean = (1 + count[:, None]) / (2 + count[:, None] + count)
        assert (table >= mean - 1e-9).all()
        assert (table <= 1.0).all()
        assert (np.diff(table, axis=0) > 0).all()
        assert (np.diff(table, axis=1) < 0).all()
    assert (tables[16][:15, :15] >= tables[15][:15, :15] - 1e-9).all()
    patient, hasty = discounted_gittins(10, 0.99), discounted_gittins(10, 0.9)
    here = np.add.outer(np.arange(10), np.arange(10)) < 10
    assert (patient[here] > hasty[here]).all()
    assert np.isnan(patient[~here]).all()
