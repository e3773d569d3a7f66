"""The device's rules: session, watchdog, time to live, order, emergency stop, settings. No clock, no port."""

from __future__ import annotations

import struct
import zlib

import pytest
from acclimate_bridge.link.messages import (
    NO_VALUE,
    Ack,
    Caps,
    Cfg,
    ChannelInfo,
    Clear,
    Cmd,
    Hello,
    Key,
    Latch,
    Log,
    Mode,
    Obs,
    Pong,
    Result,
    Schema,
    State,
    Type,
    WireChannel,
)
from acclimate_bridge.link.wire import Decoder, Frame, encode
from acclimate_bridge.simulation.device_core import DeviceCore, Profile
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEMA = Schema(
    sensors=(WireChannel("x", "m", 0.5, -100.0, 100.0),),
    actuators=(WireChannel("u", "1", 0.25, -1.0, 1.0), WireChannel("v", "1", 1.0, 2.0, 5.0)),
)
NEUTRAL = (0.0, 2.0)  # nearest to zero in each range


class Recorder:
    """A plant that remembers what it was told, and reads 3.0."""

    def __init__(self) -> None:
        self.time = 0.0
        self.targets: list[tuple[float, tuple[float, ...]]] = []

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        assert now == self.time
        self.targets.append((round(now, 6), targets))

    rest = set_targets

    def advance(self, now: float) -> None:
        assert now >= self.time
        self.time = now

    def measure(self) -> tuple[float, ...]:
        return (3.0,)


class Bench:
    """A device and a host that writes frames by hand."""

    def __init__(self) -> None:
        self.plant = Recorder()
        self.core = DeviceCore(self.plant, Profile(SCHEMA, rate_hz=100.0, firmware="bench 1"), boot_id=77)
        self.decoder = Decoder(SCHEMA.layout)
        self.now = 0.0
        self.seq = 0
        self.session = 0

    def send(
        self,
        kind: Type,
        payload: bytes = b"",
        *,
        session: int | None = None,
        seq: int | None = None,
        seen: float | None = None,
    ) -> None:
        """seen: when what the host rests on was measured; now, where it is not said."""
        self.seq = self.seq + 1 if seq is None else seq
        t_us = round((self.now if seen is None else seen) * 1e6)
        frame = Frame(kind, self.seq, t_us, self.session if session is None else session, payload)
        self.core.feed(encode(frame, SCHEMA.layout), self.now)

    def wait(self, seconds: float) -> list[Frame]:
        self.now += seconds
        return self.decoder.feed(self.core.advance(self.now))

    def open(self, nonce: int = 5) -> Caps:
        self.send(Type.HELLO, Hello(nonce).pack())
        caps = next(f for f in self.wait(0.0) if f.type == Type.CAPS and f.session)
        self.session = caps.session
        return Caps.unpack(caps.payload)

    def arm(self) -> None:
        self.send(Type.CLEAR, Clear(self.open().latches).pack())
        self.wait(0.0)

    def drive(
        self,
        *targets: int,
        ttl_ms: int = 1000,
        mode: int = Mode.DRIVE,
        seq: int | None = None,
        seen: float | None = None,
    ) -> None:
        self.send(Type.CMD, Cmd(ttl_ms, mode, targets).pack(), seq=seq, seen=seen)

    def obs(self) -> Obs:
        return [Obs.unpack(f.payload) for f in self.wait(0.01) if f.type == Type.OBS][-1]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def armed() -> Bench:
    bench = Bench()
    bench.arm()
    return bench


def test_hello_is_answered_with_everything_about_the_device(bench: Bench) -> None:
    bench.wait(0.0)
    bench.send(Type.HELLO, Hello(5).pack())
    caps, *channels = bench.wait(0.0)
    assert Caps.unpack(caps.payload) == Caps(5, 77, SCHEMA.hash, 1, 2, 2, 100_000, 100, 20, 1000, "bench 1")
    described = [ChannelInfo.unpack(c.payload) for c in channels]
    assert [(c.kind, c.number, c.channel) for c in described] == [
        (0, 0, SCHEMA.sensors[0]),
        (1, 0, SCHEMA.actuators[0]),
        (1, 1, SCHEMA.actuators[1]),
    ]
    assert {c.session for c in channels} == {caps.session} != {0}


