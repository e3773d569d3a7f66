"""The device's clock in host time: offset, drift, wrapping stamps, and delays that lie on one way only."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate_bridge.link.time_sync import TimeSync
from hypothesis import given
from hypothesis import strategies as st


class World:
    """A device whose clock starts at `boot` host seconds and runs `drift` slower than the host's."""

    def __init__(self, boot: float, drift: float = 0.0) -> None:
        self.boot, self.drift = boot, drift

    def stamp(self, host: float) -> int:
        return round((host - self.boot) / (1.0 + self.drift) * 1e6) & 0xFFFFFFFF

    def exchange(self, sync: TimeSync, t: float, there: float, held: float, back: float) -> None:
        received, answered = self.stamp(t + there), self.stamp(t + there + held)
        sync.add(t, received, answered, t + there + held + back)


def test_a_symmetric_exchange_gives_the_offset() -> None:
    world, sync = World(boot=-1234.5), TimeSync()
    world.exchange(sync, 10.0, 0.001, 0.0005, 0.001)
    assert sync.to_host(world.stamp(10.2)) == pytest.approx(10.2, abs=3e-6)
    assert sync.round_trip == pytest.approx(0.002, abs=3e-6)


def test_slow_exchanges_do_not_spoil_the_offset() -> None:
    rng = np.random.default_rng(0)
    world, sync = World(boot=-7.0), TimeSync()
    for k in range(60):
        slow = k % 4 != 0
        world.exchange(sync, 0.05 * k, 0.0005, 0.0, 0.0005 + slow * rng.uniform(0.002, 0.02))
    assert sync.to_host(world.stamp(3.5)) == pytest.approx(3.5, abs=1e-4)


def test_drift_is_found_and_extrapolated() -> None:
    world, sync = World(boot=-50.0, drift=100e-6), TimeSync()
    rng = np.random.default_rng(1)
    for k in range(60):
        world.exchange(sync, 0.25 * k, 0.0005 + rng.uniform(0, 2e-5), 0.0, 0.0005 + rng.uniform(0, 2e-5))
    assert sync.drift == pytest.approx(100e-6, abs=5e-6)
    assert sync.to_host(world.stamp(25.0)) == pytest.approx(25.0, abs=2e-4)


def test_stamps_wrap_every_71_minutes() -> None:
    wrap = 2**32 * 1e-6
    world, sync = World(boot=-(wrap - 1.0)), TimeSync()  # wraps at host time 1.0
    for t in (0.2, 0.5, 0.8):
        world.exchange(sync, t, 0.001, 0.0, 0.001)
    assert sync.to_host(world.stamp(1.5)) == pytest.approx(1.5, abs=1e-4)
    assert sync.to_host(world.stamp(0.9)) == pytest.approx(0.9, abs=1e-4)
    world.exchange(sync, 1.6, 0.001, 0.0, 0.001)
    assert sync.to_host(world.stamp(1.7)) == pytest.approx(1.7, abs=1e-4)


def test_it_knows_when_it_knows_nothing() -> None:
    sync = TimeSync()
    assert (sync.known, sync.count, sync.round_trip, sync.last_round_trip) == (False, 0, 0.0, 0.0)
    assert (sync.to_host(5_000_000), sync.drift) == (5.0, 0.0)


def test_sixty_four_exchanges_are_kept() -> None:
    world, sync = World(boot=-5.0), TimeSync()
    for k in range(64):
        world.exchange(sync, 0.25 * k, 0.002 if k else 0.001, 0.0, 0.001)
    assert sync.round_trip == pytest.approx(0.002, abs=3e-6)
    world.exchange(sync, 16.0, 0.002, 0.0, 0.001)
    assert sync.round_trip == pytest.approx(0.003, abs=3e-6)


