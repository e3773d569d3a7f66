"""The PID law to the letter, and the sign test on every servo, wired either way."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from acclimate.bundle.manifest import Manifest
from acclimate.errors import MismatchError
from acclimate.task.spec import TaskSpec, TrackingReference
from acclimate_bridge.evaluation.pid import SIGN_TEST_TICKS, Pid, PidGains, SignTest
from acclimate_bridge.simulation.deployments import draw_deployment
from acclimate_bridge.simulation.plant import SimulatedServo
from acclimate_bridge.simulation.servos import BUILT_IN

NOTHING = np.zeros(1, np.float32)


@pytest.fixture(scope="module")
def manifest(tiny: ModuleType) -> Manifest:
    found: Manifest = tiny.manifest()
    return found


def act(pid: Pid, *obs: float) -> float:
    return float(pid.act(np.array(obs, np.float32), NOTHING)[0])


def test_each_gain_does_its_part(manifest: Manifest) -> None:
    obs = (0.1, 0.5, 0.3, 0.7)  # error 0.2, velocity error 0.2
    assert act(Pid(PidGains(2.0, 0, 0, 0), manifest), *obs) == pytest.approx(0.4)
    assert act(Pid(PidGains(0, 0, 3.0, 0), manifest), *obs) == pytest.approx(0.6)
    assert act(Pid(PidGains(0, 0, 0, 0.5), manifest), *obs) == pytest.approx(0.35)


def test_the_integral_is_updated_before_it_is_used_and_cleared_per_episode(manifest: Manifest) -> None:
    pid = Pid(PidGains(0, 10.0, 0, 0), manifest)
    assert [act(pid, 0, 0, 0.2, 0) for _ in range(3)] == pytest.approx([0.02, 0.04, 0.06])
    pid.reset("episode")
    assert act(pid, 0, 0, 0.2, 0) == pytest.approx(0.02)


def test_integral_and_output_are_clamped(manifest: Manifest) -> None:
    pid = Pid(PidGains(0, 1000.0, 0, 0), manifest)
    assert [act(pid, 0, 0, 1.0, 0) for _ in range(5)] == [0.5] * 5
    assert act(pid, 0, 0, -0.04, 0) == pytest.approx(0.1)  # it comes back at once: no wind-up
    assert act(Pid(PidGains(100.0, 0, 0, 0), manifest), 0, 0, -1.0, 0) == -1.0


@pytest.mark.parametrize("polarity", [1.0, -1.0])
@pytest.mark.parametrize("name", BUILT_IN)
def test_the_sign_test_finds_out_how_a_motor_is_wired(name: str, polarity: float) -> None:
    ranges = {
        "drive_gain": (0.25, 4.0),
        "gravity_fraction": (0.0, 0.25),
        "inertia_ratio": (0.1, 2.0),
        "delay": (0.0, 0.03),
    }
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        field = replace(draw_deployment(BUILT_IN[name], ranges, rng), polarity=polarity)
        plant = SimulatedServo(BUILT_IN[name], field, rng, q0=float(rng.uniform(-1.7, 1.7)))
        test = SignTest()
        position = plant.measure()[0]
        for _ in range(SIGN_TEST_TICKS):
            if test.sign is None:
                position, _ = plant.step(test.act(position))
        found.append(test.sign)
    assert found.count(polarity) >= 59


def test_with_a_sign_test_the_law_follows_the_motor(manifest: Manifest) -> None:
    pid = Pid(PidGains(1.0, 0, 0, 0, sign_test=True), manifest)
    position = 0.0
    assert pid.sign is None
    for _ in range(SIGN_TEST_TICKS):
        position -= 0.05 * act(pid, position, 0.0, 1.0, 0.0)
    assert pid.sign == -1.0
    assert act(pid, 0.0, 0.0, 0.5, 0.0) == pytest.approx(-0.5)
    pid.reset("episode")
    assert pid.sign == -1.0
    pid.reset("trial")
    assert pid.sign is None


def _at(task: TaskSpec, sensor: str) -> TrackingReference:
    assert task.reference is not None
    return replace(task.reference, tracks=tuple(replace(t, measured=sensor) for t in task.reference.tracks))


def test_a_bundle_for_something_else_is_refused(manifest: Manifest) -> None:
    task = manifest.task
    channels = tuple(replace(c, name="angle") if c.name == "position" else c for c in task.observation)
    other = replace(task, observation=channels, metrics=task.metrics[1:], reference=_at(task, "angle"))
    with pytest.raises(MismatchError, match="needs one action, and the observations position"):
        Pid(PidGains(1, 0, 0, 0), replace(manifest, task=other))