def test_a_repeated_hello_keeps_the_session_and_a_new_one_ends_it(armed: Bench) -> None:
    first = armed.session
    armed.open(nonce=5)
    assert armed.session == first
    assert armed.core.state is State.IDLE
    armed.open(nonce=6)
    assert armed.session != first
    assert armed.core.state is State.SAFE


def test_a_device_that_nobody_greeted_is_silent_but_for_its_announcement(bench: Bench) -> None:
    (announcement,) = bench.wait(10.0)
    assert (announcement.type, announcement.session) == (Type.CAPS, 0)


def test_readings_come_at_the_control_rate_with_the_time_they_were_taken(bench: Bench) -> None:
    bench.now = 1.0
    bench.wait(0.0)
    bench.open()
    frames = bench.wait(0.0305)
    assert [f.t_us for f in frames if f.type == Type.OBS] == [1_010_000, 1_020_000, 1_030_000]
    assert Obs.unpack(frames[0].payload).values == (6,)  # 3.0 in steps of 0.5


def test_commands_are_refused_until_cleared(bench: Bench) -> None:
    bench.open()
    bench.drive(4, 3)
    obs = bench.obs()
    assert (obs.state, obs.faults, obs.refused) == (State.SAFE, Latch.SESSION, 1)
    assert all(targets == NEUTRAL for _, targets in bench.plant.targets)


def test_a_command_drives_clamped_to_the_channels_range(armed: Bench) -> None:
    armed.drive(2, 3)
    armed.drive(40, -7)
    assert [targets for _, targets in armed.plant.targets[-2:]] == [(0.5, 3.0), (1.0, 2.0)]
    obs = armed.obs()
    assert (obs.ack, obs.state, obs.cmd_t_us) == (armed.seq, State.DRIVING, 0)


def test_the_latest_command_wins_and_older_ones_are_dropped_and_counted(armed: Bench) -> None:
    armed.drive(1, 3, seq=65530)
    armed.drive(2, 3, seq=3)
    armed.drive(3, 3, seq=65535)
    armed.drive(3, 3, seq=3)
    assert armed.plant.targets[-1][1] == (0.5, 3.0)
    obs = armed.obs()
    assert (obs.ack, obs.stale) == (3, 2)


def test_targets_outlive_their_time_only_once_and_a_new_command_goes_on(armed: Bench) -> None:
    armed.drive(4, 3, ttl_ms=30)
    armed.wait(0.05)
    assert armed.plant.targets[-1] == (0.03, NEUTRAL)
    obs = armed.obs()
    assert (obs.expired, obs.faults) == (1, 0)
    armed.drive(4, 3, ttl_ms=30)
    assert armed.plant.targets[-1][1] == (1.0, 3.0)


def test_the_watchdog_latches_on_time_and_needs_a_clear(armed: Bench) -> None:
    armed.drive(4, 3)
    armed.wait(0.25)
    assert armed.plant.targets[-1] == (0.1, NEUTRAL)
    armed.drive(4, 3)
    obs = armed.obs()
    assert (obs.state, obs.faults, obs.refused) == (State.SAFE, Latch.WATCHDOG, 1)
    armed.send(Type.CLEAR, Clear(obs.latches).pack())
    armed.drive(4, 3)
    assert armed.core.state is State.DRIVING


def test_the_watchdog_is_fed_by_commands_and_rests_in_neutral(armed: Bench) -> None:
    for _ in range(10):
        armed.drive(4, 3)
        armed.wait(0.09)
    assert armed.core.state is State.DRIVING
    armed.drive(4, 3, mode=Mode.NEUTRAL)
    armed.wait(10.0)
    assert armed.core.state is State.IDLE
    assert armed.plant.targets[-1][1] == NEUTRAL


def test_the_watchdog_rests_until_the_first_command(armed: Bench) -> None:
    armed.wait(10.0)
    assert armed.core.state is State.IDLE


def test_a_command_of_another_session_neither_drives_nor_feeds_the_watchdog(armed: Bench) -> None:
    armed.drive(4, 3)
    for _ in range(4):
        armed.wait(0.05)
        armed.send(Type.CMD, Cmd(1000, Mode.DRIVE, (1, 3)).pack(), session=armed.session ^ 1)
    assert armed.core.state is State.SAFE
    obs = armed.obs()
    assert (obs.faults, obs.refused) == (Latch.WATCHDOG, 4)


