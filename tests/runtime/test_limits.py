"""Exactly at a limit of time is still within it, and a tick later is not. All times are binary fractions: exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Limits, Manifest
from acclimate.control.channel_map import ChannelMap
from acclimate.control.device import Channel, DeviceCaps, Sample
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import Tally
from acclimate.control.pacer import Pacer
from acclimate.control.readings import Readings
from acclimate.control.rearming import Rearming
from acclimate.errors import DeviceFault, PolicyError

from . import bundles
from .devices import CAPS, Joint, ManualClock
from .test_loop import LawController

DT, BLIND, LOST = 1 / 64, 4, 32  # s, periods, periods: of a watchdog of an eighth of a second
BIT = 2.0**-20  # s: hardly anything
MACHINE = replace(CAPS, rate_hz=64.0, watchdog=(0.125, 0.125))
STEPS = 100
Distort = Callable[[int, Sample], Sample | None]


def _manifest() -> Manifest:
    base = bundles.manifest()
    duty = replace(base.task.action[0], exploring_rate=DT)  # a 4096th a tick
    return replace(base, task=replace(base.task, control_dt=DT, action=(duty,)), limits=Limits({}, 5.0))


def _same(obs: FloatArray, noise: FloatArray) -> list[float]:
    del obs, noise
    return [0.25]


def _loop(
    distort: Distort = lambda _, sample: sample,
    law: Callable[[FloatArray, FloatArray], list[float]] = _same,
    late_by: Callable[[int], float] = lambda _: 0.0,
    caps: DeviceCaps = MACHINE,
) -> tuple[ControlLoop, Joint, LawController]:
    joint = Joint(ManualClock(late_by), gain=0.5, distort=distort, caps=caps)
    controller = LawController(law)
    loop = ControlLoop(controller, joint, joint.clock, _manifest())
    loop.start()
    joint.commands.clear()
    return loop, joint, controller


def _reference(steps: int = STEPS) -> FloatArray:
    return np.zeros((steps + 1, 2), np.float32)


def _sleep(joint: Joint, seconds: float) -> None:
    joint.clock.sleep_until(joint.clock.now() + seconds)


def _repeating(first: int, count: int) -> Distort:
    """`count` ticks from `first` on get the reading of the one before again; call 0 belongs to `start`."""
    kept: list[Sample] = []

    def distort(call: int, sample: Sample) -> Sample | None:
        if first <= call - 1 < first + count:
            return kept[0]
        kept[:] = [sample]
        return sample

    return distort


def _missing(first: int, count: int) -> Distort:
    return lambda call, sample: None if first <= call - 1 < first + count else sample


@pytest.mark.parametrize("count", [1, BLIND, BLIND + 1, BLIND + 5])
def test_blind_it_drives_on_for_so_long_and_then_goes_to_neutral(count: int) -> None:
    loop, joint, controller = _loop(_repeating(5, count))
    loop.run_episode(_reference())
    blind = max(count - BLIND, 0)
    stats = loop.stats()
    assert (stats.stale, stats.blind, stats.bad, stats.nonfinite) == (count, blind, blind, 0)
    assert len(controller.seen) == STEPS - blind
    neutral = np.flatnonzero([command[1] == 0.0 for command in joint.commands])
    assert neutral.tolist() == [*range(5 + BLIND, 5 + BLIND + blind), STEPS]


@pytest.mark.parametrize("count", [LOST, LOST + 1])
def test_without_a_reading_it_waits_for_so_long_and_then_gives_up(count: int) -> None:
    loop, joint, _ = _loop(_missing(5, count))
    if count > LOST:
        with pytest.raises(DeviceFault, match=r"gives no reading for 0\.52 s; it was stopped"):
            loop.run_episode(_reference())
        assert joint.stopped
    else:
        loop.run_episode(_reference())
    assert (loop.stats().bad, loop.stats().nonfinite) == (count, 0)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("begin", "idle", "most"), [(0, 0.0, BLIND), (0, 5.0, BLIND + 1), (7, 5.0, BLIND)])
def test_actions_may_fail_to_be_finite_for_so_long(fails: bool, begin: int, idle: float, most: int) -> None:
    """However long ago the last good one was when the episode begins; after a pause its first tick is at once."""
    ticks, count = iter(range(999)), most + fails

    def law(obs: FloatArray, noise: FloatArray) -> list[float]:
        del obs, noise
        return [np.nan if begin <= next(ticks) - 10 < begin + count else 0.25]

    loop, joint, _ = _loop(law=law)
    loop.run_episode(_reference(10))
    _sleep(joint, idle)
    if fails:
        with pytest.raises(PolicyError, match="'duty' is not finite any more"):
            loop.run_episode(_reference())
    else:
        loop.run_episode(_reference())
    assert (loop.stats().bad, loop.stats().nonfinite) == (count, count)


@pytest.mark.parametrize("fails", [False, True])
def test_standing_by_is_no_failing_to_act(fails: bool) -> None:
    """However long it takes, the time for which actions may be bad is counted from its end."""
    ticks = iter(range(999))
    loop, _, _ = _loop(law=lambda *_: [np.nan if 1 <= next(ticks) <= BLIND + fails else 0.25])
    rows = [_reference()[0], *[None] * 50, *_reference(10)]
    if fails:
        with pytest.raises(PolicyError, match="'duty' is not finite any more"):
            loop.follow(rows)
    else:
        loop.follow(rows)


def test_what_is_wrong_with_one_reading_is_counted_once() -> None:
    nan = np.array([0.0, np.nan], np.float32)
    repeating = _repeating(5, 3)

    def distort(call: int, sample: Sample) -> Sample | None:
        found = repeating(call, sample)
        assert found is not None
        return found._replace(values=nan, seq=found.seq if call < 8 else 0) if 5 <= call - 1 < 10 else found

    loop, _, _ = _loop(distort)
    loop.run_episode(_reference())
    assert (loop.stats().bad, loop.stats().nonfinite) == (5, 3)


@pytest.mark.parametrize(("late", "masked"), [(DT / 2 - BIT, False), (DT / 2, True)])
def test_a_tick_that_is_half_a_period_late_measures_something_else(late: float, masked: bool) -> None:
    loop, _, _ = _loop(late_by=lambda sleep: late if sleep == 8 else 0.0)
    mask = loop.run_episode(_reference()).mask
    assert np.flatnonzero(mask == 0.0).tolist() == ([6, 7] if masked else [])


@pytest.mark.parametrize(("pause", "goes_on"), [(LOST * DT, True), (LOST * DT + BIT, False)])
def test_a_program_may_be_held_up_for_so_long(pause: float, goes_on: bool) -> None:
    loop, joint, controller = _loop(late_by=lambda sleep: pause if sleep == 8 else 0.0)
    if goes_on:
        loop.run_episode(_reference())
    else:
        with pytest.raises(DeviceFault, match=r"held up for 0\.5 s in the middle"):
            loop.run_episode(_reference())
        assert len(controller.seen) == 7
        assert joint.stopped


@pytest.mark.parametrize(("pause", "unbroken"), [(LOST * DT, True), (LOST * DT + BIT, False)])
def test_between_two_drives_it_may_be_held_up_for_a_tick_more(pause: float, unbroken: bool) -> None:
    loop, joint, _ = _loop()
    loop.run_episode(_reference())
    _sleep(joint, DT + pause)
    if unbroken:
        loop.require_unbroken()
    else:
        with pytest.raises(DeviceFault, match="held up"):
            loop.require_unbroken()


@pytest.mark.parametrize("late", [2 * LOST, 2 * LOST + 1])
def test_who_measures_waits_for_so_long(late: int) -> None:
    """Looking twice a period."""
    loop, joint, _ = _loop(lambda call, sample: None if 1 <= call <= late else sample)
    before = joint.clock.now()
    if late > 2 * LOST:
        with pytest.raises(DeviceFault, match=r"the device gives no reading for 0\.5 s; check it"):
            loop.measure()
    else:
        assert loop.measure()[0] == pytest.approx(0.2)
    assert joint.clock.now() - before == LOST * DT


@pytest.mark.parametrize(("age", "waits"), [(BLIND * DT, False), (BLIND * DT + BIT, True)])
def test_what_was_measured_may_be_so_old(age: float, waits: bool) -> None:
    loop, joint, _ = _loop(_repeating(1, 1))  # the second one measures what the first one did
    loop.measure()
    _sleep(joint, age)
    before = joint.clock.now()
    loop.measure()
    assert joint.clock.now() - before == (DT / 2 if waits else 0.0)


@pytest.mark.parametrize("change", [{"stale": True}, {"seq": 2}])
def test_who_measures_takes_nothing_that_is_old(change: dict[str, int]) -> None:
    """Neither what the device calls so, nor what came before it was started; seq 2 is of then."""
    loop, joint, _ = _loop(lambda call, sample: sample._replace(**change) if call >= 1 else sample)  # type: ignore[arg-type]
    _sleep(joint, 1.0)
    with pytest.raises(DeviceFault, match=r"the device has sent nothing new for 0\.5 s"):
        loop.measure()


def test_who_measures_may_have_put_the_machine_elsewhere() -> None:
    loop, joint, _ = _loop()
    for position in (3.0, -3.0, 3.0):
        joint.position, before = position, joint.clock.now()
        assert loop.measure()[0] == position
        assert joint.clock.now() == before


@pytest.mark.parametrize(("age", "stale"), [(DT, 0), (DT + BIT, 1)])
def test_what_was_measured_just_before_an_episode_is_news_to_it(age: float, stale: int) -> None:
    """As long as it is no older than a period: what was measured before that is not."""
    loop, joint, _ = _loop(_repeating(1, 1))
    _sleep(joint, 1.0)
    loop.measure()
    _sleep(joint, age)
    loop.run_episode(_reference())
    assert loop.stats().stale == stale


@pytest.mark.parametrize("measured", [True, False])
def test_a_reading_from_before_a_pause_is_not_news_after_it(measured: bool) -> None:
    """A device that fell silent meanwhile is not driven by what it measured last."""
    loop, joint, controller = _loop(_repeating(10, 3))
    if measured:
        loop.measure()
    loop.run_episode(_reference(10 - measured))
    driven = len(controller.seen)
    _sleep(joint, 5.0)
    loop.run_episode(_reference(10))
    assert (loop.stats().stale, loop.stats().blind) == (3, 2)
    assert [command[1] for command in joint.commands[-11:-7]] == [0.0, 0.0, 0.25, 0.25]
    assert len(controller.seen) == driven + 8


@pytest.mark.parametrize("count", [BLIND - 1, BLIND, BLIND + 1])
def test_the_reading_of_the_start_is_the_first_that_counts(count: int) -> None:
    loop, _, _ = _loop(_repeating(0, count))
    assert loop.obs[0] == pytest.approx(0.2)
    loop.run_episode(_reference(10))
    assert (loop.stats().stale, loop.stats().blind) == (count, max(count - BLIND, 0))


@pytest.mark.parametrize("count", [LOST + 1, LOST + 2])
def test_how_long_it_waits_is_counted_from_where_the_episode_begins(count: int) -> None:
    loop, joint, _ = _loop(_missing(11, count))
    loop.run_episode(_reference(10))
    _sleep(joint, 5.0)
    if count > LOST + 1:
        with pytest.raises(DeviceFault, match=r"gives no reading for 0\.52 s"):
            loop.run_episode(_reference())
    else:
        loop.run_episode(_reference())


@pytest.mark.parametrize("good", [4, 5])
def test_a_start_waits_for_so_long(good: int) -> None:
    """It looks at once, and then every period, also when the time is over."""
    joint = Joint(ManualClock(), distort=lambda call, sample: sample if call >= good else None, caps=MACHINE)
    loop = ControlLoop(LawController(_same), joint, joint.clock, _manifest())
    if good > 4:
        with pytest.raises(DeviceFault, match=r"was started, but gives no new reading within 0\.0625 s"):
            loop.start(4 * DT)
        assert joint.stopped
    else:
        loop.start(4 * DT)
    assert joint.clock.now() == 4 * DT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stale": True}, "gives no new reading"),
        ({"seq": 1}, "gives no new reading"),
        ({"faults": frozenset({"overload"})}, r"is in fault \(overload\)"),
        ({"values": np.array([0.0, 9.0], np.float32)}, "measures 'position' as 9 rad"),
    ],
)
def test_a_start_takes_nothing_that_is_old_or_wrong(change: dict[str, object], said: str) -> None:
    """A reading that is there already, seq 1, says nothing of what happens after it."""
    joint = Joint(ManualClock(), distort=lambda _, sample: sample._replace(**change), caps=MACHINE)  # type: ignore[arg-type]
    loop = ControlLoop(LawController(_same), joint, joint.clock, _manifest())
    with pytest.raises(DeviceFault, match=f"the device was started, but {said}.* within 1 s"):
        loop.start()
    assert joint.commands == []
    assert joint.stopped


def test_a_start_takes_the_machine_where_it_is_then() -> None:
    loop, joint, _ = _loop()
    loop.stop()
    joint.position = 3.0
    before = joint.clock.now()
    loop.start(2 * DT)
    assert joint.clock.now() - before <= DT
    loop.run_episode(_reference())


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_a_position_may_move_exactly_as_fast_as_it_can(way: float) -> None:
    """At 20 rad/s and a twentieth, for two periods: one that has passed, and one that it may be older."""
    velocity, position = MACHINE.sensors
    caps = replace(MACHINE, sensors=(velocity._replace(minimum=-20.0, maximum=20.0), position))
    readings = Readings(ChannelMap(_manifest(), caps), caps)
    for k, moved in ((0, 0.0), (1, way * 21.0 * 2 * DT)):
        values = np.array([0.0, moved], np.float32)
        assert readings.problem(Sample(values, k * DT, k), []) is None


@pytest.mark.parametrize(("late", "counted"), [(0.1, 0), (0.101, 1)])
def test_a_tenth_of_a_period_is_not_late(late: float, counted: int) -> None:
    tally = Tally()
    pacer = Pacer(ManualClock(lambda _: late), 1.0, tally)
    assert pacer.wait() == late
    assert (tally.ticks, tally.late, tally.skipped) == (1, counted, 0)


@pytest.mark.parametrize("missed", [0, 1, 2, 5])
@pytest.mark.parametrize("more", [0.0, 0.25])
def test_as_many_deadlines_are_skipped_as_have_passed(missed: int, more: float) -> None:
    """One that is just now passes, too: the tick is that one's as well."""
    tally, clock = Tally(), ManualClock(lambda sleep: missed + more if sleep == 1 else 0.0)
    pacer = Pacer(clock, 1.0, tally)
    times = []
    for _ in range(4):
        pacer.wait()
        times.append(clock.now())
    assert times == [0.0, 1.0 + missed + more, 2.0 + missed, 3.0 + missed]
    assert (tally.skipped, tally.late) == (missed, int(missed + more > 0.0))
    assert (tally.ticks, tally.periods, tally.drift) == (4, 3, float(missed))


