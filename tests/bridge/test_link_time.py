"""Time and budget of a link: clocks that are off, pauses in which nobody reads, bursts, lines that are too slow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import serial
from acclimate.control.device import Sample
from acclimate.errors import DeviceFault
from acclimate_bridge.link.budget import _BAUDS, load, samples_per_period
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.line import Line
from acclimate_bridge.link.messages import OPEN_LAYOUT, Obs, Schema, State, Type, WireChannel
from acclimate_bridge.link.observing import Observer
from acclimate_bridge.link.time_sync import TimeSync
from acclimate_bridge.link.wire import Decoder, Frame, TypeLayout, encode
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


def _take(observer: Observer, seq: int, t_us: int = 0) -> None:
    obs = Obs(0, State.IDLE, 0, 0, 0, 0, 0, 0, 0, (3,)).pack()
    observer.take(Frame(Type.OBS, seq, t_us, 7, obs))


def _seq(observer: Observer) -> int:
    sample = observer.latest()
    assert sample is not None
    return sample.seq


@pytest.mark.parametrize("pause", [16.0, 16.0 + 2**-20])
def test_after_a_long_pause_a_seq_tells_no_order_for_a_moment(pause: float) -> None:
    """In 16 s come 16,384 readings, 1,024 a second. What was left unread comes first, then a leap."""
    clock = VirtualClock(0.5)
    observer = Observer(SCHEMA, TimeSync(), clock, 0.01, 2**-10)
    _take(observer, 10, 1)
    _take(observer, 9, 2)
    assert _seq(observer) == 10
    clock.sleep_until(0.5 + pause)
    _take(observer, 11, 2)
    assert _seq(observer) == 11
    clock.sleep_until(clock.now() + 0.2)
    _take(observer, 5, 3)
    assert _seq(observer) == (5 if pause > 16.0 else 11)
    clock.sleep_until(clock.now() + 2**-20)
    _take(observer, 4, 4)
    assert _seq(observer) == (5 if pause > 16.0 else 11)
    _take(observer, 12, 5)
    assert _seq(observer) == 12


@pytest.mark.parametrize("readings", [50, 51])
def test_how_regularly_readings_come_is_told_from_fifty_pauses_on(readings: int) -> None:
    """What comes at one moment is one arrival."""
    clock = VirtualClock(100.0)
    observer = Observer(SCHEMA, TimeSync(), clock, 0.01, 0.005)
    for k in range(readings):
        _take(observer, 2 * k, 2 * k + 1)
        _take(observer, 2 * k + 1, 2 * k + 2)
        clock.sleep_until(clock.now() + 0.0132)
    assert observer.arrival_gap == pytest.approx(0.0132 if readings > 50 else 0.0)
    assert observer.bursts is (readings > 50)
    observer.forget_rhythm()
    assert observer.arrival_gap == 0.0
    assert not observer.bursts


def test_the_rhythm_is_that_of_the_last_two_hundred_pauses() -> None:
    clock = VirtualClock(100.0)
    observer = Observer(SCHEMA, TimeSync(), clock, 0.01, 0.005)
    for k in range(202):
        _take(observer, k, k + 1)
        clock.sleep_until(clock.now() + (0.01 if k else 1.0))
    assert observer.arrival_gap == pytest.approx(0.01)


@pytest.mark.parametrize(("gap", "bursts"), [(0.0128, False), (0.0132, True)])
def test_bursts_are_pauses_of_more_than_a_period_and_a_third(gap: float, bursts: bool) -> None:
    clock = VirtualClock(100.0)
    observer = Observer(SCHEMA, TimeSync(), clock, 0.01, 0.005)
    for k in range(60):
        _take(observer, k, k + 1)
        clock.sleep_until(clock.now() + gap)
    assert observer.bursts is bursts


@pytest.mark.parametrize(
    ("step", "stands"),
    [(1, False), (0, True), (-1, True), (2**31 - 1, False), (2**31, True), (2**32 - 5, True)],
)
def test_a_device_whose_clock_stands_or_runs_back_is_stale(step: int, stands: bool) -> None:
    """Across the point where its stamp wraps, too."""
    for at in (1000, 2**32 - 1, 2**31):
        clock = VirtualClock(100.0)
        observer = Observer(SCHEMA, TimeSync(), clock, 1e9, 0.005)  # whose readings are never outdated
        _take(observer, 1, at)
        first = observer.latest()
        assert first is not None
        assert not first.stale
        _take(observer, 2, (at + step) & 0xFFFFFFFF)
        second = observer.latest()
        assert second is not None
        assert second.stale is stands


def test_a_reading_is_outdated_after_exactly_three_periods() -> None:
    """Of binary fractions, so that this is exact."""
    clock = VirtualClock(128.0)
    observer = Observer(SCHEMA, TimeSync(), clock, 1 / 64, 1 / 128)
    _take(observer, 1, 200_000_000)
    for later, stale in ((3 / 64, False), (3 / 64 + 2**-20, True)):
        clock.sleep_until(128.0 + later)
        sample = observer.latest()
        assert sample is not None
        assert sample.stale is stale


@pytest.mark.parametrize(("leap", "late"), [(0x7FFE, 0), (0x7FFF, 0), (0x8000, 1), (0xFFFF, 1)])
def test_a_frame_is_late_or_follows_on_losses(leap: int, late: int) -> None:
    """By which of both is less. leap: so many more than the next one that was expected."""

    class Canned(LockstepTransport):
        def read(self) -> bytes:
            return b"".join(encode(Frame(Type.LOG, s & 0xFFFF, 0, 0, bytes(64)), OPEN_LAYOUT) for s in seqs)

    clock = VirtualClock()
    line = Line(Canned(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock), clock)
    seqs = [0xFFF0]
    line.receive()
    assert (line.lost, line.late) == (0, 0)
    seqs = [0xFFF1 + leap]
    line.receive()
    assert (line.lost, line.late) == (0 if late else leap, late)
    seqs = [0xFFF2 if late else 0xFFF2 + leap]
    line.receive()
    assert (line.lost, line.late) == (1 if late else leap, late)


def test_frames_are_numbered_and_stamped_by_who_sends_them() -> None:
    class Heard(LockstepTransport):
        def write(self, data: bytes) -> None:
            heard.extend(Decoder(OPEN_LAYOUT).feed(data))

    heard: list[Frame] = []
    fresh = Line(Heard(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), VirtualClock()), VirtualClock())
    fresh.send(Type.ESTOP)
    assert heard.pop() == Frame(Type.ESTOP, 0, 0, 0, b"")
    clock = VirtualClock(4295.0)  # past 2^32 µs
    line = Line(Heard(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock), clock)
    line._seq = 0xFFFF
    assert [line.send(Type.ESTOP), line.send(Type.ESTOP, t_us=5), line.send(Type.ESTOP)] == [0xFFFF, 0, 1]
    assert [(f.seq, f.t_us) for f in heard] == [(0xFFFF, 32704), (0, 5), (1, 32704)]


@pytest.mark.parametrize(
    ("baud", "said"), [(57_600, r"the baud rate \(now 57600\)$"), (None, "the baud rate$")]
)
def test_another_protocol_is_told_with_the_baud_rate_where_there_is_one(baud: int | None, said: str) -> None:
    clock = VirtualClock()
    transport = LockstepTransport(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock)
    transport.bits_per_s = baud
    transport.read = lambda: b"$GPGGA,123519,4807.038\r\n\x00"  # type: ignore[method-assign]
    with pytest.raises(DeviceFault, match=said):
        HostLink(transport, clock)


_SEALED = encode(Frame(Type.ESTOP, 0, 0, 0, b""), {Type.ESTOP: TypeLayout(0, 1)})
_DAMAGE = {"malformed": b"\x05\x01\0", "overlong": b"x" * 200 + b"\0", "crc": _SEALED}


@pytest.mark.parametrize(
    "kinds",
    [
        ["malformed"],
        ["overlong"],
        ["crc"],
        ["malformed", "crc"],
        ["overlong", "crc"],
        ["malformed", "overlong"],
    ],
)
def test_whatever_damage_arrives_is_another_protocol(kinds: list[str]) -> None:
    clock = VirtualClock()
    transport = LockstepTransport(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock)
    data = b"".join(_DAMAGE[kind] for kind in kinds)
    transport.read = lambda: data  # type: ignore[method-assign]
    with pytest.raises(DeviceFault, match="what arrives on simulated device is not the Acclimate protocol"):
        HostLink(transport, clock)


def test_a_device_whose_description_stays_incomplete_is_told_so() -> None:
    clock = VirtualClock()
    transport = LockstepTransport(DeviceCore(Recorder(), Profile(SCHEMA), boot_id=7), clock)
    whole = transport.read

    def without_channels() -> bytes:
        frames = [part + b"\0" for part in whole().split(b"\0")[:-1]]
        decoder = Decoder(SCHEMA.layout)
        return b"".join(f for f in frames if all(x.type != Type.CHANNEL for x in decoder.feed(f)))

    transport.read = without_channels  # type: ignore[method-assign]
    with pytest.raises(
        DeviceFault, match=r"did not describe its channels completely within 5 s; check the cable"
    ):
        HostLink(transport, clock)


def test_every_baud_rate_that_is_named_would_do_and_no_lower_one() -> None:
    for sensors in range(1, 24, 2):
        for rate in (50.0, 100.0, 500.0, 1000.0):
            schema = _schema(sensors)
            with pytest.raises(DeviceFault) as refused:
                samples_per_period(schema, rate, 2, 1200, "here")
            said = str(refused.value)
            fits = [b for b in _BAUDS if samples_fit(schema, rate, b)]
            assert f"set {fits[0]} baud" in said if fits else "set a faster line" in said


def test_nine_tenths_of_a_line_are_used_to_the_last_bit() -> None:
    """54 bytes, 96 times a second, are nine tenths of 57,600 bit/s."""
    assert samples_per_period(_schema(5), 96.0, 1, 57_600, "here") == 1
    with pytest.raises(DeviceFault, match="set 57600 baud"):
        samples_per_period(_schema(5), 96.0, 1, 57_599, "here")
    with pytest.raises(DeviceFault, match="set 115200 baud"):
        samples_per_period(_schema(5), 96.001, 1, 57_600, "here")


@pytest.mark.parametrize(
    ("rate", "samples"), [(100.0, 4), (250.0, 4), (251.0, 3), (500.0, 2), (501.0, 1), (1000.0, 1), (1.0, 4)]
)
def test_a_reading_a_millisecond_is_the_most(rate: float, samples: int) -> None:
    assert samples_per_period(SCHEMA, rate, 4, None, "here") == samples


def test_baud_rates_that_are_named_are_some_that_there_are() -> None:
    assert set(_BAUDS) <= set(serial.SerialBase.BAUDRATES)
    assert sorted(_BAUDS) == list(_BAUDS)


def samples_fit(schema: Schema, rate: float, baud: int) -> bool:
    try:
        return samples_per_period(schema, rate, 1, baud, "here") == 1
    except DeviceFault:
        return False


def test_the_load_is_that_of_the_frames() -> None:
    """CMD: 4 bytes and 4 for each actuator; OBS: 18 and 4 for each sensor; 16 more of frame; 10 bits a byte."""
    to_device, to_host = load(_schema(3, 2), 50.0, 2)
    assert to_device == 50 * 10 * (4 + 8 + 16)
    assert to_host == 50 * 2 * 10 * (18 + 12 + 16)


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