def test_after_a_reboot_nothing_of_before_can_drive_it(armed: Bench) -> None:
    armed.drive(4, 3)
    armed.wait(0.2)
    armed.core.reboot(boot_id=78, now=armed.now)
    armed.drive(4, 3)
    announcements = [f for f in armed.wait(0.01) if f.type == Type.CAPS]
    assert armed.plant.targets[-1][1] == NEUTRAL
    assert armed.core.state is State.SAFE
    assert Caps.unpack(announcements[0].payload).boot_id == 78
    assert announcements[0].session == 0


def test_refused_frames_are_answered_with_an_announcement_but_not_each(bench: Bench) -> None:
    bench.wait(1.0)
    for _ in range(50):
        bench.send(Type.PING, session=9)
    assert [f.type for f in bench.wait(0.0)] == [Type.CAPS]


def test_a_host_of_another_version_is_told_so_but_not_each_time(bench: Bench) -> None:
    bench.wait(1.0)
    hello = Frame(Type.HELLO, 1, 0, 0, Hello(5).pack())
    raw = bytearray(cobs.decode(encode(hello, SCHEMA.layout)[:-1]))
    raw[0] += 1
    bench.core.feed(10 * (cobs.encode(bytes(raw)) + b"\0"), bench.now)
    assert [f.type for f in bench.wait(0.0)] == [Type.CAPS]
    assert bench.core.session == 0


@pytest.mark.parametrize("session", [0, 12345])
def test_anyone_may_stop_the_device(armed: Bench, session: int) -> None:
    armed.drive(4, 3)
    armed.send(Type.ESTOP, session=session)
    assert armed.plant.targets[-1][1] == NEUTRAL
    armed.drive(4, 3)
    assert armed.obs().faults == Latch.ESTOP


def test_a_clear_that_was_meant_for_an_earlier_latch_does_not_release_a_later_one(armed: Bench) -> None:
    latches = armed.obs().latches
    armed.send(Type.ESTOP)
    armed.send(Type.CLEAR, Clear(latches).pack())
    answer = Ack.unpack(armed.wait(0.0)[-1].payload)
    assert (answer.type, answer.result, answer.seq) == (Type.CLEAR, Result.STALE_LATCH, armed.seq)
    assert armed.core.state is State.SAFE
    armed.send(Type.CLEAR, Clear(answer.value).pack())
    assert armed.core.state is State.IDLE


@pytest.mark.parametrize(
    ("mode", "targets"), [(3, (4, 3)), (Mode.DRIVE, (NO_VALUE, 3)), (Mode.DRIVE, (4, NO_VALUE))]
)
def test_impossible_commands_are_refused(armed: Bench, mode: int, targets: tuple[int, int]) -> None:
    armed.drive(*targets, mode=mode)
    assert armed.core.state is State.IDLE
    assert armed.obs().refused == 1


@pytest.mark.parametrize(
    ("key", "value", "result", "now_set"),
    [
        (Key.WATCHDOG_MS, 250, Result.OK, 250),
        (Key.WATCHDOG_MS, 20, Result.OK, 20),
        (Key.WATCHDOG_MS, 1000, Result.OK, 1000),
        (Key.OBS_PERIOD_US, 1_000, Result.OK, 1_000),
        (Key.OBS_PERIOD_US, 1_000_000, Result.OK, 1_000_000),
        (Key.OBS_PERIOD_US, 999, Result.OUT_OF_RANGE, 10_000),
        (Key.OBS_PERIOD_US, 1_000_001, Result.OUT_OF_RANGE, 10_000),
        (Key.WATCHDOG_MS, 19, Result.OUT_OF_RANGE, 100),
        (Key.WATCHDOG_MS, 1001, Result.OUT_OF_RANGE, 100),
        (Key.OBS_PERIOD_US, 2_000, Result.OK, 2_000),
        (Key.OBS_PERIOD_US, 0, Result.OUT_OF_RANGE, 10_000),
        (99, 5, Result.UNKNOWN_KEY, 5),
    ],
)
def test_settings_are_acknowledged_with_what_now_holds(
    armed: Bench, key: int, value: int, result: Result, now_set: int
) -> None:
    armed.send(Type.CFG, Cfg(key, value).pack())
    assert Ack.unpack(armed.wait(0.0)[-1].payload) == Ack(Type.CFG, result, armed.seq, now_set)


