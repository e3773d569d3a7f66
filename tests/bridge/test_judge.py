"""A machine that is judged: what it measures is wᵀφ of what it measured and was told, whatever the phase."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.task.features import features
from acclimate.task.spec import TaskSpec
from acclimate_bridge.simulation.judge import Judge, JudgedPlant, JudgedSpecimen
from acclimate_bridge.simulation.servo.machine import SCHEMA, ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_bridge.simulation.servo.world import ServoWorld

from .sled import DT, HOMING, SLED, SledWorld

TASK: TaskSpec = ServoWorld().spec
WEIGHTS = {"accurate": 1.0, "quiet": 0.5, "smooth": 0.25}
MACHINE = ServoSpecimen(BUILT_IN["MX-64"], Deployment())
DUTIES = [0.5, -0.2, 0.9, 0.9, -1.0, 0.1]
TARGET = 0.3


def judged(weights: dict[str, float]) -> JudgedPlant:
    return JudgedSpecimen(MACHINE, Judge(TASK, weights)).start(np.random.default_rng(0))


def drive(plant: JudgedPlant, at: tuple[float, ...] = (0.01,)) -> list[tuple[float, ...]]:
    """The last measurement of each period; measured so many seconds after each command."""
    out = []
    for k, duty in enumerate(DUTIES):
        plant.set_targets((duty, TARGET), k * 0.01)
        for later in at:
            plant.advance(k * 0.01 + later)
            row = plant.measure()
        out.append(row)
    return out


def expected(rows: list[tuple[float, ...]], k: int) -> float:
    """wᵀφ of the period k, by the definition that trainer and graphs share."""

    def observed(name: str, ago: int) -> float:
        return {"position": rows[k - ago][0], "velocity": rows[k - ago][1], "target": TARGET}[name]

    def commanded(name: str, ago: int) -> float:
        assert name == "duty"
        return DUTIES[k - ago]

    phi = features(TASK.features, observed, commanded)
    return sum(WEIGHTS.get(f.name, 0.0) * value for f, value in zip(TASK.features, phi, strict=True))


@pytest.mark.parametrize("at", [(0.01,), (0.0025, 0.0075), (0.005, 0.01), (0.002,)])
def test_the_reward_is_that_of_the_period_that_has_ended(at: tuple[float, ...]) -> None:
    """However often a host asks, and wherever in the period."""
    rows = drive(judged(WEIGHTS), at)
    for k in range(3, len(rows)):
        assert rows[k][2] == pytest.approx(expected(rows, k), abs=1e-9)


def test_what_is_not_named_counts_nothing() -> None:
    assert [row[2] for row in drive(judged({}))] == [0.0] * len(DUTIES)


def test_it_is_still_the_machine() -> None:
    plain = MACHINE.start(np.random.default_rng(0))
    assert [row[:2] for row in drive(judged(WEIGHTS))] == [plain.step(duty) for duty in DUTIES]


def test_its_channels_are_the_machines_and_what_a_judge_needs() -> None:
    schema = JudgedSpecimen(MACHINE, Judge(TASK, WEIGHTS)).profile.schema
    assert schema.sensors[:2] == SCHEMA.sensors
    assert [c.name for c in schema.sensors[2:]] == ["reward"]
    assert [c.name for c in schema.actuators] == ["duty", "target"]


def test_a_machine_that_measures_rewards_or_has_no_features_is_not_judged() -> None:
    sled = JudgedSpecimen(SledWorld(HOMING).specimen(), Judge(replace(SLED, name=HOMING.name), {}))
    with pytest.raises(
        UsageError, match="machines of family 'homing_sled' measure 'reward' by themselves already"
    ):
        assert sled.profile
    with pytest.raises(UsageError, match="have no features to be rewarded for"):
        Judge(HOMING, {})


def test_a_machine_of_ticks_is_judged_by_the_terms_of_its_features() -> None:
    specimen = JudgedSpecimen(SledWorld().specimen(), Judge(SLED, {"near": 2.0, "calm": 0.5}))
    assert [c.name for c in specimen.profile.schema.actuators] == ["push_x", "push_y", "goal.0", "goal.1"]
    plant = specimen.start(np.random.default_rng(0))
    goal, pushes = np.array([0.5, -0.25]), [(1.0, -1.0), (0.5, -1.0), (0.5, 2.0)]
    before = (0.0, 0.0)
    for k, push in enumerate(pushes):
        plant.set_targets((*push, *goal), k * DT)
        plant.advance((k + 1) * DT)
        *place, _, _, reward = plant.measure()
        near = -float(np.sum((np.array(place) - goal) ** 2))
        calm = -sum(math.hypot(a - b, 0.01) - 0.01 for a, b in zip(push, before, strict=True))
        assert reward == pytest.approx(2.0 * near + 0.5 * calm, abs=1e-6)
        before = push
