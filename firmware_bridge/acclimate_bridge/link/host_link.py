"""The host's side of the link: a `Device` for the runtime, over any transport."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.device import Clock, DeviceCaps, Sample
from acclimate.control.patience import Patience
from acclimate.errors import DeviceFault

from acclimate_bridge.link import budget
from acclimate_bridge.link.described import device_caps
from acclimate_bridge.link.line import POLL, RETRY, Deadline, Line, Transport, introduce
from acclimate_bridge.link.messages import (
    Ack,
    Caps,
    Cfg,
    Clear,
    Cmd,
    Key,
    Log,
    Mode,
    Obs,
    Pong,
    Result,
    Type,
    to_wire,
    why_safe,
)
from acclimate_bridge.link.observing import Observer
from acclimate_bridge.link.time_sync import TimeSync
from acclimate_bridge.link.wire import Frame

TIMEOUT = 5.0  # s that a device has for its first answer: some boards boot for 3 s when their port is opened
_ANSWER = 1.0  # s to wait for the answer to CLEAR or CFG
_IDLE = 1.0  # s without an exchange after which one is made before a reading is judged
_SILENCE = 0.5  # s without any frame after which the device counts as lost, or three periods of a slow one
_PING_EVERY = 0.25  # s
_PING_WAIT = 0.002  # s to stay for the answer, so that its arrival is known exactly
_FIRST_PINGS = 8
_LOGS = 100  # newest lines of the device that are kept
_OWN = frozenset({"session", "watchdog"})  # what a host may clear without asking anybody


class LinkStats(NamedTuple):
    """What became of the traffic. The device's own counters are as of its newest OBS."""

    received: int  # frames
    damaged: int  # frames and fragments dropped on this side
    lost: int  # frames of the device that were missing when a later one arrived
    late: int  # frames that arrived after a later one, or again
    device_damaged: int  # dropped on the device's side
    device_stale: int  # commands that came after a newer one, or too late
    device_refused: int
    device_expired: int  # times that targets outlived their time to live
    logs: int  # lines for people that the device has sent
    round_trip: float  # s, the fastest
    drift: float  # of the host's clock against the device's, as a share


