"""Exported bundles on the simulated device, over the wire codec: what the whole path is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Manifest
from acclimate.control.loop import ControlLoop
from acclimate.control.trial import EpisodeKey
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window
from acclimate_bridge.evaluation.episodes import SeededEpisodes, episode_steps
from acclimate_bridge.evaluation.evaluation import Plan, evaluate_all
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.servo.deployments import true_parameters
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.machine import ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_export.bundle.practice import replay
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.contract import policy as contract

from tests.export import runs

SERVO, DEPLOYMENT = BUILT_IN["MX-64"], Deployment(drive_gain=0.6, delay=0.01)


def _at_any_rate(m: Manifest) -> Manifest:
    action = tuple(replace(channel, exploring_rate=None) for channel in m.task.action)
    return replace(m, task=replace(m.task, action=action))


@contextmanager
def _loop(policy: Policy) -> Iterator[tuple[ControlLoop, FloatArray]]:
    """The policy on a device in this process, and a reference that begins where the joint stands.

    Nothing holds back what it explores: a tick that is held back is none of the policy's own, and masked.
    """
    clock = VirtualClock()
    machine = ServoSpecimen(SERVO, DEPLOYMENT)
    core = DeviceCore(machine.start(np.random.default_rng(0)), machine.profile, 1)
    device = LockstepTransport(core, clock)
    m = _at_any_rate(policy.manifest)
    with HostLink(device, clock, samples_per_period=1) as link, ControlLoop(policy, link, clock, m) as loop:
        references = SeededEpisodes(m.task, episode_steps(m), 0)
        yield loop, references(loop.measure(), EpisodeKey(0, "measure", 0))


def test_an_episode_on_the_device_is_the_policy_in_torch(bundle: Bundle, trained: Trained) -> None:
    """What the loop recorded, replayed in torch: the same actions from the same observations."""
    policy, rng = Policy(bundle), np.random.default_rng(4)
    state = {name: value.unsqueeze(0) for name, value in trained.policy.initial().items()}
    if bundle.manifest.privileged:
        truth = true_parameters(SERVO, DEPLOYMENT)
        told = np.array([truth[name] for name in bundle.manifest.privileged], np.float32)
        policy.set_state("task", told)
        state["task"] = torch.from_numpy(told).unsqueeze(0)
    with _loop(policy) as (loop, reference):
        episode = loop.run_episode(reference, explore=True, rng=rng)
    noise = np.random.default_rng(4).standard_normal((len(reference) - 1, 1), dtype=np.float32)
    obs = torch.from_numpy(episode.obs[:-1]).reshape(1, 1, -1, trained.policy.spec.n_obs)
    expected = replay(trained.policy, state, obs, torch.from_numpy(noise).reshape(1, 1, -1, 1)).after[
        "action"
    ]
    np.testing.assert_allclose(episode.action, expected[0, 0].numpy(), rtol=0.0, atol=2e-5)
    assert float(episode.mask.mean()) == 1.0
    assert float(np.ptp(episode.obs[:, 0])) > 0.01


def test_adapting_on_the_device_is_adapting_in_torch(adaptive: Bundle, adaptive_policy: Trained) -> None:
    policy, rng = Policy(adaptive), np.random.default_rng(5)
    with _loop(policy) as (loop, reference):
        window = Window.of([loop.run_episode(reference, True, rng) for _ in range(runs.EPISODES)])
    result = policy.adapt(window)
    policy.commit()
    torch_policy = adaptive_policy.policy
    state = {name: value.unsqueeze(0) for name, value in torch_policy.initial().items()}
    stacked = contract.Window(*(torch.from_numpy(part).unsqueeze(0) for part in window))
    expected = torch_policy.adapt(state, stacked)
    for name, value in expected.next.items():
        scale = float(value.abs().max())
        np.testing.assert_allclose(policy.state(name), value[0].numpy(), rtol=0.0, atol=1e-5 * scale + 1e-6)
    assert result.info["step_norm"] == pytest.approx(float(expected.info["step_norm"]), rel=1e-4)
    assert 0.0 < result.info["step_norm"] < adaptive.manifest.limits.trust_radius


def test_all_three_meet_the_same_devices(exported: Mapping[str, Path]) -> None:
    plan = Plan(
        exported["maml"],
        ServoFleet((SERVO,)),
        (exported["robust"], exported["oracle"]),
        machines=1,
        episodes=1,
        seed=1,
    )
    (device,) = evaluate_all(plan).machines
    # And a tuned PID, where the run has one; "guarded" is MAML with the guard.
    assert set(device.figures) == {"maml", "guarded", "robust", "oracle"}
    assert len(device.figures["maml"]) == 3
    assert all(0.0 < f["error"] < 2.0 for stages in device.figures.values() for f in stages)
    assert device.refusals == ("", "")
