"""The servo family computes, to the last bit, what it computed before it became one family among others."""

from __future__ import annotations

import pytest

from tests.trainer import servo_bits

KEPT = servo_bits.kept()


@pytest.mark.parametrize(("name", "progress"), servo_bits.CASES)
def test_gradients_are_those_recorded(name: str, progress: float) -> None:
    found, cases = servo_bits.recorded(name, progress), KEPT["cases"]
    assert isinstance(cases, dict)
    wanted = cases[servo_bits.key(name, progress)]
    assert found["norm"] == pytest.approx(wanted["norm"], rel=1e-3)
    assert found["headline"] == pytest.approx(wanted["headline"], rel=1e-4)
    if servo_bits.machine() == KEPT["machine"]:  # elsewhere the last bits differ for other reasons
        assert found["gradient"] == wanted["gradient"]
