import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load
from acclimate.bundle.manifest import Limits, Manifest
from acclimate.control.clock import RealClock
from acclimate.control.device import Sample
from acclimate.control.loop import ControlLoop
from acclimate.errors import DeviceFault, MismatchError, PolicyError, UsageError
from acclimate.policy.policy import Policy, Scope
from hypothesis import given
from hypothesis import strategies as st

from . import bundles
from .devices import CAPS, Joint, ManualClock

STEPS = 20
Law = Callable[[FloatArray, FloatArray], list[float]]


class LawController:
    """Any function as a controller."""

    def __init__(self, law: Law) -> None:
        self.law, self.resets, self.seen = law, list[Scope](), list[FloatArray]()

    def reset(self, scope: Scope) -> None:
        self.resets.append(scope)

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        self.seen.append(obs.copy())
        return np.array(self.law(obs, noise), np.float32)


def follow(obs: FloatArray, _: FloatArray) -> list[float]:
    return [float(5.0 * (obs[2] - obs[0]))]


def _reference(steps: int = STEPS, target: float = 0.3) -> FloatArray:
    reference = np.zeros((steps + 1, 2), np.float32)
    reference[:, 0] = target
    return reference


def _loop(
    law: Law = follow, *, joint: Joint | None = None, manifest: Manifest | None = None
) -> tuple[ControlLoop, Joint, LawController]:
    joint = joint or Joint(ManualClock())
    controller = LawController(law)
    loop = ControlLoop(controller, joint, joint.clock, manifest or bundles.manifest())
    loop.start()
    return loop, joint, controller


def _spoil(ticks: set[int], **changes: object) -> Callable[[int, Sample], Sample | None]:
    """Change the samples of these ticks of the first episode; call 0 belongs to `start`."""

    def distort(call: int, sample: Sample) -> Sample | None:
        return sample._replace(**changes) if call - 1 in ticks else sample  # type: ignore[arg-type]

    return distort


def test_an_episode_records_what_happened() -> None:
    loop, _, controller = _loop()
    episode = loop.run_episode(_reference())
    assert [array.shape for array in episode] == [(21, 4), (20, 1), (20,), (20, 1)]
    assert controller.resets == ["episode"]
    np.testing.assert_array_equal(episode.obs[:-1], np.array(controller.seen))
    np.testing.assert_array_equal(episode.mask, 1.0)
    np.testing.assert_allclose(episode.obs[:, 2], 0.3)
    # the joint's own law, tick by tick
    np.testing.assert_allclose(np.diff(episode.obs[:, 0]), 3.0 * 0.01 * episode.applied[:, 0], atol=1e-6)
    assert abs(episode.obs[-1, 0] - 0.3) < abs(episode.obs[0, 0] - 0.3)


def test_the_same_seed_gives_the_same_episode_bit_by_bit() -> None:
    def once(seed: int) -> FloatArray:
        loop, _, _ = _loop(lambda obs, noise: [follow(obs, noise)[0] + 0.3 * float(noise[0])])
        return loop.run_episode(_reference(), explore=True, rng=np.random.default_rng(seed)).obs

    np.testing.assert_array_equal(once(1), once(1))
    assert (once(1) != once(2)).any()


def test_noise_is_standard_normal_when_exploring_and_zero_otherwise() -> None:
    loop, _, _ = _loop(lambda _, noise: [float(noise[0]) / 100])
    quiet = loop.run_episode(_reference(1000))
    loud = loop.run_episode(_reference(1000), explore=True, rng=np.random.default_rng(0))
    assert not quiet.action.any()
    assert np.std(loud.action) * 100 == pytest.approx(1.0, abs=0.1)
    assert abs(np.mean(loud.action) * 100) < 0.1


def test_exploring_needs_a_generator() -> None:
    loop, _, _ = _loop()
    with pytest.raises(UsageError, match="needs rng"):
        loop.run_episode(_reference(), explore=True)


def test_only_the_bundles_actuators_move_and_an_episode_ends_in_neutral() -> None:
    loop, joint, _ = _loop(lambda *_: [0.5])
    joint.commands.clear()
    loop.run_episode(_reference())
    np.testing.assert_allclose(joint.commands[:-1], [[0.5, 0.5]] * STEPS)
    np.testing.assert_allclose(joint.commands[-1], [0.5, 0.0])