def test_a_longer_watchdog_waits_longer(armed: Bench) -> None:
    armed.send(Type.CFG, Cfg(Key.WATCHDOG_MS, 250).pack())
    armed.drive(4, 3)
    armed.wait(0.24)
    assert armed.core.state is State.DRIVING
    armed.wait(0.02)
    assert armed.core.state is State.SAFE


def test_a_new_reading_period_starts_with_its_request(armed: Bench) -> None:
    armed.wait(0.0033)
    armed.send(Type.CFG, Cfg(Key.OBS_PERIOD_US, 2_000).pack())
    stamps = [f.t_us for f in armed.wait(0.0045) if f.type == Type.OBS]
    assert stamps == [5_300, 7_300]


def test_a_ping_is_answered_with_both_stamps(armed: Bench) -> None:
    armed.wait(0.0123)
    armed.send(Type.PING)
    (pong,) = armed.wait(0.0)
    assert (Pong.unpack(pong.payload), pong.t_us) == (Pong(armed.seq, 12_300), 12_300)


def test_a_log_line_reaches_the_host(armed: Bench) -> None:
    armed.core.log(3, "supply low")
    assert Log.unpack(armed.wait(0.0)[-1].payload) == Log(3, "supply low")


def test_damage_is_counted_for_the_host_to_see(armed: Bench) -> None:
    armed.core.feed(b"\x01\x02\x03\x00rubbish\x00", armed.now)
    assert armed.obs().bad == 2


@given(st.lists(st.tuples(st.binary(max_size=200), st.floats(0.0, 0.3)), max_size=10))
def test_garbage_neither_stops_nor_drives_the_device(junk: list[tuple[bytes, float]]) -> None:
    bench = Bench()
    bench.arm()
    for data, pause in junk:
        bench.core.feed(data, bench.now)
        bench.wait(pause)
    assert bench.core.state is State.IDLE
    assert all(targets == NEUTRAL for _, targets in bench.plant.targets)


def test_a_hello_without_a_nonce_opens_nothing(bench: Bench) -> None:
    bench.wait(1.0)
    bench.send(Type.HELLO, Hello(0).pack())
    assert bench.wait(0.0) == []
    assert bench.core.session == 0
    bench.open()
    assert bench.obs().refused == 1


@given(st.lists(st.integers(1, 2**32 - 1), min_size=2, max_size=20))
def test_no_session_is_0_or_the_one_before_it(nonces: list[int]) -> None:
    bench, last, before = Bench(), 0, 0
    for nonce in nonces:
        bench.open(nonce)
        assert bench.session != 0
        assert (bench.session == last) is (nonce == before)
        last, before = bench.session, nonce


def _nonce(boot_id: int, previous: int, mixed: int) -> int:
    """One that a device mixes to this very session number."""
    return next(
        n
        for n in range(1, 1 << 20)
        if zlib.crc32(struct.pack("<IIH", boot_id, n, previous)) & 0xFFFF == mixed
    )


@pytest.mark.parametrize("previous", [1, 2, 3, 4711])
@pytest.mark.parametrize("mixed", [0, 1, 2, 3, None])
def test_a_session_that_may_not_be_is_changed_in_a_bit(previous: int, mixed: int | None) -> None:
    """In its lowest, or else in the one above; None stands for the session before."""
    bench, wanted = Bench(), previous if mixed is None else mixed
    bench.open(_nonce(77, 0, previous))
    assert bench.session == previous
    bench.open(_nonce(77, previous, wanted))
    assert bench.session == next(s for s in (wanted, wanted ^ 1, wanted ^ 2) if s not in (0, previous))


def test_a_new_session_knows_nothing_of_the_commands_before(armed: Bench) -> None:
    armed.drive(4, 3, seq=40_000)
    assert (armed.obs().ack, armed.core.state) == (40_000, State.DRIVING)
    armed.send(Type.CLEAR, Clear(armed.open(nonce=6).latches).pack())
    obs = armed.obs()
    assert (obs.ack, obs.cmd_t_us, obs.faults) == (0, 0, 0)
    armed.drive(4, 3, seq=3)
    assert (armed.obs().ack, armed.core.state) == (3, State.DRIVING)


