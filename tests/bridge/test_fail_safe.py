"""What may go wrong around a drive, and what must not come of it: the loop, the link and the device together."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from acclimate.control.device import Sample
from acclimate.control.patience import Patience
from acclimate.errors import DeviceFault, MismatchError
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import Latch, State, Type
from acclimate_bridge.link.wire import Decoder
from acclimate_bridge.simulation.lockstep import LockstepTransport
from acclimate_bridge.simulation.profile import Profile
from acclimate_bridge.simulation.servo.machine import SCHEMA
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .fail_safe import Bench

WATCHDOG = 0.1  # s, at 100 Hz


@pytest.fixture
def bench(tiny: ModuleType) -> Bench:
    bench = Bench(tiny.manifest())
    bench.loop.start()
    return bench


def _nothing(_: bytes) -> bytes:
    return b""


def _everything(data: bytes) -> bytes:
    return data


def _before(kind: Type, event: object) -> object:
    """A wire on which `event` happens just before the first frame of this kind arrives at the device."""
    happened: list[bool] = []

    def to_device(data: bytes) -> bytes:
        frames = Decoder(SCHEMA.layout).feed(data)
        if not happened and any(frame.type == kind for frame in frames):
            happened.append(True)
            event()  # type: ignore[operator]
        return data

    return to_device


# A stop that is undone.


def test_an_emergency_stop_right_after_the_reading_that_was_judged_stays(bench: Bench) -> None:
    """A reading tells of the watchdog; before the CLEAR for it arrives, somebody presses the button."""
    bench.wire.to_device = _before(Type.CLEAR, lambda: bench.core.press(bench.clock.now()))  # type: ignore[assignment]
    with pytest.raises(DeviceFault, match=r"in fault \(estop, watchdog\)"):
        bench.drive(1.0, bench.at_tick(20, lambda: bench.pause(0.15)))
    assert bench.loop.stats().rearmed == 1
    assert bench.core.faults & Latch.ESTOP
    assert bench.core.state is State.SAFE


def test_an_emergency_stop_is_released_by_nobody_but_who_is_told_to(bench: Bench) -> None:
    with pytest.raises(DeviceFault, match=r"in fault \(estop\)"):
        bench.drive(1.0, bench.at_tick(5, bench.link.emergency_stop))
    for _ in range(3):
        with pytest.raises(DeviceFault, match="release it with --release-estop"):
            bench.loop.start()
    assert bench.core.state is State.SAFE
    other = HostLink(LockstepTransport(bench.core, bench.clock), bench.clock)
    with pytest.raises(DeviceFault, match="release it with --release-estop"):
        other.start()  # nor does another session
    other.release_estop()
    other.start()
    assert bench.core.state is State.IDLE


def test_a_button_that_is_still_pressed_is_not_released(bench: Bench) -> None:
    bench.core.press(bench.clock.now())
    with pytest.raises(DeviceFault, match="is still pressed"):
        bench.link.release_estop()
    bench.core.unlock()
    assert bench.core.state is State.SAFE
    bench.link.release_estop()
    assert bench.core.state is State.IDLE


def test_a_reboot_with_the_button_pressed_comes_up_stopped(bench: Bench) -> None:
    bench.core.press(bench.clock.now())
    bench.core.reboot(10, bench.clock.now())
    assert bench.core.faults == Latch.SESSION | Latch.ESTOP


def test_a_host_that_has_left_left_no_emergency(bench: Bench) -> None:
    bench.drive(0.2)
    bench.link.close()
    assert bench.core.state is State.SAFE
    with HostLink(LockstepTransport(bench.core, bench.clock), bench.clock) as other:
        other.start()
        assert bench.core.state is State.IDLE


def test_rearming_is_for_the_watchdog_only(bench: Bench) -> None:
    sample = Sample(np.zeros(2, np.float32), 0.0, 1, faults=frozenset({"watchdog", "estop"}))
    with pytest.raises(DeviceFault, match="which no program may clear by itself"):
        bench.link.rearm(sample)


# Driving blind.


def _silence(bench: Bench) -> None:
    bench.wire.to_host = lambda _: b""


def _garbage(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    bench.wire.to_host = lambda data: rng.bytes(len(data))


def _frozen_clock(bench: Bench) -> None:
    stamp = bench.core._clock()
    bench.core._clock = lambda: stamp  # type: ignore[method-assign]


@pytest.mark.parametrize("rate", [10.0, 50.0, 100.0, 500.0])
@pytest.mark.parametrize("fault", [_silence, _garbage, _frozen_clock])
def test_the_loop_drives_on_blind_no_longer_than_the_watchdog(
    tiny: ModuleType, rate: float, fault: object
) -> None:
    patience = Patience.of(1.0 / rate, (0.02, 1.0))
    bench = Bench(tiny.manifest(), rate)
    bench.loop.start()
    began: list[float] = []

    def begin() -> None:
        began.append(bench.clock.now())
        fault(bench)  # type: ignore[operator]

    with pytest.raises(DeviceFault, match=r"nothing new|silent for"):
        bench.drive(20.0, bench.at_tick(10, begin))
    assert bench.loop.stats().blind > 0  # neutral first, fault after
    assert bench.cart.moved_until - began[0] <= patience.watchdog + 1e-6
    assert bench.clock.now() - began[0] >= patience.lost
    assert patience.watchdog <= max(0.1, 4.0 / rate)


@given(cut=st.integers(0, 99), way=st.sampled_from(["to_device", "to_host", "both"]), back=st.integers(0, 30))
@settings(deadline=None, max_examples=25)
def test_motion_ends_within_the_watchdog_after_the_last_fresh_reading(
    tiny: ModuleType, cut: int, way: str, back: int
) -> None:
    """The link is cut at some tick, one way or both, and comes back after some others."""
    bench = Bench(tiny.manifest())
    bench.loop.start()
    fresh: list[float] = [bench.clock.now()]
    blind: list[float] = []
    tick = iter(range(1000))

    def between() -> None:
        k, now = next(tick), bench.clock.now()
        down = cut <= k < cut + back
        bench.wire.to_host = _nothing if down and way != "to_device" else _everything
        bench.wire.to_device = _nothing if down and way != "to_host" else _everything
        sample = bench.link.latest()
        if sample is not None and not sample.stale and now - sample.t < bench.dt:
            fresh.append(sample.t)
        if bench.cart.duty:
            blind.append(now - fresh[-1])

    bench.drive(1.5, between)
    assert max(blind) <= WATCHDOG + 1e-6


def test_start_waits_for_a_reading_that_is_new(bench: Bench) -> None:
    bench.loop.stop()
    _silence(bench)
    with pytest.raises(DeviceFault, match=r"does not acknowledge|no new reading|no readings"):
        bench.loop.start()
    assert bench.core.state is State.SAFE


def test_what_is_measured_is_new_or_refused(bench: Bench) -> None:
    before = bench.loop.measure()
    _silence(bench)
    bench.pause(0.2)
    with pytest.raises(DeviceFault, match=r"has sent nothing new for 0\.5 s|silent for 0\.5 s"):
        bench.loop.measure()
    bench.wire.to_host = lambda data: data
    bench.pause(bench.dt)
    assert np.isfinite(before).all()
    bench.loop.measure()


def test_a_device_that_never_answered_a_ping_is_not_driven(tiny: ModuleType) -> None:
    bench = Bench(tiny.manifest())
    other = LockstepTransport(bench.core, bench.clock)
    bench.core._handlers.pop(Type.PING)
    link = HostLink(other, bench.clock)
    with pytest.raises(DeviceFault, match="has answered no PING within 1 s"):
        link.start()
    assert bench.core.state is State.SAFE


# Moving again by itself.


@given(st.floats(math.log(0.6), math.log(3600.0)).map(math.exp))
@example(6.0)
@settings(deadline=None, max_examples=20)
def test_after_a_long_pause_nothing_moves_again(tiny: ModuleType, pause: float) -> None:
    """SIGSTOP and SIGCONT six seconds apart, or a laptop that was closed."""
    bench = Bench(tiny.manifest())
    bench.loop.start()
    stopped: list[float] = []

    def hold_up() -> None:
        bench.pause(pause)
        stopped.append(bench.clock.now())

    with pytest.raises(DeviceFault, match=r"held up for .* s in the middle of a drive"):
        bench.drive(2.0, bench.at_tick(30, hold_up))
    assert bench.cart.moved_until <= stopped[0] - pause + WATCHDOG + 1e-6
    assert bench.core.state is State.SAFE


def test_a_pause_between_two_parts_of_one_drive_counts_too(bench: Bench) -> None:
    bench.drive(0.2)
    bench.loop.require_unbroken()
    bench.pause(6.0)
    with pytest.raises(DeviceFault, match="held up for 6 s"):
        bench.loop.require_unbroken()


def test_short_pauses_cost_one_rearm_each_and_end_nothing(bench: Bench) -> None:
    """A pause of .15 s every 3 s for an hour, of which one minute is driven here."""
    count = iter(range(10**6))

    def between() -> None:
        if next(count) % 300 == 299:
            bench.pause(0.15)

    bench.drive(60.0, between)
    assert bench.loop.stats().rearmed == 20
    assert bench.core.state is State.IDLE


def test_too_many_pauses_are_a_machine_that_is_overloaded(bench: Bench) -> None:
    count = iter(range(10**6))

    def between() -> None:
        if next(count) % 50 == 49:
            bench.pause(0.15)

    with pytest.raises(DeviceFault, match="has tripped 6 times within 10 s"):
        bench.drive(60.0, between)
    assert bench.loop.stats().rearmed == 5


@pytest.mark.parametrize(("pause", "times"), [(0.3, 12), (5.0, 12), (600.0, 2)])
def test_an_honest_pause_between_episodes_is_none_of_the_watchdogs_business(
    bench: Bench, pause: float, times: int
) -> None:
    for _ in range(times):
        mask = bench.drive(0.2)
        assert mask.all()
        assert bench.core.state is State.IDLE
        bench.pause(pause)
        bench.loop.measure()
    assert bench.loop.stats().rearmed == 0


# The watchdog and the time to live follow from the period.


@pytest.mark.parametrize(("rate", "watchdog"), [(500.0, 0.1), (50.0, 0.1), (20.0, 0.2), (10.0, 0.4)])
def test_the_watchdog_and_what_a_command_holds_follow_from_the_period(
    tiny: ModuleType, rate: float, watchdog: float
) -> None:
    bench = Bench(tiny.manifest(), rate)
    bench.loop.start()
    bench.drive(3.0 / rate)
    assert bench.core.watchdog == pytest.approx(watchdog)
    ended = bench.clock.now()
    bench.link.command(np.array([0.3], np.float32))
    bench.pause(1.0)
    bench.core.advance(bench.clock.now())
    assert bench.cart.moved_until - ended == pytest.approx(
        watchdog, abs=1e-3
    )  # a reading of that very moment


def test_a_longer_watchdog_of_an_earlier_host_does_not_survive(bench: Bench) -> None:
    HostLink(LockstepTransport(bench.core, bench.clock), bench.clock).start(0.2)
    assert bench.core.watchdog == pytest.approx(0.8)
    HostLink(LockstepTransport(bench.core, bench.clock), bench.clock).start(0.01)
    assert bench.core.watchdog == pytest.approx(0.1)


def test_a_watchdog_that_is_too_short_for_the_period_is_refused_with_the_numbers(tiny: ModuleType) -> None:
    profile = Profile(SCHEMA, 50.0, watchdog_ms=20, watchdog_bounds_ms=(5, 20))
    with pytest.raises(
        MismatchError, match="can be 20 ms at most, too short for a command every 20 ms: it needs 60 ms"
    ):
        Bench(tiny.manifest(), 50.0, profile)
