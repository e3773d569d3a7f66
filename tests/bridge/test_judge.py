"""A simulated servo that judges itself: what it measures is wᵀφ of what it measured and was told."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate.servo_features import FEATURES, servo_features
from acclimate_bridge.simulation.judge import JudgedServo
from acclimate_bridge.simulation.servo.plant import Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.device import JUDGED_SCHEMA, SCHEMA
from acclimate_bridge.simulation.servo.servos import BUILT_IN

WEIGHTS = {"accurate": 1.0, "quiet": 0.5, "smooth": 0.25}


def servo(weights: dict[str, float]) -> JudgedServo:
    return JudgedServo(SimulatedServo(BUILT_IN["MX-64"], Deployment(), np.random.default_rng(0)), weights)


def drive(judged: JudgedServo, duties: list[float], target: float) -> list[tuple[float, ...]]:
    """A measurement after each period."""
    out = []
    for k, duty in enumerate(duties):
        judged.set_targets((duty, target), k * 0.01)
        judged.advance((k + 1) * 0.01)
        out.append(judged.measure())
    return out


def test_the_reward_is_that_of_the_period_that_has_ended() -> None:
    duties = [0.5, -0.2, 0.9, 0.9, -1.0, 0.1]
    rows = drive(servo(WEIGHTS), duties, 0.3)
    positions = [row[0] for row in rows]
    for k in range(3, 6):
        phi = servo_features(
            (positions[k], positions[k - 1], positions[k - 2], positions[k - 3]),
            0.3,
            duties[k],
            duties[k - 1],
        )
        expected = sum(WEIGHTS.get(f.name, 0.0) * value for f, value in zip(FEATURES, phi, strict=True))
        assert rows[k][2] == pytest.approx(expected, abs=1e-9)


def test_what_is_not_named_counts_nothing() -> None:
    assert [row[2] for row in drive(servo({}), [0.5, -0.5], 1.0)] == [0.0, 0.0]


def test_it_is_still_the_servo() -> None:
    plain = SimulatedServo(BUILT_IN["MX-64"], Deployment(), np.random.default_rng(0))
    rows = drive(servo(WEIGHTS), [0.5, 0.5, -0.3], 0.0)
    assert [row[:2] for row in rows] == [plain.step(duty) for duty in (0.5, 0.5, -0.3)]


def test_its_channels_are_the_servos_and_two_more() -> None:
    assert JUDGED_SCHEMA.sensors[:2] == SCHEMA.sensors
    assert [c.name for c in JUDGED_SCHEMA.sensors[2:]] == ["reward"]
    assert [c.name for c in JUDGED_SCHEMA.actuators] == ["duty", "target"]