class HostLink:
    """A device at the other end of a transport, as `acclimate.control.device.Device`."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        timeout: float = TIMEOUT,
        samples_per_period: int = 2,
        on_log: Callable[[Log], None] = lambda _: None,
    ) -> None:
        """Open a session, learn what the device is, and find out its clock.

        `samples_per_period`: how many readings the device sends per control period, if the line carries them; on a link
        without a common clock a reading is up to one sample period old. `on_log` is given each line for people that the
        device sends, in the caller's thread: it must not wait. Raises DeviceFault when no device answers in `timeout`
        s, or one that cannot be, or one for which the line is too slow.
        """
        self._clock = clock
        self._line = Line(transport, clock)
        self._sync = TimeSync()
        self._pings: dict[int, float] = {}
        self._acks: dict[int, Ack] = {}
        self._closed = False
        self._on_log = on_log
        self._logged = 0
        self.logs: deque[Log] = deque(maxlen=_LOGS)  # the newest
        self._introduction, self._schema = introduce(self._line, timeout)
        caps = self._introduction
        self._caps = device_caps(caps, self._schema)
        rate = self._caps.rate_hz
        samples = budget.samples_per_period(
            self._schema, rate, samples_per_period, transport.bits_per_s, transport.name
        )
        self._obs_period_us = round(1e6 / rate / samples)
        self._observer = Observer(self._schema, self._sync, clock, 1.0 / rate, self._obs_period_us * 1e-6)
        self._silence = max(_SILENCE, self._observer.outdated)
        self._ttl_ms = 0
        self._heard = self._next_ping = clock.now()
        for _ in range(_FIRST_PINGS):
            self._ping(wait=0.05)

    @property
    def caps(self) -> DeviceCaps:
        """What the device said of itself."""
        return self._caps

    @property
    def stats(self) -> LinkStats:
        """Counters of the link so far."""
        counters = self._line.decoder.counters
        device = self._observer.obs[5:9] if self._observer.obs else (0, 0, 0, 0)
        host = (counters.frames, counters.dropped, self._line.lost, self._line.late)
        return LinkStats(*host, *device, self._logged, self._sync.round_trip, self._sync.drift)

    def counters(self) -> dict[str, float]:
        """`stats` by name."""
        return dict(self.stats._asdict())

    @property
    def load(self) -> float | None:
        """The share of the line that readings or commands take, whatever is more; None where it is not paced."""
        bits = self._line.transport.bits_per_s
        samples = round(1e6 / self._caps.rate_hz / self._obs_period_us)
        return bits and max(budget.load(self._schema, self._caps.rate_hz, samples)) / bits

    def ping(self) -> float | None:
        """One exchange now: its round trip in s; None where no answer came. Raises DeviceFault for a lost link."""
        before = self._sync.count
        self._ping(RETRY)
        return self._sync.last_round_trip if self._sync.count > before else None

    @property
    def advice(self) -> str | None:
        """What would make this link a better one, in a sentence, as far as its traffic shows it."""
        if not self._observer.bursts:
            return None
        return (
            f"readings arrive in bursts, every {self._observer.arrival_gap * 1e3:.0f} ms on average, so that many are "
            "not fresh: if this is a USB serial adapter, lower its latency timer (16 ms by default) to 1 ms in "
            "/sys/bus/usb-serial/devices/*/latency_timer"
        )

    def start(self, period: float | None = None) -> None:
        """Release the device's latch, and have it send readings from now on.

        period: of the commands that will come, in s (the device's own). Watchdog and time to live follow from it.
        Raises DeviceFault, and MismatchError where the device's watchdog does not suit the period.
        """
        patience = Patience.of(1.0 / self._caps.rate_hz if period is None else period, self._caps.watchdog)
        self._require_clock()
        self._configure(Key.OBS_PERIOD_US, self._obs_period_us)
        self._configure(Key.WATCHDOG_MS, round(1e3 * patience.watchdog))
        self._ttl_ms = round(1e3 * patience.command)
        self._observer.forget_rhythm()
        self._release()

    def rearm(self, sample: Sample) -> None:
        """Clear the very latch that `sample` tells of, without waiting for an answer.

        Raises DeviceFault where it was not the watchdog alone that latched.
        """
        if sample.faults != {"watchdog"}:
            raise DeviceFault(
                f"the device on {self._name} is in fault ({', '.join(sorted(sample.faults))}), "
                "which no program may clear by itself"
            )
        self._line.send(Type.CLEAR, Clear(sample.latches).pack())

    def release_estop(self) -> None:
        """Release an emergency stop, or whatever else has latched the device: only ever because a person says so.

        Raises DeviceFault, also where its button is still pressed.
        """
        self._release(anything=True)

    def latest(self) -> Sample | None:
        """The newest reading; None before the first. Raises DeviceFault when device or link are lost."""
        self._poll()
        now = self._clock.now()
        if now > self._next_ping + _IDLE:  # nobody has commanded anything: what is known of its clock is old
            self._ping(10 * _PING_WAIT)
        if now - self._heard > self._silence:
            raise DeviceFault(
                f"the device on {self._name} has been silent for {self._silence:g} s; check cable and power"
            )
        return self._observer.latest()

    def command(self, targets: FloatArray) -> None:
        """Send targets, (n_actuators,) in the channels' units. Raises DeviceFault when the link is lost."""
        self._tell(Mode.DRIVE, targets)

    def idle(self, targets: FloatArray) -> None:
        """Neutral as the device has it, which may last. Raises DeviceFault when the link is lost."""
        self._tell(Mode.NEUTRAL, targets)

    def begin_episode(self) -> bool:
        """Have a machine that can be put back begin anew, and wait for what it then measures; False for any other.

        Simulated machines can; a real one drives on from where it stands. Raises DeviceFault.
        """
        if self._request(Type.CFG, Cfg(Key.EPISODE, 1).pack()).result != Result.OK:
            return False
        self._next_obs()
        return True

    def stop(self) -> None:
        """Latch the device with its actuators neutral. Never raises: without a link the watchdog does it."""
        with suppress(DeviceFault):
            for _ in range(2):  # one may be lost, and nobody acknowledges it
                self._tell(Mode.STOP, np.zeros(len(self._schema.actuators), np.float32))

    def emergency_stop(self) -> None:
        """As `stop`, and in such a way that only a person releases it again. Never raises."""
        with suppress(DeviceFault):
            for _ in range(2):
                self._line.send(Type.ESTOP)

    def close(self) -> None:
        """`stop`, then release the transport."""
        if not self._closed:
            self._closed = True
            self.stop()
            self._line.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _name(self) -> str:
        return self._line.transport.name

    def _poll(self) -> None:
        for frame in self._line.receive():
            if frame.type == Type.CAPS:
                self._check_identity(Caps.unpack(frame.payload), frame.session)
            elif frame.session != self._line.session:
                continue  # the end of somebody else's session
            elif frame.type == Type.OBS:
                self._observer.take(frame)
            elif frame.type == Type.LOG:
                self._log(Log.unpack(frame.payload))
            elif frame.type == Type.PONG:
                self._on_pong(frame)
            elif frame.type == Type.ACK:
                ack = Ack.unpack(frame.payload)
                self._acks[ack.seq] = ack
            self._heard = self._clock.now()

    def _log(self, log: Log) -> None:
        self._logged += 1
        self.logs.append(log)
        self._on_log(log)

    def _on_pong(self, frame: Frame) -> None:
        pong = Pong.unpack(frame.payload)
        sent = self._pings.pop(pong.ping_seq, None)
        if sent is not None:
            self._sync.add(sent, pong.received_t_us, frame.t_us, self._clock.now())

    def _check_identity(self, caps: Caps, session: int) -> None:
        if caps.boot_id != self._introduction.boot_id:
            raise DeviceFault(
                f"the device on {self._name} has restarted (boot {caps.boot_id:08x}, before "
                f"{self._introduction.boot_id:08x}); check its power supply, then run again"
            )
        if session != self._line.session:
            raise DeviceFault(
                f"another program has taken over the device on {self._name}; stop it, then run again"
            )

    def _ping(self, wait: float) -> None:
        """Send a PING and stay up to `wait` s for its answer; a later one is taken when it comes."""
        now, stay = self._clock.now(), Deadline(self._clock, wait)
        self._next_ping = now + _PING_EVERY
        if len(self._pings) >= _FIRST_PINGS:
            self._pings.clear()  # lost ones
        sent = self._line.send(Type.PING)
        self._pings[sent] = now
        while True:
            self._poll()
            if sent not in self._pings or stay.passed:
                return
            self._clock.sleep_until(self._clock.now() + POLL / 2)

    def _tell(self, mode: Mode, targets: FloatArray) -> None:
        wire = to_wire(targets.tolist(), self._schema.actuators)
        self._line.send(Type.CMD, Cmd(self._ttl_ms, mode, wire).pack(), self._observer.stamp_us)
        if mode is not Mode.STOP and self._clock.now() >= self._next_ping:
            self._ping(_PING_WAIT)

    def _require_clock(self) -> None:
        """Without an answered PING nobody knows how old a reading is."""
        give_up = Deadline(self._clock, _ANSWER)
        while not self._sync.known:
            if give_up.passed:
                raise DeviceFault(
                    f"the device on {self._name} has answered no PING within {_ANSWER:g} s, so that the age of its "
                    "readings is unknown; it is not driven: check its firmware and the link"
                )
            self._ping(RETRY)

    def _release(self, anything: bool = False) -> None:
        """Clear what the newest reading says the device is latched for, if that may be."""
        give_up = Deadline(self._clock, _ANSWER)
        while True:
            obs = self._next_obs()
            faults = why_safe(obs.state, obs.faults)
            if not faults:
                return
            if not (anything or faults <= _OWN):
                raise DeviceFault(self._kept_safe(faults))
            answer = self._request(Type.CLEAR, Clear(obs.latches).pack())
            if answer.result == Result.OK:
                return
            if answer.result == Result.STILL_HELD:
                raise DeviceFault(self._still_held(faults))
            if give_up.passed:  # it has latched again and again meanwhile
                raise DeviceFault(f"the device on {self._name} keeps latching; look at it before going on")

    def _kept_safe(self, faults: frozenset[str]) -> str:
        was = (
            "'s emergency stop was pressed"
            if "estop" in faults
            else f" is in fault ({', '.join(sorted(faults))})"
        )
        return (
            f"the device on {self._name}{was}; look at the machine, then release it with --release-estop, or from a "
            "program with release_estop()"
        )

    def _still_held(self, faults: frozenset[str]) -> str:
        if "estop" in faults:
            return f"the emergency stop of the device on {self._name} is still pressed"
        return f"what has latched the device on {self._name} ({', '.join(sorted(faults))}) has not passed yet"

    def _next_obs(self) -> Obs:
        """The first one that arrives from now on."""
        self._poll()
        before = self._observer.obs
        give_up = Deadline(self._clock, max(_ANSWER, self._silence))
        while (obs := self._observer.obs) is before or obs is None:
            if give_up.passed:
                raise DeviceFault(
                    f"the device on {self._name} answers, but sends no readings; check its firmware"
                )
            self._clock.sleep_until(self._clock.now() + POLL)
            self._poll()
        return obs

    def _configure(self, key: Key, value: int) -> None:
        answer = self._request(Type.CFG, Cfg(key, value).pack())
        if answer.result != Result.OK:
            raise DeviceFault(
                f"the device on {self._name} refuses {key.name.lower()} = {value}; it stays at {answer.value}"
            )

    def _request(self, kind: Type, payload: bytes) -> Ack:
        """Send what is acknowledged, again and again until it is."""
        give_up, retry = Deadline(self._clock, _ANSWER), Deadline(self._clock, 0.0)
        sent: list[int] = []
        self._acks.clear()
        while not give_up.passed:
            if retry.passed:
                retry = Deadline(self._clock, RETRY)
                sent.append(self._line.send(kind, payload))
            self._poll()
            for seq in sent:
                if seq in self._acks:
                    return self._acks[seq]
            self._clock.sleep_until(self._clock.now() + POLL)
        raise DeviceFault(f"the device on {self._name} does not acknowledge {kind.name}; check the link")
