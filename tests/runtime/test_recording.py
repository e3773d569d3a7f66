"""What was driven is on record, whatever ended the drive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.control.device import Sample
from acclimate.control.drive import Drive
from acclimate.control.loop import ControlLoop
from acclimate.control.recording import Recording
from acclimate.control.trial import EpisodeKey, References, Trial, TrialPlan
from acclimate.errors import DeviceFault, UsageError
from acclimate.policy.adaptation import InlineAdapter
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.episode import Episode
from hypothesis import given, settings
from hypothesis import strategies as st

from . import bundles
from .devices import Joint, ManualClock, hold_reference
from .test_trial import Recorder

KEY = EpisodeKey(1, "explore", 0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate"))


def _unplugged(policy: Policy, joint: Joint, drive: Callable[[ControlLoop], object]) -> None:
    """A drive that ends in a fault of the device."""
    with (
        pytest.raises(DeviceFault),
        ControlLoop(policy, joint, joint.clock, policy.manifest) as loop,
    ):
        drive(loop)


def _trial(
    policy: Policy, references: References, plan: TrialPlan, recording: Recording, loop: ControlLoop
) -> None:
    """A whole one, whose guard is content with everything."""
    trial = Trial(loop, references, plan, np.random.default_rng(0), recording)
    trial.run(policy, InlineAdapter(policy), Guard(trust_radius=5.0, worse_by=1e9))


def _episode(steps: int, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    shapes = ((steps + 1, 4), (steps, 1), (steps,), (steps, 1))
    return Episode(*(rng.standard_normal(shape, np.float32) for shape in shapes))


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6))
@settings(deadline=None, max_examples=30)
def test_what_is_recorded_is_read_back_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    path = tmp_path_factory.mktemp("recorded") / "x.npz"
    episodes = [_episode(steps, i) for i, steps in enumerate(lengths)]
    with Recording(path) as recording:
        for i, episode in enumerate(episodes):
            recording(EpisodeKey(i, ("measure", "explore", "wait")[i % 3], i), episode)
    with np.load(path) as found:
        assert found["steps"].tolist() == lengths
        assert found["shot"].tolist() == list(range(len(lengths)))
        assert found["purpose"].tolist() == [i % 3 for i in range(len(lengths))]
        for i, episode in enumerate(episodes):
            for name, array in episode._asdict().items():
                row = found[name][i]
                np.testing.assert_array_equal(row[: len(array)], array)
                assert not row[len(array) :].any()


def test_it_is_there_before_the_end(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "x.npz")
    for i in range(40):
        recording(KEY, _episode(5, i))
        if recording._writing is not None:
            recording._writing.result()
    with np.load(tmp_path / "x.npz") as found:
        assert len(found["obs"]) >= 40 / 1.25
    recording.close()


def test_a_disk_that_is_full_on_the_way_ends_no_drive(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "none" / "x.npz")
    recording(KEY, _episode(5, 0))
    recording(KEY, _episode(5, 1))
    with pytest.raises(UsageError, match="cannot write"):
        recording.close()
    (tmp_path / "none").mkdir()
    recording.close()
    assert (tmp_path / "none" / "x.npz").is_file()


def test_where_nothing_was_driven_nothing_is_written(tmp_path: Path) -> None:
    Recording(tmp_path / "x.npz").close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 12, 20])
def test_an_episode_that_is_cut_short_is_on_record_as_far_as_it_went(bundle: Bundle, ticks: int) -> None:
    """Up to the tick before the fault, and the device is stopped before anything else is done."""

    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        whole = loop.run_episode(hold_reference(loop.measure()), True, np.random.default_rng(1))
    recorded: list[Episode] = []
    joint, policy = Joint(ManualClock()), Policy(bundle)

    def drive(loop: ControlLoop) -> None:
        reference, before = hold_reference(loop.measure()), len(joint.commands)

        def between() -> None:
            joint.lost = len(joint.commands) - before >= ticks

        joint.lost = ticks == 0
        loop.run_episode(reference, True, np.random.default_rng(1), between, recorded.append)

    _unplugged(policy, joint, drive)
    assert joint.stopped
    assert len(recorded) == (ticks > 1)
    for found in recorded:
        assert len(found.mask) == ticks - 1
        for part, wanted in zip(found, whole, strict=True):
            np.testing.assert_array_equal(part, wanted[: len(part)])


def test_a_trial_and_a_drive_record_what_was_cut_short(bundle: Bundle) -> None:
    clock = ManualClock()

    def lost(call: int, sample: Sample) -> Sample:
        if call > 60:
            raise DeviceFault("unplugged")
        return sample

    recording, policy = Recording(), Policy(bundle)
    trial = partial(_trial, policy, Recorder(), TrialPlan(1, 1), recording)
    _unplugged(policy, Joint(clock, distort=lost), trial)
    lengths = [len(episode.mask) for episode in recording.episodes]
    assert lengths[:2] == [bundles.STEPS, bundles.STEPS]
    assert 0 < lengths[2] < bundles.STEPS
    again, reference = Recording(), np.zeros((200, 2), np.float32)
    _unplugged(
        policy,
        Joint(clock, distort=lost),
        lambda loop: Drive(loop, reference, record=partial(again, KEY)).on(200),
    )
    assert 50 < len(again.episodes[0].mask) < 60


@pytest.mark.parametrize("rollback", [True, False])
@pytest.mark.parametrize("judged", [0, 1])
def test_a_step_that_nobody_came_to_judge_is_taken_back(bundle: Bundle, rollback: bool, judged: int) -> None:
    """The first, or the one after a good one, which stays."""
    joint, policy = Joint(ManualClock()), Policy(bundle)

    class Unplugged(Recorder):
        def __call__(self, obs: np.ndarray, key: EpisodeKey) -> np.ndarray:
            joint.lost = key == EpisodeKey(judged + 1, "measure", 0)
            return super().__call__(obs, key)

    plan = TrialPlan(2, 1, rollback=rollback)
    _unplugged(policy, joint, partial(_trial, policy, Unplugged(), plan, Recording()))
    assert policy.state("shots")[0] == judged + (not rollback)


@pytest.mark.parametrize("purpose", ["explore", "wait"])
def test_a_good_step_stays_where_something_fails_before_the_next_is_taken(
    bundle: Bundle, purpose: Literal["explore", "wait"]
) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)

    class Unplugged(Recorder):
        def __call__(self, obs: np.ndarray, key: EpisodeKey) -> np.ndarray:
            joint.lost = key == EpisodeKey(1, purpose, 0)
            return super().__call__(obs, key)

    plan = TrialPlan(2, 1, rollback=True)
    _unplugged(policy, joint, partial(_trial, policy, Unplugged(), plan, Recording()))
    assert policy.state("shots")[0] == 1