def test_a_device_counts_its_time_from_when_it_came_up(armed: Bench) -> None:
    armed.now += 5.0
    armed.core.reboot(boot_id=78, now=armed.now)
    armed.now += 0.25
    armed.session = 0
    armed.send(Type.HELLO, Hello(9).pack())
    stamps = {f.t_us for f in armed.wait(0.0) if f.type == Type.CHANNEL}
    assert stamps == {250_000}


@pytest.mark.parametrize("counter", ["stale", "refused", "expired", "bad"])
def test_counters_wrap_at_16_bits(armed: Bench, counter: str) -> None:
    """And each counts what it is for, by one."""
    if counter == "bad":
        armed.core._decoder.counters.crc = 0xFFFF
    else:
        setattr(armed.core._counters, counter, 0xFFFF)
    assert getattr(armed.obs(), counter) == 0xFFFF
    armed.drive(4, 3, seq=100, ttl_ms=5)
    armed.wait(0.02)  # expires
    armed.drive(4, 3, seq=99)  # stale
    armed.drive(NO_VALUE, 3, seq=101)  # refused
    armed.core.feed(b"\x05\x01\0", armed.now)  # damaged
    obs = armed.obs()
    counts = {"stale": obs.stale, "refused": obs.refused, "expired": obs.expired, "bad": obs.bad}
    assert counts == {name: int(name != counter) for name in counts}


def test_latchings_and_frames_are_counted_around_their_ends(armed: Bench) -> None:
    before = armed.obs().latches
    for _ in range(256):
        armed.send(Type.ESTOP)
    assert armed.obs().latches == before
    armed.core._seq = 0xFFFE
    assert [f.seq for f in armed.wait(0.03)] == [0xFFFE, 0xFFFF, 0]


def test_what_arrives_arrives_when_it_does(armed: Bench) -> None:
    """Also where nobody has let time pass before."""
    armed.now += 0.0042
    armed.send(Type.PING)
    (pong,) = (f for f in armed.wait(0.001) if f.type == Type.PONG)
    assert (Pong.unpack(pong.payload).received_t_us, pong.t_us) == (4_200, 4_200)
    armed.drive(4, 3)
    armed.now += 0.03
    armed.core.press(armed.now)
    assert armed.plant.targets[-1] == (0.0352, NEUTRAL)


def test_a_cause_of_its_own_latches_when_it_comes_and_says_nothing_where_there_is_nothing_to_say(
    armed: Bench,
) -> None:
    armed.drive(4, 3)
    armed.now += 0.03
    armed.core.trip(Latch.SUPPLY, armed.now)
    assert armed.plant.targets[-1] == (0.03, NEUTRAL)
    assert {f.type for f in armed.wait(0.0)} == {Type.OBS}


def test_it_comes_up_in_neutral_and_says_so_with_nothing_open(bench: Bench) -> None:
    assert bench.plant.targets == [(0.0, NEUTRAL)]
    (frame,) = bench.wait(0.0)
    caps = Caps.unpack(frame.payload)
    assert (frame.seq, frame.session, caps.nonce, caps.latches) == (0, 0, 0, 1)


def test_a_reboot_forgets_everything(armed: Bench) -> None:
    """Settings, counters, half a frame, what is on its way out, and whom it talked to."""
    armed.send(Type.CFG, Cfg(Key.WATCHDOG_MS, 250).pack())
    armed.send(Type.CFG, Cfg(Key.OBS_PERIOD_US, 2_000).pack())
    armed.drive(4, 3, ttl_ms=1)
    armed.wait(0.05)
    armed.drive(4, 3, seq=1)
    armed.drive(NO_VALUE, 3)
    armed.drive(4, 3)
    armed.core.feed(b"half a frame", armed.now)
    armed.send(Type.PING)
    told = len(armed.plant.targets)
    armed.core.reboot(boot_id=78, now=armed.now)
    assert armed.plant.targets[told:] == [(0.05, NEUTRAL)]
    frames = armed.wait(10.0)
    assert [(f.type, f.seq, f.session) for f in frames] == [(Type.CAPS, 0, 0)]
    caps = Caps.unpack(frames[0].payload)
    assert (caps.nonce, caps.boot_id, caps.latches, caps.watchdog_ms) == (0, 78, 1, 100)
    caps = armed.open(nonce=5)
    assert (caps.nonce, caps.latches) == (5, 2)
    obs = armed.obs()
    assert obs == Obs(0, State.SAFE, Latch.SESSION, 2, 0, 0, 0, 0, 0, (6,))
    assert len([f for f in armed.wait(0.1) if f.type == Type.OBS]) == 10


