"""The first minute of the hour that the benchmark drives."""

import pytest

from benchmarks import endurance


def test_a_minute_of_pauses_bursts_and_a_fast_clock_ends_well() -> None:
    found = endurance.endure(60.0, seed=0)
    assert found.pauses == 19
    assert found.loop.rearmed == found.pauses
    assert found.miscounted == 0
    assert found.link.drift == pytest.approx(-endurance.DRIFT, abs=1e-3)
    assert found.error_last < 0.1
    assert found.loop.blind == 0