def test_ticks_keep_their_deadlines_however_long_they_take() -> None:
    clock = ManualClock(late_by=lambda _: 0.004)
    loop, _, _ = _loop(joint=Joint(clock))
    before = clock.now()
    loop.run_episode(_reference())
    assert clock.now() - before == pytest.approx((STEPS + 1) * 0.01, abs=1e-9)  # no drift
    stats = loop.stats()
    assert stats.late == stats.ticks
    assert stats.skipped == 0
    assert stats.jitter_p50 == pytest.approx(0.004)
    assert stats.bias == pytest.approx(0.0, abs=1e-9)


def test_deadlines_that_passed_are_skipped_not_bunched_and_masked() -> None:
    clock = ManualClock(late_by=lambda sleep: 0.035 if sleep == 10 else 0.0)
    joint = Joint(clock)
    loop, _, _ = _loop(joint=joint)
    times: list[float] = []
    episode = loop.run_episode(_reference(), between=lambda: times.append(clock.now()))
    gaps = np.diff(times)
    late = 9  # sleep 0 belongs to `start`
    assert gaps[late - 1] == pytest.approx(0.045)
    assert gaps[late] == pytest.approx(0.005)  # back on the grid at once
    np.testing.assert_allclose(np.delete(gaps, [late - 1, late]), 0.01)
    assert loop.stats().skipped == 3
    assert loop.stats().late == 1
    assert episode.mask[[late - 1, late]].tolist() == [0.0, 0.0]
    assert episode.mask.sum() == STEPS - 2


def test_episodes_that_follow_at_once_share_one_time_line() -> None:
    clock = ManualClock()
    loop, _, _ = _loop(joint=Joint(clock))
    before = clock.now()
    for _ in range(3):
        loop.run_episode(_reference())
    assert clock.now() - before == pytest.approx(3 * (STEPS + 1) * 0.01)
    assert loop.stats().late == 0


def test_a_pause_between_episodes_is_no_lateness() -> None:
    clock = ManualClock()
    loop, _, _ = _loop(joint=Joint(clock))
    loop.run_episode(_reference())
    clock.sleep_until(clock.now() + 5.0)
    loop.run_episode(_reference())
    assert loop.stats().late == 0
    assert loop.stats().bias == pytest.approx(0.0, abs=1e-9)


def test_actions_are_clamped_and_stay_valid() -> None:
    loop, _, _ = _loop(lambda *_: [7.0])
    episode = loop.run_episode(_reference())
    np.testing.assert_array_equal(episode.action, 7.0)
    np.testing.assert_array_equal(episode.applied, 1.0)
    np.testing.assert_array_equal(episode.mask, 1.0)  # saturation is part of the device as trained
    assert loop.stats().clamped == STEPS


def test_actions_are_slew_limited_and_masked_where_held_back() -> None:
    manifest = replace(bundles.manifest(), limits=Limits({"duty": 40.0}, 5.0))  # 0.4 a tick
    loop, _, _ = _loop(lambda *_: [1.0], manifest=manifest)
    episode = loop.run_episode(_reference())
    np.testing.assert_allclose(episode.applied[:4, 0], [0.4, 0.8, 1.0, 1.0])
    assert episode.mask[:4].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert loop.stats().slewed == 2


@pytest.mark.parametrize(("slew", "exploring"), [({}, [0.2, 0.4, 0.6]), ({"duty": 10.0}, [0.1, 0.2, 0.3])])
def test_exploration_keeps_to_the_slower_of_its_own_limit_and_the_slew_limit(
    slew: dict[str, float], exploring: list[float]
) -> None:
    base = bundles.manifest()
    duty = replace(base.task.action[0], exploring_rate=20.0)  # 0.2 a tick
    manifest = replace(base, task=replace(base.task, action=(duty,)), limits=Limits(slew, 5.0))
    loop, _, _ = _loop(lambda *_: [1.0], manifest=manifest)
    episode = loop.run_episode(_reference(), explore=True, rng=np.random.default_rng(0))
    np.testing.assert_allclose(episode.applied[:3, 0], exploring, rtol=1e-6)
    assert episode.mask[:3].tolist() == [0.0, 0.0, 0.0]  # nothing is learned from what was held back
    afterwards = loop.run_episode(_reference())
    np.testing.assert_allclose(afterwards.applied[0, 0], 0.1 if slew else 1.0, rtol=1e-6)


