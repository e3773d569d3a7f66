"""The device's side of the link as a state machine: bytes and time in, bytes out; no clock, no port."""

from __future__ import annotations

import math
import re
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from acclimate_bridge.link.budget import OBS_PERIOD_US
from acclimate_bridge.link.messages import (
    NO_VALUE,
    Ack,
    Caps,
    Cfg,
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
    State,
    Type,
    from_wire,
    newer,
    to_wire,
)
from acclimate_bridge.link.wire import Decoder, Frame, encode
from acclimate_bridge.simulation.plant import Plant
from acclimate_bridge.simulation.profile import Profile
from acclimate_bridge.simulation.ramp import STEP_US, Ramp

_NEVER = sys.maxsize  # µs
_ANNOUNCE_US = 100_000  # at most one unasked CAPS in this time
_FRAMES = re.compile(rb"[^\0]*\0|[^\0]+")


@dataclass
class _Counters:
    stale: int = 0
    refused: int = 0
    expired: int = 0


class DeviceCore:
    """One device. Times are seconds of the caller's clock and must not run backwards."""

    def __init__(self, plant: Plant, profile: Profile, boot_id: int, now: float = 0.0) -> None:
        self.profile = profile
        self._plant = plant
        self._layout = profile.schema.layout
        self._neutral = profile.neutral_targets
        self._ramp = Ramp(profile.schema.actuators, profile.slew)
        self.blind = False  # set it to simulate dead sensors: every reading is then NaN
        self._pressed = False
        self._now = _us(now)
        self._out: list[bytes] = []
        self._handlers: dict[int, Callable[[Frame], None]] = {
            Type.CMD: self._on_cmd,
            Type.PING: self._on_ping,
            Type.CLEAR: self._on_clear,
            Type.CFG: self._on_cfg,
        }
        self._settings: dict[int, Callable[[int], tuple[Result, int]]] = {
            Key.WATCHDOG_MS: self._set_watchdog,
            Key.OBS_PERIOD_US: self._set_obs_period,
            Key.EPISODE: self._begin_episode,
        }
        self._boot(boot_id)

    @property
    def state(self) -> State:
        """What the device does now."""
        if self.faults:
            return State.SAFE
        return State.DRIVING if self._driving else State.IDLE

    @property
    def watchdog(self) -> float:
        """As it is set now, in s."""
        return self._watchdog_us * 1e-6

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes that arrive at `now`. Answers wait for the next `advance`."""
        self._run_to(_us(now))
        for part in _FRAMES.findall(data):
            self._take(part)

    def advance(self, now: float) -> bytes:
        """Let time pass until `now`; returns what the device has sent since the last call."""
        self._run_to(_us(now))
        sent = b"".join(self._out)
        self._out.clear()
        return sent

    def next_event(self) -> float:
        """When the device will next do something by itself, in s; far in the future for never."""
        return self._next_due() * 1e-6

    def reboot(self, boot_id: int, now: float) -> None:
        """Power-cycle the electronics at `now`: everything is forgotten but where the joint stands."""
        self._run_to(_us(now))
        self._out.clear()
        self._boot(boot_id)

    def press(self, now: float) -> None:
        """Press the emergency stop at `now`: it stays pressed until `unlock`."""
        self._run_to(_us(now))
        self._pressed = True
        self._latch(Latch.ESTOP)

    def unlock(self) -> None:
        """Turn the pressed button back out; that alone releases nothing."""
        self._pressed = False

    def log(self, level: int, text: str) -> None:
        """Send a line for people (at most 63 bytes of it), if there is a host to hear it."""
        if self.session:
            self._send(Type.LOG, Log(level, text).pack())

    def trip(self, why: Latch, now: float, text: str = "") -> None:
        """Latch at `now` for a reason of the device's own, as `Latch.OVERLOAD`, and say so in a LOG."""
        self._run_to(_us(now))
        self._latch(why)
        if text:
            self.log(4, text)

    def _boot(self, boot_id: int) -> None:
        self.boot_id = boot_id
        self.faults = Latch.SESSION | (Latch.ESTOP if self._pressed else Latch(0))
        self.session = 0
        self._latches = 1
        self._nonce = 0
        self._epoch = self._now
        self._seq = 0
        self._decoder = Decoder(self._layout)
        self._counters = _Counters()
        self._watchdog_us = self.profile.watchdog_ms * 1000
        self._obs_period = round(1e6 / self.profile.rate_hz)
        self._obs_at = self._watchdog_at = self._expire_at = self._ramp_at = _NEVER
        self._announce_at = self._now
        self._driving = self._resting = False
        self._last_cmd: int | None = None
        self._cmd_at = self._now
        self._cmd_t_us = 0
        self._rest()
        self._announce()

    def _run_to(self, now: int) -> None:
        """Everything that is due until `now`, in its order."""
        while (due := self._next_due()) <= now:
            self._now = due
            self._plant.advance(due * 1e-6)
            if due == self._expire_at:
                self._counters.expired += 1
                self._expire_at = _NEVER
                self._rest()
            elif due == self._watchdog_at:
                self._latch(Latch.WATCHDOG)
            elif due == self._ramp_at:
                self._ramp_at = _NEVER
                self._apply(self._ramp.step())
            else:
                self._send_obs()
                self._obs_at += self._obs_period
        self._now = max(now, self._now)
        self._plant.advance(self._now * 1e-6)

    def _next_due(self) -> int:
        return min(self._obs_at, self._watchdog_at, self._expire_at, self._ramp_at)

    def _take(self, part: bytes) -> None:
        """Bytes of one frame at most."""
        others = self._decoder.counters.version
        for frame in self._decoder.feed(part):
            self._handle(frame)
        if self._decoder.counters.version > others:
            self._announce()  # so that a host of another version learns what it talks to

    def _handle(self, frame: Frame) -> None:
        handler = self._handlers.get(frame.type)
        if frame.type == Type.HELLO:
            self._on_hello(Hello.unpack(frame.payload).nonce)
        elif frame.type == Type.ESTOP:
            self._latch(Latch.ESTOP)
        elif handler is None:
            self._counters.refused += 1  # its own words, echoed: an answer would be echoed, too
        elif frame.session != self.session or not self.session:
            self._counters.refused += 1
            self._announce()  # so that a host learns at once that it talks to a device that has forgotten it
        else:
            handler(frame)

    def _on_hello(self, nonce: int) -> None:
        if not nonce:
            self._counters.refused += 1
            return
        if not self.session or nonce != self._nonce:
            self._open_session(nonce)
        self._send_caps()
        for payload in self.profile.schema.channel_payloads:
            self._send(Type.CHANNEL, payload)

    def _open_session(self, nonce: int) -> None:
        previous = self.session
        mixed = zlib.crc32(struct.pack("<IIH", self.boot_id, nonce, previous)) & 0xFFFF
        self.session = next(s for s in (mixed, mixed ^ 1, mixed ^ 2) if s not in (0, previous))
        self._nonce = nonce
        self._last_cmd, self._cmd_t_us = None, 0
        self._obs_at = self._now + self._obs_period
        self._latch(Latch.SESSION)

    def _on_cmd(self, frame: Frame) -> None:
        command = Cmd.unpack(frame.payload)
        drive, left = command.mode == Mode.DRIVE, self._left(frame, command)
        overtaken = self._last_cmd is not None and not newer(frame.seq, self._last_cmd)
        if overtaken or (drive and left < 0):
            self._counters.stale += 1
            return
        if command.mode == Mode.STOP:
            self._on_stop(frame)
            return
        possible = NO_VALUE not in command.targets if drive else command.mode == Mode.NEUTRAL
        if self.faults or not possible:
            self._counters.refused += 1
            return
        self._note(frame)
        self._driving = drive
        self._watchdog_at = self._now + self._watchdog_us if drive else _NEVER
        self._expire_at = self._now + left if drive else _NEVER
        if drive:
            self._resting = False
            self._apply(self._ramp.want(self._targets(command)))
        else:
            self._rest()

    def _apply(self, targets: tuple[float, ...]) -> None:
        """Drive by these targets, which may be on their way to those that were commanded."""
        if self._ramp.arrived:
            self._ramp_at = _NEVER
        elif self._ramp_at == _NEVER:
            self._ramp_at = self._now + STEP_US
        self._plant.set_targets(targets, self._now * 1e-6)

    def _left(self, frame: Frame, command: Cmd) -> int:
        """For how many µs its targets are still valid, counted from when it was measured what they rest on."""
        return command.ttl_ms * 1000 - ((self._clock() - frame.t_us) & 0xFFFFFFFF)

    def _on_stop(self, frame: Frame) -> None:
        """Also where it is latched already: a stop is never refused."""
        self._note(frame)
        if not self.faults & Latch.SESSION:
            self._latch(Latch.SESSION)

    def _note(self, accepted: Frame) -> None:
        self._last_cmd, self._cmd_at, self._cmd_t_us = accepted.seq, self._now, self._clock()

    def _rest(self) -> None:
        """Actuators neutral; one that is held stays where it was when it came to rest."""
        if self._resting:
            return
        self._resting = True
        self._ramp_at = _NEVER
        held = self._readings() if "hold" in self._neutral else {}
        named = zip(self.profile.schema.actuators, self._neutral, strict=True)
        targets = tuple(held[c.name] if n == "hold" else n for c, n in named)
        self._ramp.rest(targets)
        self._plant.rest(targets, self._now * 1e-6)

    def _targets(self, command: Cmd) -> tuple[float, ...]:
        actuators = self.profile.schema.actuators
        values = from_wire(command.targets, actuators)
        return tuple([min(max(v, c.minimum), c.maximum) for v, c in zip(values, actuators, strict=True)])

    def _readings(self) -> dict[str, float]:
        names = [channel.name for channel in self.profile.schema.sensors]
        return dict(zip(names, self._plant.measure(), strict=True))

    def _on_ping(self, frame: Frame) -> None:
        self._send(Type.PONG, Pong(frame.seq, self._clock()).pack())

    def _on_clear(self, frame: Frame) -> None:
        if Clear.unpack(frame.payload).latches != self._latches:
            result = Result.STALE_LATCH
        elif self._pressed:
            result = Result.STILL_HELD
        else:
            result, self.faults = Result.OK, Latch(0)
        self._send(Type.ACK, Ack(Type.CLEAR, result, frame.seq, self._latches).pack())

    def _on_cfg(self, frame: Frame) -> None:
        key, value = Cfg.unpack(frame.payload)
        setting = self._settings.get(key)
        result, value = setting(value) if setting else (Result.UNKNOWN_KEY, value)
        self._send(Type.ACK, Ack(Type.CFG, result, frame.seq, value).pack())

    def _set_watchdog(self, value: int) -> tuple[Result, int]:
        low, high = self.profile.watchdog_bounds_ms
        if not low <= value <= high:
            return Result.OUT_OF_RANGE, self._watchdog_us // 1000
        self._watchdog_us = value * 1000
        if self._driving:
            self._watchdog_at = max(self._cmd_at + self._watchdog_us, self._now)
        return Result.OK, value

    def _set_obs_period(self, value: int) -> tuple[Result, int]:
        if not OBS_PERIOD_US[0] <= value <= OBS_PERIOD_US[1]:
            return Result.OUT_OF_RANGE, self._obs_period
        self._obs_period = value
        self._obs_at = self._now + value
        return Result.OK, value

    def _begin_episode(self, value: int) -> tuple[Result, int]:
        if not self._plant.begin():
            return Result.UNKNOWN_KEY, value
        self._resting = False  # what is held may stand elsewhere now
        return Result.OK, value

    def _latch(self, why: Latch) -> None:
        """Actuators neutral, and commands refused until a CLEAR that knows of this very latching."""
        self.faults |= why
        self._latches = (self._latches + 1) & 0xFF
        self._driving = False
        self._watchdog_at = self._expire_at = _NEVER
        self._rest()

    def _announce(self) -> None:
        if self._now >= self._announce_at:
            self._announce_at = self._now + _ANNOUNCE_US
            self._send_caps()

    def _send_caps(self) -> None:
        p = self.profile
        caps = Caps(
            nonce=self._nonce,
            boot_id=self.boot_id,
            schema_hash=p.schema.hash,
            sensors=len(p.schema.sensors),
            actuators=len(p.schema.actuators),
            latches=self._latches,
            rate_mhz=round(p.rate_hz * 1000),
            watchdog_ms=self._watchdog_us // 1000,
            watchdog_min_ms=p.watchdog_bounds_ms[0],
            watchdog_max_ms=p.watchdog_bounds_ms[1],
            firmware=p.firmware,
        )
        self._send(Type.CAPS, caps.pack())

    def _send_obs(self) -> None:
        counters, sensors = self._counters, self.profile.schema.sensors
        readings = (math.nan,) * len(sensors) if self.blind else self._plant.measure()
        observation = Obs(
            ack=self._last_cmd or 0,
            state=self.state,
            faults=self.faults,
            latches=self._latches,
            cmd_t_us=self._cmd_t_us,
            bad=self._decoder.counters.dropped & 0xFFFF,
            stale=counters.stale & 0xFFFF,
            refused=counters.refused & 0xFFFF,
            expired=counters.expired & 0xFFFF,
            values=to_wire(readings, sensors),
        )
        self._send(Type.OBS, observation.pack())

    def _send(self, kind: Type, payload: bytes) -> None:
        frame = Frame(kind, self._seq, self._clock(), self.session, payload)
        self._seq = (self._seq + 1) & 0xFFFF
        self._out.append(encode(frame, self._layout))

    def _clock(self) -> int:
        return (self._now - self._epoch) & 0xFFFFFFFF


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