@pytest.mark.parametrize(("within", "too_often"), [(10.0, False), (10.0 - BIT, True)])
def test_a_watchdog_may_trip_five_times_within_ten_seconds(within: float, too_often: bool) -> None:
    """However often a reading tells of the same time."""
    rearming, values = Rearming(), np.zeros(1, np.float32)
    for k in range(5):
        for again in range(3):
            assert rearming.is_new(Sample(values, 0.0, 0, latches=k), float(k)) is (again == 0)
    last = Sample(values, 0.0, 0, latches=5)
    if too_often:
        with pytest.raises(DeviceFault, match="has tripped 6 times within 10 s"):
            rearming.is_new(last, within)
    else:
        assert rearming.is_new(last, within)
        with pytest.raises(
            DeviceFault, match="has tripped 6 times"
        ):  # the first is forgotten, not all of them
            rearming.is_new(last._replace(latches=6), 10.5)


def test_a_watchdog_that_trips_again_after_it_was_obeyed_is_new_whatever_its_number() -> None:
    rearming, sample = Rearming(), Sample(np.zeros(1, np.float32), 0.0, 0)
    assert rearming.is_new(sample, 0.0)
    rearming.obeys()
    assert rearming.is_new(sample, 1.0)


def test_a_start_after_a_pause_waits_as_long_as_the_first_one() -> None:
    silent = range(2, 5)  # looks, of which the first is what was there before
    joint = Joint(ManualClock(), distort=lambda n, s: None if n in silent else s, caps=MACHINE)
    loop = ControlLoop(LawController(_same), joint, joint.clock, _manifest())
    loop.start(DT)
    loop.stop()
    _sleep(joint, 5.0)
    before = joint.clock.now()
    loop.start(4 * DT)
    assert joint.clock.now() - before == 3 * DT