def test_a_channel_without_a_slew_rate_is_not_limited() -> None:
    manifest = replace(bundles.manifest(), limits=Limits({}, 5.0))
    loop, _, _ = _loop(lambda *_: [1.0], manifest=manifest)
    np.testing.assert_array_equal(loop.run_episode(_reference()).applied, 1.0)


def test_a_nan_observation_holds_the_device_in_neutral_and_is_masked() -> None:
    nan = np.array([0.0, np.nan], np.float32)
    loop, joint, controller = _loop(joint=Joint(ManualClock(), distort=_spoil({5, 6}, values=nan)))
    joint.commands.clear()
    episode = loop.run_episode(_reference())
    assert np.isfinite(episode.obs).all()
    np.testing.assert_allclose([joint.commands[k][1] for k in (5, 6)], 0.0)
    # until a tick after the policy has acted again: until then it remembers another action than was recorded
    assert episode.mask.tolist() == [0.0 if k in (4, 5, 6, 7) else 1.0 for k in range(STEPS)]
    assert len(controller.seen) == STEPS - 2  # the controller's memory is not fed with it
    assert loop.stats().bad == loop.stats().nonfinite == 2


def test_nan_observations_without_an_end_are_a_fault_that_stops_the_device() -> None:
    nan = np.array([0.0, np.nan], np.float32)
    loop, joint, controller = _loop(
        joint=Joint(ManualClock(), distort=_spoil(set(range(5, 199)), values=nan))
    )
    expected = "measures 'position' as nan, expected a finite number, for 0.51 s; it was stopped"
    with pytest.raises(DeviceFault, match=expected) as caught:
        loop.run_episode(_reference(100))
    assert caught.value.exit_code == 1
    assert joint.stopped
    assert joint.commands[-1][1] == 0.0
    assert len(controller.seen) == 5


def test_bad_observations_that_are_not_in_a_row_are_no_fault() -> None:
    nan = np.array([0.0, np.nan], np.float32)
    joint = Joint(ManualClock(), distort=_spoil({2, 3, 4, 6, 7, 8, 10, 11, 12}, values=nan))
    loop, _, _ = _loop(joint=joint)
    loop.run_episode(_reference())
    assert loop.stats().bad == 9


def test_missing_readings_are_a_fault_in_the_end() -> None:
    joint = Joint(ManualClock(), distort=lambda call, sample: sample if call < 5 else None)
    loop, _, controller = _loop(joint=joint)
    with pytest.raises(DeviceFault, match=r"the device gives no reading for 0\.51 s"):
        loop.run_episode(_reference(100))
    assert len(controller.seen) == 4
    assert joint.stopped


def test_readings_that_repeat_are_driven_on_but_masked_and_counted() -> None:
    joint = Joint(ManualClock(), distort=_spoil({4, 5}, seq=6))  # as the reading of tick 3
    loop, _, controller = _loop(joint=joint)
    episode = loop.run_episode(_reference())
    assert loop.stats().stale == 2
    assert len(controller.seen) == STEPS
    assert np.flatnonzero(episode.mask == 0).tolist() == [3, 4, 5]


def _remembering(tmp_path: Path, joint: Joint) -> tuple[ControlLoop, Policy]:
    """The small recurrent policy on the real engine: it counts how often it acts, and remembers its action."""
    policy = Policy(load(bundles.write_tiny(tmp_path / "tiny", bundles.recurrent(bundles.manifest()))))
    loop = ControlLoop(policy, joint, joint.clock, policy.manifest)
    loop.start()
    return loop, policy


def test_memory_advances_with_an_outdated_reading_and_waits_without_a_usable_one(tmp_path: Path) -> None:
    """For a period has passed; but neutral, where it is commanded instead, is none of the policy's doing."""

    def ticks(**changes: object) -> float:
        loop, policy = _remembering(tmp_path, Joint(ManualClock(), distort=_spoil({8, 9, 15}, **changes)))
        loop.run_episode(_reference())
        return float(policy.state("ticks")[0])

    assert ticks(stale=True) == STEPS
    assert ticks(values=np.array([0.0, np.nan], np.float32)) == STEPS - 3


