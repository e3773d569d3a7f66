import json
import math

import numpy as np
import pytest
from acclimate.stats import clustered_interval, mean_interval, t_quantile

# Two-sided 95 % and 99 % critical values as tabulated in any statistics text.
TABLE = {1: (12.706, 63.657), 2: (4.303, 9.925), 5: (2.571, 4.032), 10: (2.228, 3.169), 30: (2.042, 2.750)}


@pytest.mark.parametrize("dof", TABLE)
def test_quantiles_are_the_tabulated_ones(dof: int) -> None:
    assert t_quantile(dof, 0.95) == pytest.approx(TABLE[dof][0], abs=1e-3)
    assert t_quantile(dof, 0.99) == pytest.approx(TABLE[dof][1], abs=1e-3)


def test_series_and_expansion_meet() -> None:
    assert t_quantile(399) == pytest.approx(t_quantile(400), abs=1e-4)
    assert t_quantile(10**6) == pytest.approx(1.959966, abs=1e-5)


def test_interval_of_a_worked_example() -> None:
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * math.sqrt(5.0 / 3.0 / 4.0)
    assert interval.mean == 2.5
    assert interval.n == 4
    assert interval.high - interval.mean == pytest.approx(half, abs=1e-5)
    assert interval.mean - interval.low == pytest.approx(half, abs=1e-5)


def test_one_sample_has_no_interval_and_says_so_in_json() -> None:
    interval = mean_interval([3.0])
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert (
        json.dumps(interval.as_dict(), allow_nan=False) == '{"mean": 3.0, "low": null, "high": null, "n": 1}'
    )


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        mean_interval([])


def test_the_mean_is_over_all_machines_of_all_trainings() -> None:
    table = [[1.0, 2.0], [3.0, 4.0]]
    assert clustered_interval(table).mean == 2.5


def test_machines_that_share_the_luck_of_their_training_are_not_independent() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(5, 1))
    alike, apart = luck + 0.01 * rng.normal(size=(5, 100)), rng.normal(size=(5, 100))
    few, many = clustered_interval(alike), clustered_interval(apart)
    by_training = mean_interval(alike.mean(1))  # what machines add to it is next to nothing
    assert few.high - few.low == pytest.approx(by_training.high - by_training.low, rel=0.2)
    assert few.high - few.low > 2.0 * (many.high - many.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        table = 1.0 + rng.normal(size=(5, 1)) + rng.normal(size=(1, 24)) + rng.normal(size=(5, 24))
        found = clustered_interval(table, draws=400)
        held += found.low <= 1.0 <= found.high
    assert 0.9 <= held / 200 <= 1.0


def test_one_training_has_no_interval() -> None:
    found = clustered_interval([[1.0, 2.0, 3.0]])
    assert (found.mean, found.n) == (2.0, 1)
    assert math.isnan(found.low)


@pytest.mark.parametrize("table", [[], [1.0, 2.0], [[]]])
def test_what_is_no_table_is_refused(table: list[float]) -> None:
    with pytest.raises(ValueError, match="table of trainings and machines"):
        clustered_interval(table)