def test_what_is_observed_has_the_row_of_its_tick() -> None:
    """Also the last observation, on which no action follows."""
    loop, _, controller = _loop()
    rows = np.stack([np.arange(11.0), -np.arange(11.0)], axis=1).astype(np.float32) / 8
    episode = loop.run_episode(rows)
    np.testing.assert_array_equal(episode.obs[:, 2:], rows)
    np.testing.assert_array_equal(np.array(controller.seen)[:, 2:], rows[:-1])
    np.testing.assert_array_equal(loop.obs[2:], rows[-1])


def test_an_episode_takes_the_machine_where_it_is_then() -> None:
    loop, joint, _ = _loop()
    for position in (3.0, -3.0):
        joint.position = position
        assert loop.run_episode(_reference(10)).mask.all()


def test_a_loop_that_was_never_started_drives_nothing() -> None:
    joint = Joint(ManualClock(), caps=MACHINE)
    loop = ControlLoop(LawController(_same), joint, joint.clock, _manifest())
    loop.measure()
    with pytest.raises(DeviceFault, match="the device is not armed"):
        loop.run_episode(_reference())
    assert joint.commands == []


@pytest.mark.parametrize("objectives", [True, False])
def test_what_infers_nothing_needs_no_reward(objectives: bool) -> None:
    manifest = bundles.with_objectives(_manifest()) if objectives else _manifest()
    joint = Joint(ManualClock(), caps=MACHINE)
    loop = ControlLoop(LawController(_same), joint, joint.clock, manifest)
    loop.require_rewards()
    assert loop.rewarded


