"""Adaptation while driving: which windows are gathered, what of them counts, and what becomes of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle import manifest_json
from acclimate.bundle.file import load
from acclimate.control.device import Sample
from acclimate.control.loop import ControlLoop
from acclimate.errors import ManifestError
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.adaptation import AdaptWorker, InlineAdapter
from acclimate.policy.continual import Continual
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window

from . import bundles
from .bundles import STEPS
from .devices import Joint, ManualClock


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    manifest = bundles.continual(bundles.manifest())
    return Policy(load(bundles.write_tiny(tmp_path / "tiny.acclimate", manifest)), "onnxruntime")


class Watched(InlineAdapter):
    """The inline adapter, which keeps what it was given; `slow` asks it so often in vain."""

    def __init__(self, policy: Policy, slow: int = 0) -> None:
        super().__init__(policy)
        self.windows: list[Window] = []
        self._slow, self._asked = slow, 0

    def submit(self, window: Window) -> None:
        super().submit(window)
        self.windows.append(window)
        self._asked = 0

    def poll(self) -> AdaptResult | None:
        self._asked += 1
        return super().poll() if self._asked > self._slow else None


def driven(
    policy: Policy,
    ticks: int,
    *,
    slow: int = 0,
    distort: Callable[[int, Sample], Sample | None] = lambda _, sample: sample,
    trust: float = 5.0,
) -> tuple[Continual, Watched, ControlLoop]:
    """A loop that has driven one episode of so many ticks."""
    joint = Joint(ManualClock(), distort=distort)
    loop = ControlLoop(policy, joint, joint.clock, policy.manifest)
    adapter = Watched(policy, slow)
    loop.learner = learner = Continual(policy, adapter, Guard(trust, min_valid=0.0))
    loop.start()
    loop.run_episode(reference(ticks))
    return learner, adapter, loop


def reference(ticks: int) -> FloatArray:
    rows = np.zeros((ticks + 1, 2), np.float32)
    rows[:, 0] = 0.3 * np.sin(0.3 * np.arange(ticks + 1))
    return rows


def test_windows_follow_one_another_and_hold_what_an_episode_records(policy: Policy) -> None:
    _, adapter, _ = driven(policy, 3 * STEPS + 2, trust=1e-9)  # nothing goes live, so that both drive alike
    again = ControlLoop(Policy(policy.bundle, "onnxruntime"), *fresh(), policy.manifest)
    again.start()
    episode = again.run_episode(reference(3 * STEPS + 2))
    assert len(adapter.windows) == 3
    for k, window in enumerate(adapter.windows):
        ticks = slice(k * STEPS, (k + 1) * STEPS)
        np.testing.assert_array_equal(window.obs[0], episode.obs[ticks.start : ticks.stop + 1])
        np.testing.assert_array_equal(window.action[0], episode.action[ticks])
        np.testing.assert_array_equal(window.mask[0], episode.mask[ticks])


def fresh() -> tuple[Joint, ManualClock]:
    clock = ManualClock()
    return Joint(clock), clock


@pytest.mark.parametrize("bad", [2, STEPS, STEPS + 3])
def test_what_the_loop_would_not_learn_from_is_masked(policy: Policy, bad: int) -> None:
    """A reading that is not finite: neither the transition to it nor the one from it, nor what follows a tick in
    neutral."""

    def distort(call: int, sample: Sample) -> Sample:
        values = sample.values * (np.nan if call - 1 == bad else 1.0)
        return sample._replace(values=values.astype(np.float32))

    _, adapter, _ = driven(policy, 2 * STEPS + 1, distort=distort, trust=1e-9)
    mask = np.concatenate([window.mask[0] for window in adapter.windows])
    wrong = {bad - 1, bad, bad + 1}
    assert {k for k in range(2 * STEPS) if not mask[k]} == wrong & set(range(2 * STEPS))


def test_what_the_guard_accepts_goes_live_while_driving(policy: Policy) -> None:
    learner, _, _ = driven(policy, 2 * STEPS + 2)
    assert (learner.accepted, learner.refused, learner.missed) == (2, 0, 0)
    assert policy.state("shots")[0] == 2.0


def test_what_it_refuses_does_not_and_is_counted(policy: Policy) -> None:
    learner, _, _ = driven(policy, 2 * STEPS + 2, trust=1e-9)
    assert (learner.accepted, learner.refused) == (0, 2)
    assert "beyond the trust radius" in learner.reason
    assert policy.state("shots")[0] == 0.0


def test_a_window_that_comes_too_soon_is_left_out(policy: Policy) -> None:
    learner, adapter, _ = driven(policy, 3 * STEPS + 1, slow=STEPS + 1)
    assert learner.missed == 1
    assert len(adapter.windows) == 2


def test_no_window_reaches_over_the_begin_of_an_episode(policy: Policy) -> None:
    _, adapter, loop = driven(policy, STEPS - 1)
    loop.run_episode(reference(STEPS - 1))
    assert adapter.windows == []
    loop.run_episode(reference(STEPS + 1))
    assert len(adapter.windows) == 1


def test_driving_along_a_stream_teaches_as_well(policy: Policy) -> None:
    _, adapter, loop = driven(policy, 2)
    loop.follow(iter(reference(2 * STEPS)))
    assert len(adapter.windows) == 2
    assert all(window.mask.all() for window in adapter.windows)


def test_what_was_reset_meanwhile_is_not_overtaken(policy: Policy) -> None:
    learner, adapter, loop = driven(policy, STEPS + 1, slow=3)
    assert len(adapter.windows) == 1
    policy.reset("trial")
    loop.run_episode(reference(STEPS - 1))
    assert (learner.accepted, learner.refused) == (0, 0)
    assert policy.state("shots")[0] == 0.0


def test_what_is_forgotten_leaves_no_result(policy: Policy) -> None:
    learner, adapter, _ = driven(policy, STEPS + 1, slow=100)
    learner.forget()
    adapter.windows.clear()
    assert InlineAdapter.poll(adapter) is None


def test_it_adapts_beside_the_loop(policy: Policy) -> None:
    """With the worker's thread: whatever is running when it is told to forget has ended then."""
    joint, clock = fresh()
    loop = ControlLoop(policy, joint, clock, policy.manifest)
    with AdaptWorker(policy) as worker:
        loop.learner = learner = Continual(policy, worker, Guard(5.0))
        loop.start()
        loop.run_episode(reference(6 * STEPS))
        learner.forget()
        policy.reset("trial")  # which raises while an adaptation is running
        assert learner.accepted + learner.refused + learner.missed >= 1


