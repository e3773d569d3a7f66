"""Held-out devices: drawn from the ranges, but for what a description states; what an oracle is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acclimate_bridge.simulation.servo.deployments import (
    draw_deployment,
    stated_deployment,
    true_parameters,
)
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN

SERVO = BUILT_IN["MX-64"]
RANGES = {
    "drive_gain": (0.25, 4.0),
    "gravity_fraction": (0.0, 0.25),
    "inertia_ratio": (0.1, 2.0),
    "delay": (0.0, 0.03),
    "polarity": (-1.0, 1.0),
    "kt": (0.6, 2.2),
    "spread": (1.3, 1.3),
}


def draws(n: int = 2000) -> list[Deployment]:
    rng = np.random.default_rng(0)
    return [draw_deployment(SERVO, RANGES, rng) for _ in range(n)]


def test_draws_fill_their_ranges() -> None:
    drawn = draws()
    gain = np.array([d.drive_gain for d in drawn])
    assert 0.25 <= gain.min() < 0.27
    assert 3.7 < gain.max() <= 4.0
    assert np.mean(gain < 1.0) == pytest.approx(0.5, abs=0.04)  # log-uniform
    delay = np.array([d.delay for d in drawn])
    assert np.mean(delay) == pytest.approx(0.015, abs=0.001)
    share = np.array([d.gravity / (SERVO.stall_torque * d.drive_gain) for d in drawn])
    assert 0.0 <= share.min() < 0.01
    assert 0.24 < share.max() <= 0.25
    ratio = np.array([d.inertia / SERVO.m1.armature for d in drawn])
    assert ratio.min() >= 0.1
    assert ratio.max() <= 2.0
    assert {d.polarity for d in drawn} == {-1.0, 1.0}
    assert np.mean([d.polarity for d in drawn]) == pytest.approx(0.0, abs=0.06)


def test_absent_ranges_give_the_plain_device() -> None:
    assert draw_deployment(SERVO, {}, np.random.default_rng(0)) == Deployment()


def test_what_the_description_states_is_not_drawn() -> None:
    stated = replace(SERVO, drive_gain=1.5, polarity=-1.0, delay=0.01, load_gravity=0.2, load_inertia=0.003)
    expected = Deployment(1.5, -1.0, 0.01, 0.2, 0.003)
    assert draw_deployment(stated, RANGES, np.random.default_rng(0)) == expected
    assert stated_deployment(stated) == expected


def test_stating_one_thing_leaves_the_other_draws_alone() -> None:
    drawn = draw_deployment(SERVO, RANGES, np.random.default_rng(3))
    with_delay = draw_deployment(replace(SERVO, delay=0.02), RANGES, np.random.default_rng(3))
    assert with_delay == replace(drawn, delay=0.02)


def test_the_truth_is_that_of_the_simple_model() -> None:
    field = Deployment(drive_gain=2.0, polarity=-1.0, delay=0.02, gravity=0.3, inertia=0.01)
    m1 = SERVO.m1
    assert true_parameters(SERVO, field) == pytest.approx(
        {
            "kt": m1.kt,
            "resistance": m1.resistance,
            "voltage": 30.0,
            "inertia": m1.armature + 0.01,
            "coulomb": m1.coulomb,
            "viscous": m1.viscous,
            "gravity": 0.3,
            "delay": 0.02,
            "polarity": -1.0,
        }
    )