def test_what_happens_every_tick_happens_after_each_command() -> None:
    loop, joint, _ = _loop()
    seen: list[int] = []
    loop.every = lambda: seen.append(len(joint.commands))
    loop.run_episode(_reference(3))
    loop.follow([_reference()[0], None, _reference()[0]])
    assert seen == [1, 2, 3, 5, 6, 7]


def test_rest_after_a_pause_keeps_its_own_time() -> None:
    loop, joint, _ = _loop()
    loop.run_episode(_reference(3))
    _sleep(joint, 5.0)
    before = joint.clock.now()
    loop.rest(3)
    assert joint.clock.now() - before == 2 * DT
    assert (loop.stats().late, loop.stats().skipped, loop.stats().bias) == (0, 0, 0.0)


def test_what_only_exploring_is_held_to_does_not_hold_what_follows() -> None:
    loop, joint, _ = _loop()
    loop.run_episode(_reference(3), explore=True, rng=np.random.default_rng(0))
    assert [command[1] for command in joint.commands] == [DT**2, 2 * DT**2, 3 * DT**2, 0.0]
    joint.commands.clear()
    loop.follow([_reference()[0]])
    assert [command[1] for command in joint.commands] == [0.25, 0.0]


def test_a_device_that_is_told_what_is_asked_for_is_told_the_next_row() -> None:
    """Where it shall be when the tick is over, as the reading of then is compared with it; in neutral nothing."""
    told = (Channel("target_velocity", "rad/s", -20.0, 20.0), Channel("target", "rad", 0.5, 9.0))
    caps = replace(MACHINE, actuators=(*MACHINE.actuators, *told))
    rows = np.stack([np.arange(1.0, 7.0), -np.arange(1.0, 7.0)], axis=1).astype(np.float32) / 2
    loop, joint, _ = _loop(caps=caps)
    loop.run_episode(rows)
    loop.follow([rows[3], None])
    asked = [command[2:].tolist() for command in joint.commands]
    neutral = [0.0, 0.5]
    assert asked == [*rows[1:, ::-1].tolist(), neutral, rows[3, ::-1].tolist(), neutral, neutral]
