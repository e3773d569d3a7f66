"""Faults on the link: what is done to frames is counted, here and by whoever receives them, to the last one."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from acclimate.errors import DeviceFault, UsageError
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import Obs, Schema, Type, WireChannel
from acclimate_bridge.link.wire import Decoder, Frame, encode
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.pipe import Pipe
from acclimate_bridge.simulation.faults.plan import KINDS, FaultPlan
from acclimate_bridge.simulation.faults.transport import FaultyTransport
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.profile import Profile
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from .test_device_core import Recorder

CHANNEL = WireChannel("x", "m", 0.5, -100.0, 100.0)
SCHEMA = Schema((CHANNEL,), (CHANNEL._replace(name="u", minimum=-10.0, maximum=10.0),))
DT = 0.01

shares = st.builds(
    FaultPlan,
    **{kind: st.floats(0.0, 0.16) for kind in KINDS},
    latency=st.floats(0.0, 0.004),
    jitter=st.floats(0.0, 0.002),
)


def frames(count: int) -> list[Frame]:
    return [Frame(Type.OBS, k, k, 7, Obs(0, 0, 0, 0, 0, 0, 0, 0, 0, (k,)).pack()) for k in range(count)]


class Bench:
    """A host that ticks, a device that remembers, and a bad link in between."""

    def __init__(self, plan: FaultPlan, seed: int = 0) -> None:
        self.clock, self.plant = VirtualClock(), Recorder()
        self.core = DeviceCore(self.plant, Profile(SCHEMA), boot_id=7)
        self.transport = FaultyTransport(self.core, self.clock, plan, np.random.default_rng(seed))
        self.link = HostLink(self.transport, self.clock)
        self.link.start()

    def tick(self, times: int) -> int:
        """How many ticks had something fresh."""
        fresh, seq = 0, None
        for k in range(times):
            self.clock.sleep_until(self.clock.now() + DT)
            sample = self.link.latest()
            fresh += sample is not None and not sample.stale and sample.seq != seq
            seq = sample.seq if sample else None
            if sample is not None and sample.faults == {"watchdog"}:
                self.link.rearm(sample)
            self.link.command(np.array([(k % 19) - 9.0], np.float32))
        return fresh

    def settle(self) -> None:
        self.transport.to_device.calm()
        self.transport.to_host.calm()
        self.tick(10)


@settings(deadline=None)
@given(shares, st.integers(0, 2**32 - 1))
def test_every_frame_is_accounted_for(plan: FaultPlan, seed: int) -> None:
    pipe, decoder = Pipe(plan, np.random.default_rng(seed)), Decoder(SCHEMA.layout)
    sent = frames(300)
    for k, frame in enumerate(sent):
        pipe.feed(encode(frame, SCHEMA.layout), 0.001 * k)
    pipe.calm()
    pipe.feed(encode(sent[0], SCHEMA.layout) * 3, 1.0)
    received = decoder.feed(pipe.take(10.0))[:-3]
    done = pipe.done
    assert set(received) <= set(sent)
    assert decoder.counters.dropped == done.damaged
    assert len(received) in (
        len(sent) - done.gone + done.duplicate,
        len(sent) - done.gone + done.duplicate + 1,
    )
    if not plan.reorder:
        assert [f.seq for f in received] == sorted(f.seq for f in received)


@settings(deadline=None, max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(shares, st.integers(0, 2**32 - 1))
def test_each_side_counts_what_was_done_to_the_other(plan: FaultPlan, seed: int) -> None:
    bench = Bench(FaultPlan(latency=plan.latency, jitter=plan.jitter), seed)
    bench.transport.change(plan, plan)
    before = bench.link.stats
    with suppress(DeviceFault):
        bench.tick(300)
    bench.settle()
    after, there, back = bench.link.stats, bench.transport.to_device.done, bench.transport.to_host.done
    assert after.damaged - before.damaged == back.damaged
    assert after.lost - before.lost == back.gone + back.reorder
    assert after.late - before.late == back.duplicate + back.reorder
    assert after.device_damaged == there.damaged
    assert after.device_stale <= there.duplicate + there.reorder


@pytest.mark.parametrize("kind", ["flip", "drop", "split", "merge", "reorder", "duplicate"])
def test_control_goes_on_where_a_fifth_of_the_frames_suffers(kind: str) -> None:
    bench = Bench(FaultPlan(**{kind: 0.2}), seed=3)
    fresh = bench.tick(1000)
    assert fresh > 750
    told = {targets for _, targets in bench.plant.targets}
    assert told == {(float(u),) for u in range(-9, 10)}


@settings(deadline=None, max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(shares, st.integers(0, 2**32 - 1))
def test_what_arrives_was_sent(plan: FaultPlan, seed: int) -> None:
    """No fault makes another command of one."""
    bench = Bench(FaultPlan(latency=plan.latency), seed)
    bench.transport.change(plan, plan)
    with suppress(DeviceFault):  # a link on which nearly nothing comes through is given up
        bench.tick(200)
    assert {targets for _, targets in bench.plant.targets} <= {(float(u),) for u in range(-9, 10)}


def test_a_line_with_a_baud_rate_takes_its_time() -> None:
    pipe = Pipe(FaultPlan(pace=10_000.0), np.random.default_rng(0))
    pipe.feed(b"x" * 99 + b"\0", 0.0)
    pipe.feed(b"y" * 99 + b"\0", 0.0)
    assert pipe.take(0.0999) == b""
    assert pipe.take(0.1001) == b"x" * 99 + b"\0"
    assert pipe.next_due == pytest.approx(0.2)


def test_a_latency_timer_gathers_what_comes() -> None:
    pipe = Pipe(FaultPlan(burst=0.016), np.random.default_rng(0), bursts=True)
    for k in range(5):
        pipe.feed(b"x\0", 0.005 * k + 0.002)
    arrivals = []
    while pipe.next_due < 1.0:
        at = pipe.next_due
        arrivals.append((round(at, 6), len(pipe.take(at)) // 2))
    assert arrivals == [(0.016, 3), (0.032, 2)]


@given(st.floats(0.01, 0.5), st.integers(0, 2**32 - 1))
def test_a_stall_holds_everything_up_and_loses_nothing(every: float, seed: int) -> None:
    pipe = Pipe(FaultPlan(stall=every, stalled=0.2), np.random.default_rng(seed))
    out = b""
    for k in range(500):
        pipe.feed(bytes([k % 255 + 1, 0]), 0.01 * k)
        out += pipe.take(0.01 * k)
    out += pipe.take(100.0)
    assert out == b"".join(bytes([k % 255 + 1, 0]) for k in range(500))


@pytest.mark.parametrize("plan", [FaultPlan(reset=0.5), FaultPlan(brown_out=0.5)])
def test_a_device_that_loses_its_power_is_not_driven_on(plan: FaultPlan) -> None:
    bench = Bench(plan)
    with pytest.raises(DeviceFault, match="has restarted"):
        bench.tick(200)
    assert bench.plant.targets[-1][1] == (0.0,)


def test_a_cable_that_is_pulled_ends_in_silence() -> None:
    bench = Bench(FaultPlan(unplug=0.5))
    with pytest.raises(DeviceFault, match="silent for"):
        bench.tick(200)
    assert bench.plant.targets[-1][1] == (0.0,)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"flip": -0.1}, "flip must be 0 or more"),
        ({"flip": 0.6, "drop": 0.6}, "must add up to 1 at most"),
        ({"drift": 0.2}, "drift must be within"),
        ({"latency": float("nan")}, "latency must be 0 or more"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        FaultPlan(**wrong)
