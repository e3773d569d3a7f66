import numpy as np
import pytest
from acclimate.servo_features import FEATURES, servo_features


def test_each_has_a_name_and_says_what_more_of_it_asks_for() -> None:
    assert [feature.name for feature in FEATURES] == ["accurate", "frugal", "smooth", "quiet", "fast"]
    assert all(feature.meaning for feature in FEATURES)


def test_a_servo_at_rest_at_its_target_loses_nothing() -> None:
    phi = servo_features((0.3, 0.3, 0.3, 0.3), 0.3, 0.0, 0.0)
    assert phi == pytest.approx((0.0, 0.0, 0.0, 0.0, 1.0), abs=1e-12)


def test_each_feature_counts_what_it_says() -> None:
    accurate, _, _, _, fast = servo_features((0.05, 0.05, 0.05, 0.05), 0.0, 0.0, 0.0)
    assert accurate == pytest.approx(-1.0, abs=0.2)  # 0.05 rad
    assert servo_features((0.03,) * 4, 0.0, 0.0, 0.0)[4] == pytest.approx(0.5)
    assert fast < 0.5
    _, frugal, _, quiet, _ = servo_features((0.0,) * 4, 0.0, 0.4, -0.4)
    assert frugal == pytest.approx(-5.0 * 0.16)
    assert quiet == pytest.approx(-5.0 * 0.8, abs=0.06)
    # Constant acceleration is smooth; a change of it by 0.01 rad/tick² is one unit.
    assert servo_features((9.0, 4.0, 1.0, 0.0), 0.0, 0.0, 0.0)[2] == pytest.approx(0.0, abs=1e-9)
    assert servo_features((0.01, 0.0, 0.0, 0.0), 0.0, 0.0, 0.0)[2] == pytest.approx(-1.0, abs=0.25)


def test_arrays_are_taken_entry_by_entry() -> None:
    rng = np.random.default_rng(0)
    positions, target, duty, before = rng.standard_normal((4, 7)), *rng.standard_normal((3, 7))
    together = np.stack(
        servo_features((positions[0], positions[1], positions[2], positions[3]), target, duty, before)
    )
    for i in range(7):
        p = positions[:, i]
        one = servo_features((p[0], p[1], p[2], p[3]), target[i], duty[i], before[i])
        np.testing.assert_allclose(together[:, i], one)
