"""What may happen to a servo in mid-drive: what it does to the parameters, and to the motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate_bridge.command.options import moment
from acclimate_bridge.simulation.servo.changes import KINDS, SAGGED, ChangeKind, changed
from acclimate_bridge.simulation.servo.plant import Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.servos import BUILT_IN

SERVO = replace(BUILT_IN["MX-64"], encoder_noise=0.0, backlash=0.0)
LOADED = Deployment(drive_gain=2.0, delay=0.01, gravity=1.0, inertia=0.02)


def moving() -> SimulatedServo:
    plant = SimulatedServo(SERVO, LOADED, np.random.default_rng(0))
    for _ in range(20):
        plant.step(0.3)
    return plant


def speed(plant: SimulatedServo) -> float:
    """Mean over the next ms, rad/s, without the encoder."""
    before = plant.angle
    plant.advance(plant.time + 0.001)
    return (plant.angle - before) / 0.001


def test_a_payload_is_dropped_with_all_that_belongs_to_it() -> None:
    assert changed(SERVO, LOADED, "payload") == Deployment(drive_gain=2.0, delay=0.01)


def test_a_servo_that_carries_nothing_picks_a_payload_up() -> None:
    after = changed(SERVO, Deployment(drive_gain=2.0), "payload")
    assert after.gravity == pytest.approx(0.2 * 2.0 * SERVO.stall_torque)
    assert after.inertia == SERVO.m1.armature
    assert changed(SERVO, after, "payload") == Deployment(drive_gain=2.0)


def test_a_polarity_flips_and_flips_back() -> None:
    once = changed(SERVO, LOADED, "polarity")
    assert once == replace(LOADED, polarity=-1.0)
    assert changed(SERVO, once, "polarity") == LOADED


def test_a_supply_sags_by_a_factor() -> None:
    assert changed(SERVO, LOADED, "supply") == replace(LOADED, drive_gain=SAGGED * 2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_motion_is_continuous_and_only_its_rate_jumps(kind: ChangeKind) -> None:
    same, other = moving(), moving()
    other.deployment = changed(SERVO, LOADED, kind)
    assert other.angle == same.angle
    assert speed(other) == pytest.approx(
        speed(same), rel=0.15
    )  # an acceleration acts on it for a millisecond
    for plant in (same, other):
        plant.step(0.3)
    assert abs(speed(other) - speed(same)) > 0.02 * abs(speed(same))


def test_a_flipped_motor_pulls_the_other_way() -> None:
    plant = moving()
    assert speed(plant) > 1.0
    plant.deployment = changed(SERVO, LOADED, "polarity")
    for _ in range(20):
        plant.step(0.3)
    assert speed(plant) < -1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_read_from_text(kind: ChangeKind) -> None:
    assert moment("change", f"{kind}@2.5", "KIND", KINDS) == (kind, 2.5)


@pytest.mark.parametrize(
    "text", ["polarity", "fire@1", "supply@", "supply@x", "supply@nan", "payload@-1", "@1"]
)
def test_other_text_is_refused_with_the_valid_names(text: str) -> None:
    with pytest.raises(UsageError, match="is not KIND@SECONDS, as in payload@5"):
        moment("change", text, "KIND", KINDS)
