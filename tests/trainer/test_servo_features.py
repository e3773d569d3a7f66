"""What the features of servos count: so many units of so much."""

import pytest
from acclimate.task.features import features
from acclimate_trainer.tasks.servo.spec import FEATURES

Four = tuple[float, float, float, float]


def phi(position: Four, target: float = 0.0, duty: float = 0.0, before: float = 0.0) -> dict[str, float]:
    """position: newest first, rad; duty: of the tick, and of the one before."""
    observed = {"position": position, "target": (target,)}
    found = features(FEATURES, lambda name, ago: observed[name][ago], lambda _, ago: (duty, before)[ago])
    return dict(zip([feature.name for feature in FEATURES], found, strict=True))


def test_each_says_what_more_of_it_asks_for() -> None:
    assert [feature.name for feature in FEATURES] == ["accurate", "frugal", "smooth", "quiet", "fast"]
    assert all(feature.meaning for feature in FEATURES)


def test_a_servo_at_rest_at_its_target_loses_nothing() -> None:
    rest = phi((0.3, 0.3, 0.3, 0.3), 0.3)
    assert list(rest.values()) == pytest.approx([0.0, 0.0, 0.0, 0.0, 1.0], abs=1e-12)


def test_each_counts_what_it_says() -> None:
    off = phi((0.05, 0.05, 0.05, 0.05))
    assert off["accurate"] == pytest.approx(-1.0, abs=0.2)  # 0.05 rad
    assert off["fast"] < 0.5
    assert phi((0.03, 0.03, 0.03, 0.03))["fast"] == pytest.approx(0.5)
    driven = phi((0.0, 0.0, 0.0, 0.0), duty=0.4, before=-0.4)
    assert driven["frugal"] == pytest.approx(-5.0 * 0.16)
    assert driven["quiet"] == pytest.approx(-5.0 * 0.8, abs=0.06)
    # Constant acceleration is smooth; a change of it by 0.01 rad/tick² is one unit.
    assert phi((9.0, 4.0, 1.0, 0.0))["smooth"] == pytest.approx(0.0, abs=1e-9)
    assert phi((0.01, 0.0, 0.0, 0.0))["smooth"] == pytest.approx(-1.0, abs=0.25)