@pytest.mark.parametrize("newest", [0, 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("away", [2**31 - 1, 1, 0, -1, -(2**31) + 1, -(2**31)])
def test_a_stamp_is_the_one_that_is_nearest_to_the_newest(newest: int, away: int) -> None:
    """Exactly half of the circle away it is taken for an old one."""
    sync = TimeSync()
    for stamp in (*range(0, newest, 2**30), newest):  # as time goes by
        sync.add(stamp * 1e-6, stamp, stamp, stamp * 1e-6)
    found = sync.to_host((newest + away) & 0xFFFFFFFF)
    assert found == pytest.approx((newest + away) * 1e-6, abs=1e-4)


def test_a_round_trip_is_what_the_device_did_not_take() -> None:
    world, sync = World(boot=-5.0), TimeSync(window=3)
    for k, round_trip in enumerate((0.004, 0.002, 0.006, 0.008, 0.010)):
        world.exchange(sync, float(k), round_trip / 2, 0.25, round_trip / 2)
        assert sync.last_round_trip == pytest.approx(round_trip, abs=3e-6)
    assert sync.count == 5
    assert sync.round_trip == pytest.approx(0.006, abs=3e-6)  # the fastest of those that are kept
    sync.add(9.0, 0, 10_000_000, 9.5)  # a device that claims to have taken longer than it was waited for
    assert sync.last_round_trip == 0.0


def test_exchanges_weigh_by_what_they_took_more_than_the_fastest() -> None:
    """The square of a tenth of the fastest, or of 100 µs where that is more, against so much and the rest."""
    for fastest, slow, floor in ((0.0002, 0.0006, 100e-6), (0.004, 0.010, 400e-6)):
        sync = TimeSync()
        sync.add(0.0, 0, 0, fastest)
        sync.add(0.0, 0, 0, slow)
        weights = np.array([floor, floor + slow - fastest]) ** -2
        expected = float(weights @ [fastest / 2, slow / 2] / weights.sum())
        assert sync.to_host(0) == pytest.approx(expected, rel=1e-9)


def test_drift_is_drawn_to_0_as_far_as_the_exchanges_leave_it_open() -> None:
    """A ridge: the weighted slope, with a hundredth as what to expect, each exchange known to 100 µs."""
    sync, slope = TimeSync(), 0.004
    times = np.array([0.0, 0.01, 0.03])
    for t in times:
        host = t * (1.0 + slope)
        sync.add(host, round(t * 1e6), round(t * 1e6), host)
    spread = 100e-6**-2 * float(np.square(times - times.mean()).sum())
    assert sync.drift == pytest.approx(slope * spread / (spread + 1e4), rel=1e-6)


@given(st.floats(-0.015, 0.015), st.floats(0.0, 0.02), st.integers(0, 2**32 - 1))
def test_a_clock_that_is_a_hundredth_off_is_followed_from_the_first_second_on(
    drift: float, delay: float, seed: int
) -> None:
    """After 3 to 15 s of it, with no frame lost, a drive once ended as "nothing new"."""
    rng = np.random.default_rng(seed)
    world, sync = World(boot=-50.0, drift=drift), TimeSync()
    for k in range(8):
        world.exchange(sync, 0.001 * k, 0.0005, 0.0, 0.0005)
    for k in range(1, 80):
        now = 0.25 * k
        assert sync.to_host(world.stamp(now)) == pytest.approx(now, abs=0.004 + delay)
        there, back = 0.0005 + rng.uniform(0, delay), 0.0005 + rng.uniform(0, delay)
        world.exchange(sync, now, there, 0.0, back)
    assert sync.drift == pytest.approx(drift, abs=2e-4 + 0.1 * delay)


def test_a_clock_that_stands_still_makes_readings_older_and_older() -> None:
    world, sync = World(boot=-50.0), TimeSync()
    for k in range(8):
        world.exchange(sync, 0.001 * k, 0.0005, 0.0, 0.0005)
    frozen = world.stamp(0.01)
    for k in range(1, 40):
        sent = 0.25 * k
        assert sync.to_host(frozen) < sent - 0.1
        sync.add(sent, frozen, frozen, sent + 0.001)