def test_memory_advances_once_per_deadline_and_not_for_those_that_passed(tmp_path: Path) -> None:
    clock = ManualClock(late_by=lambda sleep: 0.035 if sleep == 10 else 0.0)
    loop, policy = _remembering(tmp_path, Joint(clock))
    begin = clock.now()
    loop.run_episode(_reference())
    assert policy.state("ticks") == STEPS
    assert round((clock.now() - begin) / 0.01) == STEPS + 1 + 3  # as many periods, and three without a tick


def test_memory_lives_through_episodes_and_ends_with_the_trial(tmp_path: Path) -> None:
    loop, policy = _remembering(tmp_path, Joint(ManualClock()))
    for _ in range(3):
        loop.run_episode(_reference())
    assert policy.state("ticks") == 3 * STEPS
    policy.reset("episode")
    assert policy.state("ticks") == 3 * STEPS
    policy.reset("trial")
    assert policy.state("ticks") == policy.state("previous") == 0.0


def test_readings_that_the_device_calls_stale_count_too() -> None:
    loop, _, _ = _loop(joint=Joint(ManualClock(), distort=_spoil({7}, stale=True)))
    episode = loop.run_episode(_reference())
    assert np.flatnonzero(episode.mask == 0).tolist() == [6, 7]


def test_an_action_that_is_not_finite_never_reaches_the_device() -> None:
    loop, joint, _ = _loop(lambda *_: [float("nan")])
    with pytest.raises(PolicyError, match="action 'duty' is not finite any more"):
        loop.run_episode(_reference())
    assert np.isfinite(joint.commands).all()
    assert joint.stopped


def test_single_actions_that_are_not_finite_are_masked() -> None:
    ticks = iter(range(99))
    loop, _, _ = _loop(lambda *_: [float("inf") if next(ticks) == 3 else 0.1])
    episode = loop.run_episode(_reference())
    assert np.flatnonzero(episode.mask == 0).tolist() == [3, 4]
    assert episode.action[3, 0] == episode.applied[3, 0] == 0.0
    assert loop.stats().nonfinite == 1


def test_whatever_is_raised_the_device_is_stopped() -> None:
    loop, joint, _ = _loop()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run_episode(_reference(), between=interrupt)
    assert joint.stopped


def test_whatever_is_raised_while_it_follows_the_device_is_stopped() -> None:
    loop, joint, _ = _loop()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.follow(_reference(), between=interrupt)
    assert joint.stopped


def test_a_lost_link_is_the_error_even_where_stopping_fails_too() -> None:
    loop, joint, _ = _loop()

    def lose() -> None:
        joint.lost = True

    with pytest.raises(DeviceFault, match="the link to the joint is lost"):
        loop.run_episode(_reference(), between=lose)


def test_the_with_statement_starts_and_stops() -> None:
    joint = Joint(ManualClock())
    with ControlLoop(LawController(follow), joint, joint.clock, bundles.manifest()) as loop:
        assert not joint.stopped
        assert loop.measure()[0] == pytest.approx(0.2)
    assert joint.stopped


def test_a_silent_device_is_refused_at_the_start() -> None:
    joint = Joint(ManualClock(), distort=lambda *_: None)
    with pytest.raises(DeviceFault, match="gives no new reading within 1 s"):
        ControlLoop(LawController(follow), joint, joint.clock, bundles.manifest()).start()
    assert joint.stopped


def test_a_device_with_other_channels_is_refused_before_it_is_armed() -> None:
    joint = Joint(ManualClock(), caps=replace(CAPS, actuators=()))
    with pytest.raises(MismatchError, match=r"no actuator 'duty' \(the device has: none\)"):
        ControlLoop(LawController(follow), joint, joint.clock, bundles.manifest())
    assert joint.starts == 0


@pytest.mark.parametrize("shape", [(21,), (21, 3), (1, 2)])
def test_references_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    loop, _, _ = _loop()
    with pytest.raises(UsageError, match=r"expected \[steps \+ 1, 2\]"):
        loop.run_episode(np.zeros(shape, np.float32))


def test_references_that_are_not_finite_are_refused() -> None:
    loop, _, _ = _loop()
    with pytest.raises(UsageError, match="not finite"):
        loop.run_episode(_reference(target=float("nan")))


