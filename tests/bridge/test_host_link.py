"""The host's side against the device core, in lockstep on a virtual clock; faults by hand on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from acclimate.control.patience import Patience
from acclimate.errors import DeviceFault, MismatchError
from acclimate.testing import check_device
from acclimate_bridge.link.described import contradictions
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import (
    LARGEST,
    NO_VALUE,
    Ack,
    Caps,
    Cfg,
    Cmd,
    Key,
    Latch,
    Log,
    Result,
    Schema,
    State,
    Type,
    WireChannel,
    from_wire,
    to_wire,
    why_safe,
)
from acclimate_bridge.link.wire import Decoder, Frame, encode
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.profile import Profile
from acclimate_bridge.simulation.servo.machine import SCHEMA, LiveServo
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN, Servo
from hypothesis import given, settings
from hypothesis import strategies as st

from .fail_safe import Cart

DT = 0.01
BOOT_ID = 1234


class Lossy(LockstepTransport):
    """A lockstep transport that a test can break."""

    to_device: Callable[[bytes], bytes] = staticmethod(lambda data: data)
    to_host: Callable[[bytes], bytes] = staticmethod(lambda data: data)

    def read(self) -> bytes:
        return self.to_host(super().read())

    def write(self, data: bytes) -> None:
        super().write(self.to_device(data))


def plant(servo: Servo = BUILT_IN["MX-64"], q0: float = 0.0) -> LiveServo:
    return LiveServo(servo, Deployment(), np.random.default_rng(0), q0=q0)


def servo_device(plant: LiveServo, boot_id: int) -> DeviceCore:
    return DeviceCore(plant, Profile(SCHEMA), boot_id)


class Setup:
    def __init__(self) -> None:
        self.clock = VirtualClock(100.0)
        self.plant = plant(q0=0.3)
        self.core = servo_device(self.plant, BOOT_ID)
        self.transport = Lossy(self.core, self.clock)
        self.link = HostLink(self.transport, self.clock, samples_per_period=1)

    def tick(self, duty: float, times: int = 1) -> None:
        for _ in range(times):
            self.clock.sleep_until(self.clock.now() + DT)
            self.link.latest()
            self.link.command(np.array([duty], np.float32))


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_the_device_introduces_itself(setup: Setup) -> None:
    caps = setup.link.caps
    assert [c.name for c in caps.sensors] == ["position", "velocity"]
    assert [(c.name, c.unit, c.minimum, c.maximum) for c in caps.actuators] == [("duty", "1", -1.0, 1.0)]
    assert caps.rate_hz == 100.0
    assert caps.boot_id == setup.core.boot_id


def test_connecting_takes_no_virtual_time_and_starting_one_reading(setup: Setup) -> None:
    assert setup.clock.now() == 100.0
    setup.link.start()
    assert setup.clock.now() == pytest.approx(100.0 + DT, abs=1e-3)


def test_readings_arrive_in_the_tick_in_which_they_were_taken(setup: Setup) -> None:
    setup.link.start()
    for _ in range(5):
        setup.tick(0.0)
        sample = setup.link.latest()
        assert sample is not None
        assert sample.t == pytest.approx(setup.clock.now(), abs=2e-6)
        assert sample.values[0] == pytest.approx(0.3, abs=0.003)
        assert not sample.stale
        assert sample.faults == frozenset()


def test_commands_reach_the_actuator(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.2, times=20)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.values[1] > 1.0
    assert setup.core.state is State.DRIVING


def test_without_start_nothing_moves(setup: Setup) -> None:
    setup.tick(0.5, times=5)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.faults == {"session"}
    assert setup.core.state is State.SAFE
    assert setup.link.stats.device_refused == 4


def test_stop_latches_and_start_goes_on(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.5)
    setup.link.stop()
    assert setup.core.state is State.SAFE
    setup.tick(0.5)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.faults == {"session"}
    setup.link.start()
    setup.tick(0.5)
    assert setup.core.state is State.DRIVING


def test_leaving_the_block_leaves_the_device_safe_also_on_an_error(setup: Setup) -> None:
    def fail() -> None:
        with setup.link:
            setup.link.start()
            setup.tick(0.5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert setup.core.state is State.SAFE
    setup.link.close()


def test_a_pause_of_the_host_trips_the_watchdog(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.5)
    setup.clock.sleep_until(setup.clock.now() + 0.3)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.faults == {"watchdog"}


def test_a_reboot_is_told_from_other_faults(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.5)
    setup.core.reboot(4242, setup.clock.now())
    with pytest.raises(DeviceFault, match="has restarted") as fault:
        setup.tick(0.5, times=3)
    assert fault.value.exit_code == 1
    assert setup.core.state is State.SAFE


def test_another_host_is_told_from_other_faults(setup: Setup) -> None:
    setup.link.start()
    other = HostLink(LockstepTransport(setup.core, setup.clock), setup.clock)
    with pytest.raises(DeviceFault, match="another program has taken over"):
        setup.tick(0.5, times=3)
    other.start()


def test_silence_ends_in_a_fault(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.1)
    setup.transport.to_host = lambda _: b""
    with pytest.raises(DeviceFault, match=r"silent for 0\.5 s"):
        setup.tick(0.1, times=60)


def test_an_outdated_reading_is_marked(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.1)
    setup.transport.to_host = lambda _: b""
    setup.tick(0.1, times=4)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.stale


def test_lost_clear_is_repeated(setup: Setup) -> None:
    lost = []

    def lose_the_first(data: bytes) -> bytes:
        lost.append(data)
        return b"" if len(lost) <= 2 else data

    setup.transport.to_device = lose_the_first
    setup.link.start()
    assert setup.core.state is State.IDLE
    assert len(lost) > 2


def test_a_device_that_never_acknowledges_is_named(setup: Setup) -> None:
    setup.transport.to_device = lambda _: b""
    with pytest.raises(DeviceFault, match="does not acknowledge"):
        setup.link.start()


def test_nobody_there_is_named() -> None:
    clock = VirtualClock()
    core = servo_device(plant(), BOOT_ID)
    transport = Lossy(core, clock)
    transport.to_device = lambda _: b""
    transport.to_host = lambda _: b""
    with pytest.raises(DeviceFault, match="no device answered on simulated device within 5 s"):
        HostLink(transport, clock)


def test_another_protocol_on_the_port_is_named() -> None:
    clock = VirtualClock()
    core = servo_device(plant(), BOOT_ID)
    transport = Lossy(core, clock)
    transport.to_host = lambda _: b"$GPGGA,123519,4807.038\r\n\x00"
    with pytest.raises(DeviceFault, match="not the Acclimate protocol"):
        HostLink(transport, clock)


def test_bit_errors_are_dropped_counted_and_survived(setup: Setup) -> None:
    rng = np.random.default_rng(3)

    def flip(data: bytes) -> bytes:
        damaged = bytearray(data)
        if damaged and rng.random() < 0.2:
            damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        return bytes(damaged)

    setup.link.start()
    setup.transport.to_device = setup.transport.to_host = flip
    setup.tick(0.1, times=300)
    stats = setup.link.stats
    assert stats.damaged > 10
    assert stats.lost > 10
    assert stats.device_damaged > 10
    assert setup.core.state is State.DRIVING


def test_a_missing_sensor_value_is_not_a_number(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.0, times=4)
    before = setup.link.latest()
    setup.core.blind = True
    setup.tick(0.0, times=2)
    after = setup.link.latest()
    assert before is not None
    assert after is not None
    assert np.isfinite(before.values).all()
    assert np.isnan(after.values).all()


def test_the_lockstep_device_repeats_itself_exactly() -> None:
    runs = []
    for _ in range(2):
        setup = Setup()
        setup.link.start()
        trace = []
        for k in range(50):
            setup.tick(0.3 if k % 20 < 10 else -0.3)
            sample = setup.link.latest()
            assert sample is not None
            trace.append(sample.values.tolist())
        runs.append(trace)
    assert runs[0] == runs[1]


def test_quantisation_on_the_wire_is_far_below_the_encoder() -> None:
    fine = replace(BUILT_IN["MX-64"], encoder_counts=10**9, encoder_noise=0.0)
    clock = VirtualClock()
    core = servo_device(plant(fine, q0=0.123456789), BOOT_ID)
    link = HostLink(LockstepTransport(core, clock), clock, samples_per_period=1)
    link.start()
    clock.sleep_until(DT)
    sample = link.latest()
    assert sample is not None
    assert sample.values[0] == pytest.approx(0.123456789, abs=1e-6)


def test_a_servo_is_put_back_by_nobody(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.3, 10)
    where = setup.plant.angle
    assert not setup.link.begin_episode()
    assert setup.plant.angle == pytest.approx(where, abs=0.05)


@pytest.mark.parametrize("why", Latch)
def test_whatever_latches_the_device_is_a_fault_with_a_name(setup: Setup, why: Latch) -> None:
    setup.link.start()
    setup.tick(0.1, times=3)
    setup.core.trip(why, setup.clock.now())
    setup.tick(0.1)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.faults == {str(why.name).lower()}


@given(st.integers(0, 255), st.integers(0, 255))
def test_only_a_device_that_says_so_obeys(state: int, faults: int) -> None:
    """A servo that had cut its torque, by a bit that nobody knew, was once driven for 8 s, with 0 unusable readings."""
    obeys = state in (State.IDLE, State.DRIVING) and faults == 0
    assert (not why_safe(state, faults)) is obeys


def test_a_device_that_refuses_commands_without_a_reason_is_in_fault(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.1, times=3)
    refusing = Cmd(100, 99, (0,)).pack()
    session = setup.link._line.session
    faults = []
    for k in range(6):
        setup.core.feed(
            encode(Frame(Type.CMD, 1000 + k, 0, session, refusing), SCHEMA.layout), setup.clock.now()
        )
        setup.clock.sleep_until(setup.clock.now() + DT)
        sample = setup.link.latest()
        assert sample is not None
        faults.append(sample.faults)
    assert faults == [{"refused"}] * 6
    setup.tick(0.1)
    setup.tick(0.1)


def test_commands_refused_while_latched_are_no_fault_once_it_is_released(setup: Setup) -> None:
    setup.tick(0.5, times=5)
    setup.link.start()
    setup.tick(0.1)
    sample = setup.link.latest()
    assert sample is not None
    assert sample.faults == frozenset()


def test_lines_for_people_are_handed_on_counted_and_bounded() -> None:
    told: list[Log] = []
    clock = VirtualClock(100.0)
    core = servo_device(plant(), BOOT_ID)
    link = HostLink(LockstepTransport(core, clock), clock, on_log=told.append)
    for k in range(1000):
        core.log(3, f"supply low {k}\x1b[2J")
    clock.sleep_until(100.1)
    link.latest()
    assert link.stats.logs == len(told) == 1000
    assert str(told[-1]) == "warning: supply low 999?[2J"
    assert len(link.logs) == 100
    assert link.logs[-1] == told[-1]


CHANNEL = WireChannel("position", "rad", 2.0**-20, -6.0, 6.0)


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        (CHANNEL._replace(scale=0.0), "'position' has the scale 0, expected a number above 0"),
        (CHANNEL._replace(scale=math.nan), "'position' has the scale nan"),
        (CHANNEL._replace(scale=-1.0), "'position' has the scale -1"),
        (CHANNEL._replace(scale=2.0**-30), "of which its scale of 9.31323e-10 can express ±2"),
        (CHANNEL._replace(scale=float(np.float32(3e38))), "less than one step of its scale"),
        (CHANNEL._replace(minimum=6.0, maximum=-6.0), "'position' ranges from 6 to -6"),
        (CHANNEL._replace(maximum=math.inf), "'position' ranges from -6 to inf"),
        (CHANNEL._replace(name=""), "a channel's name is ''"),
        (CHANNEL._replace(unit="\x1b[2J"), "a channel's unit is"),
        (SCHEMA.sensors[1], "two sensors are called 'velocity'"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_in_a_sentence(channel: WireChannel, said: str) -> None:
    with pytest.raises(DeviceFault) as refused:
        connect(Profile(Schema((channel, SCHEMA.sensors[1]), SCHEMA.actuators)))
    assert said in str(refused.value)
    assert "correct its firmware" in str(refused.value)


@pytest.mark.parametrize("rate", [0.5, 1001.0])
def test_a_rate_that_cannot_be_is_refused_in_a_sentence(rate: float) -> None:
    with pytest.raises(DeviceFault, match=r"its rate is .* Hz, expected 1 to 1000"):
        connect(Profile(SCHEMA, rate))


@given(st.integers(0, 2**32 - 1))
def test_no_rate_is_taken_but_those_that_the_page_allows(rate_mhz: int) -> None:
    caps = Caps(1, 2, SCHEMA.hash, 2, 1, 1, rate_mhz, 100, 20, 1000, "")
    assert (not contradictions(caps, SCHEMA)) is (1_000 <= rate_mhz <= 1_000_000)


@pytest.mark.parametrize("bounds", [(0, 1000), (200, 1000), (20, 50)])
def test_a_watchdog_outside_of_its_own_bounds_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(DeviceFault, match="its watchdog of 100 ms can be from"):
        connect(Profile(SCHEMA, watchdog_bounds_ms=bounds))


def connect(profile: Profile) -> HostLink:
    clock = VirtualClock()
    return HostLink(LockstepTransport(DeviceCore(plant(), profile, BOOT_ID), clock), clock)


single = st.floats(width=32)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


def short(most: int) -> Callable[[str], bool]:
    return lambda said: len(said.encode()) <= most


@settings(deadline=None, max_examples=50)
@given(st.builds(WireChannel, text.filter(short(32)), text.filter(short(12)), single, single, single))
def test_of_any_description_a_device_is_taken_or_refused_but_nothing_else(channel: WireChannel) -> None:
    schema = Schema((channel, SCHEMA.sensors[1]), SCHEMA.actuators)
    with suppress(DeviceFault):
        link = connect(Profile(schema, neutral=(0.0,)))
        declared = link.caps.sensors[0]
        assert declared.minimum < declared.maximum
        for end in (declared.minimum, declared.maximum):
            (back,) = from_wire(to_wire((end,), (channel,)), (channel,))
            assert abs(back - end) <= channel.scale / 2 * (1 + 1e-6)


def test_a_value_beyond_the_wire_is_an_infinity_and_none_is_nan() -> None:
    values = from_wire((LARGEST, -LARGEST, NO_VALUE, LARGEST - 1), (CHANNEL,) * 4)
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])
    assert values[3] == CHANNEL.scale * (LARGEST - 1)


@pytest.mark.parametrize("period", [0.01, 0.02, 0.25])
def test_the_device_is_told_what_follows_from_the_period_to_the_millisecond(period: float) -> None:
    setup = Setup()
    ttls: list[int] = []

    def see(data: bytes) -> bytes:
        for frame in Decoder(SCHEMA.layout).feed(data):
            if frame.type == Type.CMD:
                ttls.append(Cmd.unpack(frame.payload).ttl_ms)
        return data

    setup.transport.to_device = see
    setup.link.start(period)
    setup.tick(0.1)
    patience = Patience.of(period, setup.link.caps.watchdog)
    assert setup.core.watchdog == pytest.approx(patience.watchdog, abs=1e-9)
    assert ttls == [round(1000 * patience.command)]
    assert setup.core._obs_period == 10_000


def _sent(setup: Setup, kind: Type) -> list[float]:
    """When frames of this kind go to the device, from now on."""
    times: list[float] = []

    def see(data: bytes) -> bytes:
        times.extend(setup.clock.now() for f in Decoder(SCHEMA.layout).feed(data) if f.type == kind)
        return data

    setup.transport.to_device = see
    return times


def test_the_clock_is_asked_for_four_times_a_second_while_driving_and_not_by_a_stop(setup: Setup) -> None:
    setup.link.start()
    pings = _sent(setup, Type.PING)
    setup.tick(0.1, times=200)
    assert len(pings) == 8
    assert np.diff(pings) == pytest.approx(0.25, abs=0.011)
    setup.clock.sleep_until(setup.clock.now() + 0.4)
    setup.link.stop()
    assert len(pings) == 8


@pytest.mark.parametrize("idle", [1.2, 1.25, 1.3])
def test_after_an_idle_second_the_clock_is_asked_for_before_a_reading_is_judged(
    setup: Setup, idle: float
) -> None:
    """A second and a quarter after the last time."""
    setup.link.ping()
    pings = _sent(setup, Type.PING)
    setup.clock.sleep_until(setup.clock.now() + idle)
    setup.link.latest()
    setup.link.latest()
    assert len(pings) == (idle > 1.25)


def test_what_was_read_before_a_stop_does_not_speak_for_it(setup: Setup) -> None:
    """Readings wait to be read in which all is well; the button was pressed after the last of them."""
    setup.link.start()
    setup.clock.sleep_until(setup.clock.now() + 0.055)
    setup.core.press(setup.clock.now())
    setup.core.unlock()
    setup.link.release_estop()
    assert setup.core.state is State.IDLE


def test_pings_that_are_lost_are_given_up_and_the_next_ones_count(setup: Setup) -> None:
    setup.link.start()
    setup.transport.to_device = lambda _: b""
    waiting = []
    for _ in range(20):
        assert setup.link.ping() is None
        waiting.append(len(setup.link._pings))
    assert max(waiting) == 8
    setup.transport.to_device = lambda data: data
    assert setup.link.ping() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("lost", [0.0, 0.9, 1.1])
def test_a_clock_may_take_a_second_to_answer(lost: float) -> None:
    """A device that never does is not driven."""
    setup = Setup.__new__(Setup)
    setup.clock = VirtualClock(100.0)
    setup.core = servo_device(plant(q0=0.3), BOOT_ID)
    setup.transport = Lossy(setup.core, setup.clock)
    deaf_until = math.inf

    def lose(data: bytes) -> bytes:
        pings = any(f.type == Type.PING for f in Decoder(SCHEMA.layout).feed(data))
        return b"" if pings and setup.clock.now() < deaf_until else data

    setup.transport.to_device = lose
    link = HostLink(setup.transport, setup.clock, samples_per_period=1)
    deaf_until = setup.clock.now() + lost
    if lost > 1.0:
        with pytest.raises(DeviceFault, match="has answered no PING within 1 s"):
            link.start()
    else:
        link.start()


def test_an_answer_counts_only_for_what_was_asked(setup: Setup) -> None:
    """An ACK of another request, or of none, is no answer."""
    setup.link.start()
    real = setup.transport.to_device

    def answer(data: bytes) -> bytes:
        for frame in Decoder(SCHEMA.layout).feed(data):
            if frame.type == Type.CLEAR:
                wrong = Ack(Type.CLEAR, Result.OK, (frame.seq + 9999) & 0xFFFF, 0).pack()
                session = setup.link._line.session
                forged.append(encode(Frame(Type.ACK, 0, 0, session, wrong), SCHEMA.layout))
                return b""
        return real(data)

    forged: list[bytes] = []
    setup.link.stop()
    setup.transport.to_device = answer
    setup.transport.to_host = lambda data: data + (forged.pop() if forged else b"")
    with pytest.raises(DeviceFault, match="does not acknowledge CLEAR"):
        setup.link.start()
    assert setup.core.state is State.SAFE


def test_what_is_not_acknowledged_is_asked_for_ten_times_in_a_second(setup: Setup) -> None:
    setup.link.start()
    asked = _sent(setup, Type.CFG)
    see = setup.transport.to_device

    def lose(data: bytes) -> bytes:
        see(data)
        return b""

    setup.transport.to_device = lose
    before = setup.clock.now()
    with pytest.raises(DeviceFault, match="does not acknowledge CFG"):
        setup.link.start()
    assert setup.clock.now() - before == pytest.approx(1.0, abs=0.002)
    assert len(asked) == 10
    assert np.diff(asked) == pytest.approx(0.1, abs=0.002)


def test_what_the_line_carries_is_told_as_a_share(setup: Setup) -> None:
    assert setup.link.load is None
    setup.transport.bits_per_s = 100_000
    # 100 times a second: OBS of 18 bytes and two values, CMD of 4 and one; 16 more of frame, 10 bits a byte.
    assert setup.link.load == pytest.approx(100 * 10 * (18 + 8 + 16) / 100_000)


def test_counters_tell_both_sides(setup: Setup) -> None:
    setup.link.start()
    setup.tick(0.1, times=10)
    before = setup.link.stats
    drop = iter([True, False, True] + [False] * 99)
    setup.transport.to_host = lambda data: b"" if data and next(drop) else data
    setup.tick(0.1, times=20)
    stats, counters = setup.link.stats, setup.link.counters()
    assert stats.lost - before.lost == 2
    assert (stats.late, stats.damaged, stats.logs) == (0, 0, 0)
    setup.transport.to_host = lambda data: data + b"rubbish\x00"
    setup.tick(0.1)
    assert setup.link.stats.damaged >= 1
    assert counters["lost"] == stats.lost
    assert counters["received"] == stats.received > 20
    setup.transport.to_device = lambda data: data + b"rubbish\x00"
    setup.tick(0.1, times=3)
    assert setup.link.stats.device_damaged >= 2


def test_what_is_sent_before_any_reading_rests_on_none(setup: Setup) -> None:
    stamps: list[int] = []
    holds: list[int] = []

    def see(data: bytes) -> bytes:
        for frame in Decoder(SCHEMA.layout).feed(data):
            if frame.type == Type.CMD:
                stamps.append(frame.t_us)
                holds.append(Cmd.unpack(frame.payload).ttl_ms)
        return data

    setup.transport.to_device = see
    assert setup.link.stats[5:9] == (0, 0, 0, 0)
    setup.link.stop()
    assert (stamps, holds) == ([0, 0], [0, 0])
    setup.link.start()
    setup.tick(0.1, times=3)
    sample = setup.link.latest()
    assert sample is not None
    assert stamps[-1] == round(1e6 * sample.t)


def test_who_closes_twice_says_nothing_more(setup: Setup) -> None:
    released: list[str] = []
    setup.transport.close = lambda: released.append("")  # type: ignore[method-assign]
    setup.link.start()
    stops = _sent(setup, Type.CMD)
    for _ in range(2):
        setup.link.close()
        assert (len(stops), len(released)) == (2, 1)


def test_an_emergency_is_told_twice_as_one_may_be_lost(setup: Setup) -> None:
    setup.link.start()
    stops = _sent(setup, Type.ESTOP)
    setup.link.emergency_stop()
    assert len(stops) == 2
    assert setup.core.faults == Latch.ESTOP


def test_silence_counts_from_half_a_second_on(setup: Setup) -> None:
    setup.transport.to_host = lambda _: b""
    setup.clock.sleep_until(100.5)
    setup.link.latest()
    setup.clock.sleep_until(100.5 + 2**-20)
    with pytest.raises(DeviceFault, match=r"has been silent for 0\.5 s"):
        setup.link.latest()


def test_the_clock_is_asked_for_exactly_when_it_is_time(setup: Setup) -> None:
    setup.link.start()
    setup.link.ping()
    pings, begin = _sent(setup, Type.PING), setup.clock.now()
    for later in (0.24, 0.25, 0.26):
        setup.clock.sleep_until(begin + later)
        setup.link.idle(np.zeros(1, np.float32))
    assert pings == [begin + 0.25]


def _without(kind: Type) -> Callable[[bytes], bytes]:
    """What the device says, but for frames of one kind."""
    decoder = Decoder(SCHEMA.layout)

    def drop(data: bytes) -> bytes:
        return b"".join(encode(f, SCHEMA.layout) for f in decoder.feed(data) if f.type != kind)

    return drop


def test_nobody_waits_long_for_an_answer_that_may_be_lost(setup: Setup) -> None:
    """2 ms while it is driven; 20 before a reading is judged after a pause."""
    setup.link.start()
    setup.transport.to_host = _without(Type.PONG)
    setup.clock.sleep_until(setup.clock.now() + 0.3)
    begin = setup.clock.now()
    setup.link.command(np.zeros(1, np.float32))
    assert setup.clock.now() - begin == pytest.approx(0.002, abs=3e-4)
    setup.clock.sleep_until(setup.clock.now() + 1.3)
    begin = setup.clock.now()
    setup.link.latest()
    assert setup.clock.now() - begin == pytest.approx(0.020, abs=3e-4)


def test_a_clock_is_asked_for_eight_times_at_first(setup: Setup) -> None:
    """Half a tenth of a second is waited for each answer."""
    assert setup.link._sync.count == 8
    clock = VirtualClock(100.0)
    transport = Lossy(servo_device(plant(), BOOT_ID), clock)
    transport.to_host = _without(Type.PONG)
    HostLink(transport, clock)
    assert clock.now() == pytest.approx(100.4, abs=3e-3)


class Delayed(LockstepTransport):
    """What the device says takes a while."""

    def __init__(self, core: DeviceCore, clock: VirtualClock, delay: float) -> None:
        super().__init__(core, clock)
        self._time, self._delay, self._on_its_way = clock, delay, list[tuple[float, bytes]]()

    def read(self) -> bytes:
        now = self._time.now()
        self._on_its_way.append((now + self._delay, super().read()))
        there = [data for at, data in self._on_its_way if at <= now]
        self._on_its_way = [each for each in self._on_its_way if each[0] > now]
        return b"".join(there)


def test_a_round_trip_is_known_to_a_quarter_of_a_millisecond() -> None:
    clock = VirtualClock(128.0)
    link = HostLink(Delayed(servo_device(plant(), BOOT_ID), clock, 0.0011), clock)
    assert link.ping() == pytest.approx(0.00125, abs=2e-6)


@pytest.mark.parametrize(("rate", "watchdog"), [(100.0, 0.1), (20.0, 0.2), (5.0, 0.8)])
def test_without_a_word_the_device_is_told_by_its_own_period(rate: float, watchdog: float) -> None:
    clock = VirtualClock()
    core = DeviceCore(plant(), Profile(SCHEMA, rate), BOOT_ID)
    link = HostLink(LockstepTransport(core, clock), clock)
    link.start()
    assert core.watchdog == pytest.approx(watchdog, abs=1e-9)
    assert core._obs_period == round(0.5e6 / rate)  # two readings a period


def test_the_slowest_device_is_waited_for() -> None:
    """A reading a second: what is lost is lost after three."""
    clock = VirtualClock()
    profile = Profile(SCHEMA, 1.0, watchdog_ms=5000, watchdog_bounds_ms=(20, 6000))
    core = DeviceCore(plant(), profile, BOOT_ID)
    link = HostLink(LockstepTransport(core, clock), clock, samples_per_period=1)
    link.start()
    assert core._obs_period == 1_000_000
    assert link._silence == 3.0
    clock.sleep_until(clock.now() + 0.3)
    link.release_estop()  # waits for the next reading
    assert core.state is State.IDLE


def test_what_came_before_the_start_tells_nothing_of_the_rhythm(setup: Setup) -> None:
    setup.tick(0.0, times=100)
    assert setup.link._observer.arrival_gap > 0.0
    setup.link.start()
    assert setup.link._observer.arrival_gap == 0.0


class Restarting(Cart):
    """A cart that can be put back."""

    def begin(self) -> bool:
        self._way = 0.0
        return True


def test_a_machine_that_was_put_back_is_measured_there() -> None:
    clock = VirtualClock(100.0)
    core = DeviceCore(Restarting(), Profile(SCHEMA), BOOT_ID, now=100.0)
    transport = Lossy(core, clock)
    link = HostLink(transport, clock, samples_per_period=1)
    link.start()
    for _ in range(50):
        clock.sleep_until(clock.now() + DT)
        link.latest()
        link.command(np.array([0.5], np.float32))
    away = link.latest()
    assert away is not None
    assert away.values[0] > 0.2
    link.idle(np.zeros(1, np.float32))
    asked: list[Cfg] = []

    def see(data: bytes) -> bytes:
        asked.extend(Cfg.unpack(f.payload) for f in Decoder(SCHEMA.layout).feed(data) if f.type == Type.CFG)
        return data

    transport.to_device = see
    begin = clock.now()
    assert link.begin_episode() is True
    assert asked == [Cfg(Key.EPISODE, 1)]
    back = link.latest()
    assert back is not None
    assert back.t > begin
    assert back.values[0] == pytest.approx(0.0, abs=1e-6)


def test_an_answer_of_long_ago_is_none(setup: Setup) -> None:
    """Sequence numbers come around."""
    setup.link.start()
    setup.transport.to_device = lambda _: b""
    for ahead in range(20):
        seq = setup.link._line._seq + ahead
        setup.link._acks[seq] = Ack(Type.CFG, Result.OK, seq, 0)
    with pytest.raises(DeviceFault, match="does not acknowledge CFG"):
        setup.link.start()


@pytest.mark.parametrize("samples", [1, 2])
def test_after_how_long_a_pause_a_seq_tells_no_order_follows_from_the_readings(samples: int) -> None:
    """A quarter of those that the counter tells apart."""
    clock = VirtualClock()
    link = HostLink(
        LockstepTransport(servo_device(plant(), BOOT_ID), clock), clock, samples_per_period=samples
    )
    assert link._observer._horizon == pytest.approx(0x4000 * DT / samples)
    assert link._observer.outdated == pytest.approx(3 * DT)


def test_the_link_keeps_the_contract_of_devices(setup: Setup) -> None:
    check_device(setup.link, setup.clock)
    assert setup.core.state is State.SAFE


def test_a_device_that_is_sealed_for_other_channels_than_it_describes_is_refused() -> None:
    other = Schema(SCHEMA.sensors, SCHEMA.actuators)
    other.__dict__["hash"] = 0x12345678  # as of a build that mixed two files
    clock = VirtualClock()
    core = DeviceCore(plant(), Profile(other), BOOT_ID)
    said = rf"describes channels with the schema hash {SCHEMA.hash:08x}, but says that it has 12345678"
    with pytest.raises(MismatchError, match=said):
        HostLink(LockstepTransport(core, clock), clock)