def test_the_slowest_device_reads_once_a_second() -> None:
    bench = Bench()
    bench.core = DeviceCore(bench.plant, Profile(SCHEMA, rate_hz=1.0), boot_id=77)
    bench.open()
    assert [f.t_us for f in bench.wait(2.5) if f.type == Type.OBS] == [1_000_000, 2_000_000]


@pytest.mark.parametrize("mode", [Mode.NEUTRAL, Mode.STOP])
def test_neutral_ends_what_was_on_its_way(mode: Mode) -> None:
    """Targets that may not jump go there in steps, which must not go on after it."""
    bench = Bench()
    bench.core = DeviceCore(bench.plant, Profile(SCHEMA, slew=(1.0, 100.0)), boot_id=77)
    bench.arm()
    bench.drive(4, 3)
    bench.wait(0.0025)
    on_its_way = [targets[0] for _, targets in bench.plant.targets if targets != NEUTRAL]
    assert 1 < len(on_its_way) < 4
    assert on_its_way == [0.25 * (k + 1) for k in range(len(on_its_way))]  # a step of the wire each
    bench.drive(0, 0, mode=mode)
    told = len(bench.plant.targets)
    assert bench.plant.targets[-1] == (0.0025, NEUTRAL)
    bench.wait(1.0)
    assert len(bench.plant.targets) == told


def test_a_stop_latches_once_and_is_never_refused(armed: Bench) -> None:
    armed.drive(4, 3)
    counts = []
    for _ in range(3):
        armed.drive(0, 0, mode=Mode.STOP)
        obs = armed.obs()
        counts.append((obs.latches, obs.faults, obs.refused))
    assert counts == [(3, Latch.SESSION, 0)] * 3
    armed.send(Type.ESTOP)
    armed.drive(0, 0, mode=Mode.STOP)
    obs = armed.obs()
    assert (obs.latches, obs.faults) == (4, Latch.SESSION | Latch.ESTOP)


def test_a_stop_of_what_has_tripped_makes_it_latched_for_its_host_too(armed: Bench) -> None:
    armed.drive(4, 3)
    armed.wait(0.2)
    assert armed.obs().faults == Latch.WATCHDOG
    armed.drive(0, 0, mode=Mode.STOP)
    assert armed.obs().faults == Latch.WATCHDOG | Latch.SESSION


def test_it_announces_itself_at_most_ten_times_a_second(bench: Bench) -> None:
    bench.wait(0.0)
    heard = []
    for k in range(40):
        bench.send(Type.PING, session=9)
        heard += [k for f in bench.wait(0.01) if f.type == Type.CAPS]
    assert heard == [10, 20, 30]


def test_it_says_when_it_will_do_something_by_itself(bench: Bench) -> None:
    assert bench.core.next_event() > 1e9
    bench.arm()
    assert bench.core.next_event() == pytest.approx(0.01)
    bench.drive(4, 3, ttl_ms=5)
    assert bench.core.next_event() == pytest.approx(0.005)
    bench.wait(0.005)
    assert bench.plant.targets[-1] == (0.005, NEUTRAL)
    assert bench.core.next_event() == pytest.approx(0.01)
    bench.send(Type.CFG, Cfg(Key.OBS_PERIOD_US, 1_000_000).pack())
    assert bench.core.next_event() == pytest.approx(0.1)  # its watchdog


def test_a_pressed_button_outlives_a_reboot_and_a_clear(armed: Bench) -> None:
    armed.core.press(armed.now)
    assert armed.obs().faults == Latch.ESTOP
    armed.core.reboot(78, armed.now)
    caps = armed.open(nonce=8)
    armed.send(Type.CLEAR, Clear(caps.latches).pack())
    assert Ack.unpack(armed.wait(0.0)[-1].payload).result == Result.STILL_HELD
    assert armed.obs().faults == Latch.SESSION | Latch.ESTOP
    armed.core.unlock()
    armed.send(Type.CLEAR, Clear(caps.latches).pack())
    assert Ack.unpack(armed.wait(0.0)[-1].payload).result == Result.OK
    assert armed.obs().faults == 0


