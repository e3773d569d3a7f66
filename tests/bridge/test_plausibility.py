"""What the guard takes for a window of a real machine, on simulated servos with rich friction, and what it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load
from acclimate.control.loop import ControlLoop
from acclimate.control.trial import Trial, TrialPlan
from acclimate.policy.adaptation import InlineAdapter
from acclimate.policy.guard import Guard
from acclimate.policy.plausibility import implausible
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window
from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.servo.machine import ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_bridge.simulation.servo.world import ServoWorld

TASK = ServoWorld().spec
STEPS = 100
BUNDLE = Path(__file__).parents[2] / "examples" / "bundles" / "servo_wide_maml.acclimate"


def drive(servo: str, deployment: Deployment, *, push: float = 0.3, episodes: int = 4) -> Window:
    """A clumsy controller with exploration, on a slow reference."""
    rng = np.random.default_rng(0)
    plant = SimulatedServo(BUILT_IN[servo], deployment, rng)
    obs = np.zeros((episodes, STEPS + 1, TASK.n_obs), np.float32)
    action = np.zeros((episodes, STEPS, 1), np.float32)
    state = plant.reset(0.0)
    for e in range(episodes):
        for k in range(STEPS + 1):
            obs[e, k, :2] = state
            wanted = 0.5 * np.sin(0.06 * k)
            if k < STEPS:
                duty = push * (2.0 * (wanted - state[0]) + rng.standard_normal())
                action[e, k] = duty
                state = plant.step(float(np.clip(duty, -1.0, 1.0)))
    return Window(obs, action, np.ones((episodes, STEPS), np.float32))


def altered(window: Window, *, position: float = 1.0, velocity: float = 1.0) -> Window:
    obs: FloatArray = window.obs.copy()
    obs[..., 0] *= position
    obs[..., 1] *= velocity
    return window._replace(obs=obs)


@pytest.mark.parametrize("servo", BUILT_IN)
@pytest.mark.parametrize("polarity", [1.0, -1.0])
def test_servos_as_they_are_are_learned_from(servo: str, polarity: float) -> None:
    assert implausible(TASK, drive(servo, Deployment(polarity=polarity))) is None


@pytest.mark.parametrize("servo", BUILT_IN)
def test_from_a_servo_without_power_nothing_is_learned(servo: str) -> None:
    reason = implausible(TASK, drive(servo, Deployment(drive_gain=1e-9)))
    assert reason is not None
    assert "no sensor answers to actions of" in reason


def test_a_frozen_encoder_is_no_answer() -> None:
    window = drive("MX-64", Deployment())
    frozen = window._replace(obs=np.broadcast_to(window.obs[:1, :1], window.obs.shape).copy())
    assert "no sensor answers" in (implausible(TASK, frozen) or "")


def test_a_machine_that_is_hardly_told_anything_need_not_answer() -> None:
    assert implausible(TASK, drive("MX-64", Deployment(drive_gain=1e-9), push=0.01)) is None


@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        ({"position": 180 / np.pi}, "the first seems to be in degrees"),
        ({"velocity": 180 / np.pi}, "the second seems to be in degrees"),
        ({"velocity": 1e3}, "the second seems to be in thousandths"),
        ({"velocity": -1.0}, "one of the two has the wrong sign"),
        ({"position": 7.0}, "one of the two has the wrong scale"),
    ],
)
@pytest.mark.parametrize("servo", ["MX-64", "XL-320"])
def test_a_velocity_that_is_none_is_not_learned_from(
    servo: str, factors: dict[str, float], reason: str
) -> None:
    said = implausible(TASK, altered(drive(servo, Deployment()), **factors))
    assert said is not None
    assert said.startswith("'position' changes by ")
    assert said.endswith(reason)


def test_what_is_masked_is_not_judged() -> None:
    window = altered(drive("MX-64", Deployment()), velocity=-1.0)
    assert implausible(TASK, window._replace(mask=np.zeros_like(window.mask))) is None


def test_an_adaptation_on_a_servo_without_power_is_not_taken() -> None:
    """It was once committed, and saved."""
    policy = Policy(load(BUNDLE), "onnxruntime")
    learned = [tensor.name for tensor in policy.manifest.state if tensor.written_by == "adapt"]
    before = {name: policy.state(name).copy() for name in learned}
    machine, clock = ServoSpecimen(BUILT_IN["MX-64"], Deployment(drive_gain=1e-9)), VirtualClock()
    core = DeviceCore(machine.start(np.random.default_rng(0)), machine.profile, boot_id=1)
    with (
        HostLink(LockstepTransport(core, clock), clock, samples_per_period=1) as link,
        ControlLoop(policy, link, clock, policy.manifest) as loop,
    ):
        trial = Trial(
            loop, SeededEpisodes(policy.manifest.task, 100, 0, 0), TrialPlan(1, 1), np.random.default_rng(0)
        )
        report = trial.run(policy, InlineAdapter(policy), Guard.of(policy.manifest))
    assert not report.shots[0].accepted.ok
    assert "no sensor answers" in report.shots[0].accepted.reason
    assert all((policy.state(name) == then).all() for name, then in before.items())
