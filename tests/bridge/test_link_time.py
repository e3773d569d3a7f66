"""Time and budget of a link: clocks that are off, pauses in which nobody reads, bursts, lines that are too slow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from acclimate.control.device import Sample
from acclimate.errors import DeviceFault
from acclimate_bridge.link.budget import load, samples_per_period
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import Obs, Schema, State, Type, WireChannel
from acclimate_bridge.link.observing import Observer
from acclimate_bridge.link.time_sync import TimeSync
from acclimate_bridge.link.wire import Frame
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.profile import Profile
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from .test_device_core import Recorder

CHANNEL = WireChannel("x", "m", 0.5, -100.0, 100.0)
SCHEMA = Schema((CHANNEL,), (CHANNEL._replace(name="u"),))
TERMINAL = 4095  # bytes that a terminal keeps for whoever does not read


def _schema(sensors: int, actuators: int = 1) -> Schema:
    return Schema(
        tuple(CHANNEL._replace(name=f"s{i}") for i in range(sensors)),
        tuple(CHANNEL._replace(name=f"a{i}") for i in range(actuators)),
    )


class Wire(LockstepTransport):
    """To a device whose clock runs `fast`, through a buffer that is emptied every `burst` s and never holds much."""

    def __init__(
        self, clock: VirtualClock, *, fast: float = 0.0, burst: float = 0.0, profile: Profile | None = None
    ) -> None:
        self.core = DeviceCore(Recorder(), profile or Profile(SCHEMA), boot_id=7)
        super().__init__(self.core, _Scaled(clock, 1.0 + fast))
        self._host, self._burst, self._held, self._next = clock, burst, b"", 0.0

    def read(self) -> bytes:
        self._held = (self._held + super().read())[:TERMINAL]
        if self._burst and self._host.now() < self._next:
            return b""
        self._next = (np.floor(self._host.now() / self._burst) + 1) * self._burst if self._burst else 0.0
        data, self._held = self._held, b""
        return data


class _Scaled:
    def __init__(self, clock: VirtualClock, factor: float) -> None:
        self._clock, self._factor = clock, factor

    def now(self) -> float:
        return self._factor * self._clock.now()


def drive(link: HostLink, clock: VirtualClock, seconds: float, dt: float = 0.01) -> list[Sample]:
    samples = []
    for _ in range(round(seconds / dt)):
        clock.sleep_until(clock.now() + dt)
        sample = link.latest()
        assert sample is not None
        samples.append(sample)
        link.command(np.zeros(1, np.float32))
    return samples


def connected(wire: Callable[[VirtualClock], Wire], **options: int) -> tuple[HostLink, VirtualClock]:
    clock = VirtualClock(1.0)
    link = HostLink(wire(clock), clock, **options)
    link.start()
    return link, clock


@settings(deadline=None, max_examples=20)
@given(st.floats(-0.012, 0.012))
def test_a_clock_that_is_off_costs_no_reading(fast: float) -> None:
    link, clock = connected(lambda clock: Wire(clock, fast=fast))
    samples = drive(link, clock, 20.0)
    assert not any(s.stale for s in samples)
    assert (
        max(abs(s.t - (1.0 + link_time)) for s, link_time in zip(samples, _ticks(samples), strict=True))
        < 0.02
    )


def _ticks(samples: list[Sample]) -> list[float]:
    return [0.01 * (k + 1) for k in range(len(samples))]


@settings(deadline=None, max_examples=8)
@example(165.0, 0.0)
@example(300.0, 0.01)
@given(st.floats(0.0, 330.0), st.floats(-0.01, 0.01))
def test_after_a_pause_of_any_length_readings_are_fresh_again(pause: float, fast: float) -> None:
    """After 170 to 320 s, in which a seq comes around, a link once found nothing new for good."""
    assume(not 0.08 < pause < 0.1)  # the watchdog, of .1 s, may trip before the next command
    link, clock = connected(lambda clock: Wire(clock, fast=fast))
    drive(link, clock, 2.0)
    clock.sleep_until(clock.now() + pause)
    link.latest()
    link.start()
    samples = drive(link, clock, 1.0)
    assert not any(s.stale or s.faults for s in samples[2:])
    assert len({s.seq for s in samples}) >= len(samples) - 2


def test_a_reading_is_outdated_by_its_arrival_too() -> None:
    """A clock that has jumped ahead says that everything is new."""
    clock = VirtualClock(100.0)
    observer = Observer(SCHEMA, TimeSync(), clock, 0.01, 0.005)
    obs = Obs(0, State.IDLE, 0, 0, 0, 0, 0, 0, 0, (3,)).pack()
    observer.take(Frame(Type.OBS, 5, 2_000_000_000, 7, obs))
    fresh = observer.latest()
    assert fresh is not None
    assert not fresh.stale
    clock.sleep_until(100.031)
    late = observer.latest()
    assert late is not None
    assert late.stale


@pytest.mark.parametrize("rate", [1.0, 50.0, 499.0, 500.0, 501.0, 750.0, 1000.0])
def test_no_device_is_asked_for_a_period_that_the_page_forbids(rate: float) -> None:
    profile = Profile(SCHEMA, rate, watchdog_ms=3000, watchdog_bounds_ms=(20, 6000))
    link, clock = connected(lambda clock: Wire(clock, profile=profile))
    samples = drive(link, clock, 20.0 / rate, 1.0 / rate)
    assert not any(s.stale for s in samples[3:])


def test_bursts_are_told_with_what_to_do_about_them() -> None:
    link, clock = connected(lambda clock: Wire(clock, burst=0.016))
    drive(link, clock, 3.0)
    assert link.advice is not None
    assert "readings arrive in bursts, every 16 ms on average" in link.advice
    assert "latency timer" in link.advice


@pytest.mark.parametrize("burst", [0.0, 0.001, 0.004])
def test_a_link_as_it_should_be_needs_no_advice(burst: float) -> None:
    link, clock = connected(lambda clock: Wire(clock, burst=burst))
    drive(link, clock, 3.0)
    assert link.advice is None


@pytest.mark.parametrize(
    ("sensors", "baud", "samples"),
    [(2, 115_200, 2), (2, 57_600, 1), (6, 115_200, 1), (6, 230_400, 2), (23, None, 2)],
)
def test_a_line_is_asked_for_what_it_carries(sensors: int, baud: int | None, samples: int) -> None:
    assert samples_per_period(_schema(sensors), 100.0, 2, baud, "here") == samples


def test_a_line_that_is_too_slow_is_refused_with_the_numbers() -> None:
    clock = VirtualClock()
    transport = LockstepTransport(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock)
    transport.bits_per_s = 38_400
    with pytest.raises(DeviceFault) as refused:
        HostLink(transport, clock)
    assert str(refused.value) == (
        "the line on simulated device carries 38400 bit/s, but 1 sensors and 1 actuators at 100 Hz need 42222; set "
        "57600 baud at both ends (--baud), or a lower control rate"
    )


@given(
    st.integers(1, 23),
    st.integers(1, 27),
    st.floats(1.0, 1000.0),
    st.integers(1, 4),
    st.integers(9600, 10**6),
)
def test_what_is_asked_for_fits_the_line_and_the_protocol(
    sensors: int, actuators: int, rate: float, wanted: int, baud: int
) -> None:
    schema = _schema(sensors, actuators)
    try:
        samples = samples_per_period(schema, rate, wanted, baud, "here")
    except DeviceFault:
        assert max(load(schema, rate, 1)) > 0.9 * baud
        return
    assert 1 <= samples <= wanted
    assert max(load(schema, rate, samples)) <= 0.9 * baud
    assert 1e6 / rate / samples >= 999.9


def test_who_does_not_answer_on_a_serial_line_may_be_booting() -> None:
    clock = VirtualClock()
    transport = LockstepTransport(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock)
    transport.bits_per_s = 57_600
    transport.read = lambda: b""  # type: ignore[method-assign]
    with pytest.raises(DeviceFault, match=r"within 2\.5 s; .*\(now 57600\), .* --timeout, .* --no-dtr"):
        HostLink(transport, clock, timeout=2.5)