def test_each_new_session_is_counted_as_a_latching(bench: Bench) -> None:
    counts = [bench.open(nonce).latches for nonce in (1, 1, 2, 2, 3)]
    assert counts == [2, 2, 3, 3, 4]


def test_a_clear_while_driving_changes_nothing(armed: Bench) -> None:
    """It is repeated until it is acknowledged, and the last one may come late."""
    armed.drive(4, 3)
    armed.send(Type.CLEAR, Clear(armed.obs().latches).pack())
    answer = Ack.unpack(armed.wait(0.0)[-1].payload)
    assert answer.result == Result.OK
    assert armed.core.state is State.DRIVING
    assert armed.plant.targets[-1][1] == (1.0, 3.0)
    armed.wait(0.2)
    assert armed.obs().faults == Latch.WATCHDOG


def test_a_shorter_watchdog_holds_at_once(armed: Bench) -> None:
    armed.drive(4, 3)
    armed.wait(0.05)
    armed.send(Type.CFG, Cfg(Key.WATCHDOG_MS, 30).pack())
    armed.wait(0.0)
    assert armed.core.state is State.SAFE
    assert armed.plant.targets[-1] == (0.05, NEUTRAL)


def test_a_longer_watchdog_holds_for_the_command_that_is_driving(armed: Bench) -> None:
    armed.drive(4, 3)
    armed.wait(0.09)
    armed.send(Type.CFG, Cfg(Key.WATCHDOG_MS, 250).pack())
    armed.wait(0.15)
    assert armed.core.state is State.DRIVING
    armed.wait(0.02)
    assert armed.core.state is State.SAFE


def test_targets_that_expire_leave_the_watchdog_counting(armed: Bench) -> None:
    armed.drive(4, 3, ttl_ms=30)
    armed.wait(0.05)
    assert armed.core.state is State.DRIVING
    armed.wait(0.06)
    assert armed.obs().faults == Latch.WATCHDOG


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_neutral_is_neutral_whatever_its_targets(u: int, v: int) -> None:
    bench = Bench()
    bench.arm()
    bench.drive(4, 3)
    bench.drive(u, v, mode=Mode.NEUTRAL)
    assert bench.core.state is State.IDLE
    assert bench.plant.targets[-1][1] == NEUTRAL
    assert bench.obs().refused == 0


def test_what_is_stale_is_not_counted_as_refused_also_where_it_is_both(armed: Bench) -> None:
    armed.drive(4, 3, seq=100)
    armed.drive(NO_VALUE, 3, seq=99)
    armed.drive(4, 3, seq=98, mode=7)
    obs = armed.obs()
    assert (obs.stale, obs.refused) == (2, 0)


def test_what_is_refused_neither_counts_as_the_newest_nor_feeds_the_watchdog(armed: Bench) -> None:
    armed.drive(4, 3, seq=100)
    armed.wait(0.06)
    armed.drive(NO_VALUE, 3, seq=200)
    assert armed.obs().ack == 100
    armed.drive(4, 3, seq=150)
    assert armed.obs().ack == 150
    armed.wait(0.06)
    armed.drive(NO_VALUE, 3, seq=201)
    armed.wait(0.06)
    assert armed.core.state is State.SAFE


@pytest.mark.parametrize("kind", [Type.CAPS, Type.CHANNEL, Type.OBS, Type.PONG, Type.ACK, Type.LOG])
@pytest.mark.parametrize("session", [None, 0, 4711])
def test_its_own_words_are_refused_in_silence(armed: Bench, kind: Type, session: int | None) -> None:
    """On a wire that echoes, an answer would be echoed as well."""
    armed.wait(1.0)
    refused = armed.obs().refused
    armed.send(kind, bytes(SCHEMA.layout[kind].length), session=session)
    assert armed.wait(0.0) == []
    assert armed.obs().refused == refused + 1
    assert armed.core.state is State.IDLE


def test_before_the_first_command_nothing_is_acknowledged(armed: Bench) -> None:
    obs = armed.obs()
    assert (obs.ack, obs.cmd_t_us) == (0, 0)