def test_a_step_that_explains_its_own_window_worse_is_refused() -> None:
    guard = Guard(5.0)
    window = Window(
        np.zeros((1, 3, 4), np.float32), np.zeros((1, 2, 1), np.float32), np.ones((1, 2), np.float32)
    )
    for left, ok in ((1.0, True), (1.09, True), (1.2, False)):
        verdict = guard.accept(AdaptResult({"loss": 1.0, "left": left}, True, 0.0), window)
        assert verdict.ok is ok
        assert ok or verdict.reason == "it explains its own window worse than before: error 1.2, before 1"


@pytest.mark.parametrize("loss", [-1.0, 0.0, 1.0])
def test_a_loss_that_is_no_error_says_nothing_of_that(loss: float) -> None:
    """As of a policy gradient, which may be negative: only a graph that says what is left is judged by it."""
    window = bundles.window()
    assert Guard(5.0, min_valid=0.0).accept(AdaptResult({"loss": loss}, True, 0.0), window).ok


def test_the_manifest_says_so_and_only_of_one_episode() -> None:
    manifest = bundles.continual(bundles.manifest())
    assert manifest_json.from_json(manifest_json.to_json(manifest)) == manifest
    assert Continual.suits(manifest)
    assert not Continual.suits(bundles.manifest())
    assert b"continual" not in manifest_json.to_json(bundles.manifest())
    with pytest.raises(ManifestError, match=r"window.episodes must be 1, found 3"):
        replace(bundles.manifest(), adaptation=manifest.adaptation)
