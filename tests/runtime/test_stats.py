import json
import math

import pytest
from acclimate.stats import mean_interval, t_quantile

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