def test_without_a_session_nobody_is_told_anything(bench: Bench) -> None:
    bench.wait(1.0)
    bench.core.log(3, "alone")
    bench.core.trip(Latch.OVERLOAD, bench.now, "too much")
    assert bench.wait(0.0) == []


def test_a_cause_of_its_own_latches_and_is_told(armed: Bench) -> None:
    armed.drive(4, 3)
    armed.core.trip(Latch.TEMPERATURE, armed.now, "81 °C")
    frames = armed.wait(0.0)
    assert Log.unpack(frames[-1].payload) == Log(4, "81 °C")
    assert armed.plant.targets[-1][1] == NEUTRAL
    assert armed.obs().faults == Latch.TEMPERATURE


def test_a_command_holds_from_what_it_rests_on_and_not_from_its_arrival(armed: Bench) -> None:
    armed.wait(0.5)
    armed.drive(4, 3, ttl_ms=100, seen=0.44)
    assert armed.plant.targets[-1][1] == (1.0, 3.0)
    armed.wait(0.05)
    assert armed.plant.targets[-1] == (0.54, NEUTRAL)


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 1000))
def test_nothing_moves_for_longer_after_a_reading_than_the_host_allows(
    seen_ms: int, arrives_ms: int, ttl_ms: int
) -> None:
    """A stalled line delivers in the end; what it delivers late was once driven by for its full time."""
    bench = Bench()
    bench.arm()
    bench.send(Type.CFG, Cfg(Key.WATCHDOG_MS, 1000).pack())
    bench.wait(arrives_ms * 1e-3)
    bench.drive(4, 3, ttl_ms=ttl_ms, seen=seen_ms * 1e-3)
    stale = bench.obs().stale
    bench.wait(2.0)
    late = not 0 <= arrives_ms - seen_ms <= ttl_ms
    assert stale == late
    told = bench.plant.targets
    driven = [k for k, (_, targets) in enumerate(told) if targets != NEUTRAL]
    assert (not driven) is late
    if driven:
        assert told[driven[0] + 1] == (pytest.approx((seen_ms + ttl_ms) * 1e-3), NEUTRAL)


@pytest.mark.parametrize("mode", [Mode.NEUTRAL, Mode.STOP])
def test_to_be_safe_it_is_never_too_late(armed: Bench, mode: Mode) -> None:
    armed.wait(5.0)
    armed.drive(4, 3)
    armed.drive(0, 0, mode=mode, ttl_ms=0, seen=1.0)
    assert armed.core.state is (State.IDLE if mode is Mode.NEUTRAL else State.SAFE)


def test_what_was_put_back_is_held_where_it_stands_then() -> None:
    bench = Bench()
    channel = WireChannel("x", "m", 0.5, -100.0, 100.0)
    readings = iter(range(1, 100))
    bench.plant.measure = lambda: (float(next(readings)),)  # type: ignore[method-assign]
    bench.plant.begin = lambda: True  # type: ignore[attr-defined]
    held = Profile(Schema((channel,), (channel,)), neutral=("hold",))
    bench.core = DeviceCore(bench.plant, held, boot_id=1)
    assert bench.core._begin_episode(1) == (Result.OK, 1)
    bench.core._latch(Latch.OTHER)
    bench.core._latch(Latch.OTHER)
    assert [targets for _, targets in bench.plant.targets[1:]] == [(1.0,), (2.0,)]


def test_what_is_held_stays_where_it_was_whatever_else_is_asked_for() -> None:
    """A device that cannot begin an episode anew is not at rest anew for having been asked."""
    bench = Bench()
    channel = WireChannel("x", "m", 0.5, -100.0, 100.0)
    held = Profile(Schema((channel,), (channel,)), neutral=("hold",))
    readings = iter(range(1, 100))
    bench.plant.measure = lambda: (float(next(readings)),)  # type: ignore[method-assign]
    bench.plant.begin = lambda: False  # type: ignore[attr-defined]
    bench.core = DeviceCore(bench.plant, held, boot_id=1)
    assert [targets for _, targets in bench.plant.targets[-1:]] == [(1.0,)]
    bench.core._begin_episode(1)
    bench.core._latch(Latch.OTHER)
    assert [targets for _, targets in bench.plant.targets[-1:]] == [(1.0,)]