def test_rest_keeps_neutral() -> None:
    loop, joint, _ = _loop(lambda *_: [0.5])
    loop.run_episode(_reference())
    where = joint.position
    loop.rest(30)
    joint.latest()
    assert joint.position == pytest.approx(where, abs=0.02)


def test_real_time() -> None:
    """On the system's clock: the episode takes its time, and the device is driven at its rate."""
    joint = Joint(RealClock())
    with ControlLoop(LawController(follow), joint, RealClock(), bundles.manifest()) as loop:
        before = time.monotonic()
        episode = loop.run_episode(_reference(30))
        took = time.monotonic() - before
    assert took >= 30 * 0.01
    assert len(joint.commands) == 30 + 2  # one neutral at the start, one at the end
    assert abs(episode.obs[-1, 0] - 0.3) < abs(episode.obs[0, 0] - 0.3)
    assert loop.stats().ticks == 32
    assert np.isfinite(list(loop.stats().as_dict().values())).all()


def test_a_joint_of_less_range_is_driven_within_it_and_never_asked_beyond() -> None:
    velocity, position = CAPS.sensors
    short = replace(CAPS, sensors=(velocity, position._replace(minimum=-0.8, maximum=0.8)))
    loop, joint, _ = _loop(joint=Joint(ManualClock(), caps=short))
    assert loop.run_episode(_reference(target=0.7)).mask.all()
    driven = len(joint.commands)
    expected = r"takes 'position' from 0\.9 to 0\.9 rad, but this device measures from -0\.8 to 0\.8"
    with pytest.raises(UsageError, match=expected):
        loop.run_episode(_reference(target=0.9))
    assert len(joint.commands) == driven


@given(share=st.floats(0.05, 1.0), wanted=st.floats(-5.0, 5.0))
def test_no_more_than_the_share_that_is_allowed_is_ever_commanded(share: float, wanted: float) -> None:
    joint = Joint(ManualClock())
    with ControlLoop(
        LawController(lambda *_: [wanted]), joint, joint.clock, bundles.manifest(), max_action=share
    ) as loop:
        applied = loop.run_episode(_reference()).applied
    assert float(np.abs(applied).max()) == pytest.approx(min(abs(wanted), share), abs=1e-6)


def test_rows_are_followed_as_they_come_and_none_is_neutral() -> None:
    loop, joint, controller = _loop(lambda *_: [0.5])
    joint.commands.clear()
    row = _reference()[0]
    ticks = iter(range(99))
    loop.follow([row, row, None, None, row], between=lambda: next(ticks) and None)
    assert [command[1] for command in joint.commands] == pytest.approx([0.5, 0.5, 0.0, 0.0, 0.5, 0.0])
    assert controller.resets == ["episode"]
    assert len(controller.seen) == 3
    assert next(ticks) == 5


def test_a_device_that_counts_no_latchings_is_armed_again_each_time_that_it_has_obeyed_since() -> None:
    tripped = _spoil({5, 30, 31, 60}, faults=frozenset({"watchdog"}))
    loop, joint, _ = _loop(joint=Joint(ManualClock(), distort=tripped))
    mask = loop.run_episode(_reference(100)).mask
    assert loop.stats().rearmed == 3
    assert len(joint.rearmed) == 4
    assert np.flatnonzero(mask == 0.0).tolist() == [4, 5, 6, 29, 30, 31, 32, 59, 60, 61]


@pytest.mark.parametrize("fault", ["estop", "overload", "refused", "something new"])
def test_whatever_else_is_a_fault_ends_the_drive_at_once(fault: str) -> None:
    joint = Joint(ManualClock(), distort=_spoil({5}, faults=frozenset({fault, "watchdog"})))
    loop, _, controller = _loop(joint=joint)
    with pytest.raises(DeviceFault, match=rf"in fault \(.*{fault}"):
        loop.run_episode(_reference())
    assert joint.rearmed == []
    assert joint.stopped
    assert len(controller.seen) == 5


def test_a_loop_that_was_stopped_drives_nothing_until_it_is_started() -> None:
    loop, joint, controller = _loop()
    loop.stop()
    driven = len(joint.commands)
    with pytest.raises(DeviceFault, match="the device is not armed"):
        loop.run_episode(_reference())
    assert len(joint.commands) == driven
    assert controller.seen == []
    loop.start()
    assert loop.run_episode(_reference()).mask.all()
