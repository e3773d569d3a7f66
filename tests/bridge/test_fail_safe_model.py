"""Host, link and device as one state machine on simulated time, with whatever may happen to them in any order.

What must hold all the time:

- after an emergency stop nothing moves until a person has released it;
- no command of an earlier session moves anything;
- nothing moves for longer than the watchdog after the last fresh reading that reached the host;
- no transition is learned from that was not driven as it was recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.errors import AcclimateError
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import Latch, Type
from acclimate_bridge.link.wire import Decoder, encode
from acclimate_bridge.simulation.lockstep import LockstepTransport
from acclimate_bridge.simulation.servo.machine import SCHEMA
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from .fail_safe import Bench

WATCHDOG = 0.1  # s, at 100 Hz
EVENTS = st.sampled_from(["", "press", "stop", "pause", "reboot", "take", "silence", "deafness"])
TICKS = st.integers(0, 60)


class Host(RuleBasedStateMachine):
    """One program after the other drives one device."""

    tiny: ClassVar[ModuleType]

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.tiny.manifest())
        self.released = True  # by a person, since the last emergency stop
        self.old: list[bytes] = []  # commands of sessions that are over
        self.sent: list[bytes] = []  # and of this one
        self.fresh = -np.inf
        self.boot = 9
        self._listen()

    def _listen(self) -> None:
        """Take down what passes, and when the last reading that is fresh has reached the host."""
        self.drop = self.damage = 0.0
        self.rng = np.random.default_rng(0)
        self.bench.wire.to_device, self.bench.wire.to_host = self._to_device, self._to_host

    def _to_device(self, data: bytes) -> bytes:
        self.sent.append(data)
        return self._worsened(data)

    def _to_host(self, data: bytes) -> bytes:
        arrived = self._worsened(data)
        if any(frame.type == Type.OBS for frame in Decoder(SCHEMA.layout).feed(arrived)):
            self.fresh = self.bench.clock.now()
        return arrived

    def _worsened(self, data: bytes) -> bytes:
        if not data or self.rng.random() < self.drop:
            return b""
        if self.rng.random() < self.damage:
            at = int(self.rng.integers(len(data)))
            return data[:at] + bytes([data[at] ^ (1 << int(self.rng.integers(8)))]) + data[at + 1 :]
        return data

    def _attempt(self, what: Callable[[], object]) -> None:
        """Whatever cannot be done is said in a sentence; it is none of this test's business which."""
        with contextlib.suppress(AcclimateError):
            what()

    @rule()
    def start(self) -> None:
        self._attempt(self.bench.loop.start)

    @rule(seconds=st.floats(0.05, 1.5), at=TICKS, event=EVENTS)
    def drive(self, seconds: float, at: int, event: str) -> None:
        events: dict[str, Callable[[], object]] = {
            "press": self.press,
            "stop": self.stop_by_frame,
            "pause": lambda: self.bench.pause(0.3),
            "reboot": self.reboot,
            "take": self.take_over,
            "silence": lambda: self.worsen(1.0, 0.0),
            "deafness": self.deafen,
        }
        self._attempt(self.bench.loop.start)
        steps = max(round(seconds / self.bench.dt), 1)
        ticks = iter(range(steps + 1))

        def between() -> None:
            if next(ticks) == at and event:
                events[event]()
            self.nothing_moves_blindly()

        def record(episode: object) -> None:
            self.episodes.append(episode)

        self.episodes: list[object] = []
        reference = np.zeros((steps + 1, 2), np.float32)
        self._attempt(lambda: self.bench.loop.run_episode(reference, between=between, record=record))
        for episode in self.episodes:
            self._was_driven(episode.obs, episode.applied, episode.mask)  # type: ignore[attr-defined]

    def _was_driven(self, obs: FloatArray, applied: FloatArray, mask: FloatArray) -> None:
        """The cart's velocity is what drives it: after a transition that counts, it is what was commanded."""
        valid = mask > 0.0
        np.testing.assert_allclose(obs[1:, 1][valid], applied[:, 0][valid], atol=1e-4)

    @rule(seconds=st.floats(0.01, 5.0))
    def wait(self, seconds: float) -> None:
        self.bench.pause(seconds)
        self.bench.core.advance(self.bench.clock.now())

    @rule(drop=st.sampled_from([0.0, 0.0, 0.2, 1.0]), damage=st.sampled_from([0.0, 0.0, 0.2]))
    def worsen(self, drop: float, damage: float) -> None:
        self.drop, self.damage = drop, damage

    def deafen(self) -> None:
        """Nothing reaches the host any more; it does reach the device."""
        self.bench.wire.to_host = lambda _: b""

    @rule()
    def press(self) -> None:
        self.bench.core.press(self.bench.clock.now())
        self.released = False

    @rule()
    def unlock(self) -> None:
        self.bench.core.unlock()

    @rule()
    def stop_by_frame(self) -> None:
        """Any program may send an ESTOP; one that gets through counts."""
        self._attempt(self.bench.link.emergency_stop)
        if self.bench.core.faults & Latch.ESTOP or not (self.drop or self.damage):
            self.released = False

    @rule()
    def release(self) -> None:
        def by_a_person() -> None:
            self.released = True
            try:
                self.bench.link.release_estop()
            finally:
                self.released = not self.bench.core.faults & Latch.ESTOP

        self._attempt(by_a_person)

    @rule()
    def stop(self) -> None:
        self.bench.loop.stop()
        if not self.drop and not self.damage:
            assert self.bench.cart.duty == 0.0

    @rule()
    def reboot(self) -> None:
        self.boot += 1
        self.bench.core.reboot(self.boot, self.bench.clock.now())
        self.released = not self.bench.core.faults & Latch.ESTOP

    @rule()
    def take_over(self) -> None:
        """Another program opens a session of its own, and drives nothing."""
        self.old += self.sent
        self.sent = []
        self._attempt(
            lambda: HostLink(LockstepTransport(self.bench.core, self.bench.clock), self.bench.clock)
        )

    @rule()
    def begin_again(self) -> None:
        """A program is started anew, over a link that is good."""
        self.old += self.sent
        released, core, clock, cart = self.released, self.bench.core, self.bench.clock, self.bench.cart
        self.bench.rejoin()
        assert (core, clock, cart) == (self.bench.core, self.bench.clock, self.bench.cart)
        self.sent = []
        self._listen()
        self.released = released

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def repeat_what_is_over(self, data: st.DataObject) -> None:
        """Bytes that were delayed in some buffer arrive in another session."""
        late = data.draw(st.sampled_from(self.old))
        frames = Decoder(SCHEMA.layout).feed(late)
        if any(frame.type == Type.HELLO or frame.session == self.bench.core.session for frame in frames):
            return
        before = self.bench.cart.duty
        stops = any(frame.type == Type.ESTOP for frame in frames)
        self.bench.core.feed(b"".join(encode(f, SCHEMA.layout) for f in frames), self.bench.clock.now())
        assert self.bench.cart.duty == (0.0 if stops or not before else self.bench.cart.duty)
        assert abs(self.bench.cart.duty) <= abs(before)
        if stops:
            self.released = False

    @invariant()
    def nothing_moves_after_an_emergency_stop(self) -> None:
        if not self.released:
            assert self.bench.cart.duty == 0.0

    @invariant()
    def nothing_moves_blindly(self) -> None:
        assert self.bench.cart.moved_until <= self.fresh + WATCHDOG + 1e-6
        if not self.released:
            assert self.bench.cart.duty == 0.0


@pytest.mark.parametrize("examples", [40])
def test_whatever_happens_the_machine_is_safe(tiny: ModuleType, examples: int) -> None:
    Host.tiny = tiny
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Host,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
