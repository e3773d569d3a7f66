"""The messages inside frames: one fixed layout each, little-endian. docs/protocol.md gives their meaning."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import NamedTuple

from acclimate_bridge.link.wire import MAX_PAYLOAD, VERSION, Layout, TypeLayout, crc_seed

NO_VALUE = -(2**31)  # on the wire, in place of a value that is not there
LARGEST = 2**31 - 1  # and its negative: in place of a value beyond what the wire expresses
NAME_BYTES, UNIT_BYTES = 32, 12


class Type(IntEnum):
    """Frame types."""

    HELLO = 1
    CAPS = 2
    CHANNEL = 3
    CMD = 4
    OBS = 5
    PING = 6
    PONG = 7
    ESTOP = 8
    CLEAR = 9
    CFG = 10
    ACK = 11
    LOG = 12


class Kind(IntEnum):
    """What a channel is."""

    SENSOR = 0
    ACTUATOR = 1


class Mode(IntEnum):
    """What a CMD asks for."""

    NEUTRAL = 0  # actuators neutral; the watchdog rests
    DRIVE = 1
    STOP = 2  # actuators neutral, and latched as at the beginning of the session: how a host leaves


class State(IntEnum):
    """What the device does."""

    SAFE = 0  # latched: actuators neutral, commands refused until CLEAR
    IDLE = 1  # obeying, actuators neutral, the watchdog rests
    DRIVING = 2


class Latch(IntFlag):
    """Why the device is latched."""

    SESSION = 1  # booted, a new session, or stopped by its host: nobody has cleared it since
    WATCHDOG = 2
    ESTOP = 4
    OVERLOAD = 8  # too much torque or current for too long
    TEMPERATURE = 16
    SUPPLY = 32
    SENSOR = 64
    OTHER = 128  # anything else; a LOG says what


class Key(IntEnum):
    """Settings that CFG changes."""

    WATCHDOG_MS = 1
    OBS_PERIOD_US = 2
    EPISODE = 3  # begin an episode anew; a device that cannot answers UNKNOWN_KEY


class Result(IntEnum):
    """Answer in an ACK."""

    OK = 0
    UNKNOWN_KEY = 1
    OUT_OF_RANGE = 2
    STALE_LATCH = 3
    STILL_HELD = 4


_LEVELS = ("level 0", "debug", "info", "warning", "error")

_HELLO = struct.Struct("<I")
_CAPS = struct.Struct("<IIIBBBxIHHH24s")
_CHANNEL = struct.Struct(f"<BB{NAME_BYTES}s{UNIT_BYTES}sfff")
_CMD = struct.Struct("<HBx")
_OBS = struct.Struct("<HBBBxIHHHH")
_PONG = struct.Struct("<HxxI")
_CLEAR = struct.Struct("<B")
_CFG = struct.Struct("<BxxxI")
_ACK = struct.Struct("<BBHI")
_LOG = struct.Struct("<B63s")

MAX_SENSORS = (MAX_PAYLOAD - _OBS.size) // 4
MAX_ACTUATORS = (MAX_PAYLOAD - _CMD.size) // 4

OPEN_LAYOUT: Layout = {
    kind: TypeLayout(length, crc_seed(0))
    for kind, length in (
        (Type.HELLO, _HELLO.size),
        (Type.CAPS, _CAPS.size),
        (Type.CHANNEL, _CHANNEL.size),
        (Type.ESTOP, 0),
        (Type.LOG, _LOG.size),
    )
}
"""Frames that can be read before the schema is known: sealed with schema hash 0."""


class WireChannel(NamedTuple):
    """A channel as the device describes it: its value is the integer on the wire times `scale`, in `unit`."""

    name: str
    unit: str
    scale: float
    minimum: float
    maximum: float

    def pack(self, kind: Kind, number: int) -> bytes:
        """Payload of the CHANNEL frame."""
        name, unit = self.name.encode(), self.unit.encode()
        return _CHANNEL.pack(kind, number, name, unit, self.scale, self.minimum, self.maximum)


class ChannelInfo(NamedTuple):
    """CHANNEL, device to host."""

    kind: int
    number: int  # among the channels of its kind
    channel: WireChannel

    @classmethod
    def unpack(cls, payload: bytes) -> ChannelInfo:
        kind, number, name, unit, scale, minimum, maximum = _CHANNEL.unpack(payload)
        return cls(kind, number, WireChannel(_text(name), _text(unit), scale, minimum, maximum))


@dataclass(frozen=True)
class Schema:
    """All channels of a device. Its hash goes into the CRC of every frame that carries or concerns values."""

    sensors: tuple[WireChannel, ...]
    actuators: tuple[WireChannel, ...]

    @cached_property
    def channel_payloads(self) -> tuple[bytes, ...]:
        """Payloads of the CHANNEL frames: sensors, then actuators."""
        pairs = ((Kind.SENSOR, self.sensors), (Kind.ACTUATOR, self.actuators))
        return tuple(c.pack(kind, i) for kind, channels in pairs for i, c in enumerate(channels))

    @cached_property
    def hash(self) -> int:
        """CRC-32 of the protocol version and the CHANNEL payloads."""
        return zlib.crc32(bytes([VERSION]) + b"".join(self.channel_payloads))

    @cached_property
    def layout(self) -> Layout:
        """The layout of all frame types between this device and its host."""
        lengths = {
            Type.CMD: _CMD.size + 4 * len(self.actuators),
            Type.OBS: _OBS.size + 4 * len(self.sensors),
            Type.PING: 0,
            Type.PONG: _PONG.size,
            Type.CLEAR: _CLEAR.size,
            Type.CFG: _CFG.size,
            Type.ACK: _ACK.size,
        }
        seed = crc_seed(self.hash)
        return OPEN_LAYOUT | {kind: TypeLayout(length, seed) for kind, length in lengths.items()}


class Hello(NamedTuple):
    """HELLO, host to device: opens a session. A repeated HELLO carries the same nonce, and opens no other."""

    nonce: int

    def pack(self) -> bytes:
        return _HELLO.pack(self.nonce)

    @classmethod
    def unpack(cls, payload: bytes) -> Hello:
        return cls(*_HELLO.unpack(payload))


class Caps(NamedTuple):
    """CAPS, device to host: who it is. The header's session is the one now open, 0 for none."""

    nonce: int  # of the HELLO that opened the session, 0 for none
    boot_id: int
    schema_hash: int
    sensors: int
    actuators: int
    latches: int  # how often the device has latched since boot, modulo 256
    rate_mhz: int  # control rate, in thousandths of a hertz
    watchdog_ms: int
    watchdog_min_ms: int
    watchdog_max_ms: int
    firmware: str

    def pack(self) -> bytes:
        return _CAPS.pack(*self[:-1], _cut(self.firmware, 24))

    @classmethod
    def unpack(cls, payload: bytes) -> Caps:
        *numbers, firmware = _CAPS.unpack(payload)
        return cls._make((*numbers, _shown(firmware)))


class Cmd(NamedTuple):
    """CMD, host to device: targets in wire integers; the header's t_us is that of the OBS which they rest on, and they
    are valid for `ttl_ms` from then on."""

    ttl_ms: int
    mode: int
    targets: tuple[int, ...]

    def pack(self) -> bytes:
        return struct.pack(f"<HBx{len(self.targets)}i", self.ttl_ms, self.mode, *self.targets)

    @classmethod
    def unpack(cls, payload: bytes) -> Cmd:
        ttl_ms, mode, *targets = struct.unpack(f"<HBx{(len(payload) - _CMD.size) // 4}i", payload)
        return cls(ttl_ms, mode, tuple(targets))


class Obs(NamedTuple):
    """OBS, device to host: sensor values in wire integers; the header's t_us is when they were measured."""

    ack: int  # seq of the newest CMD accepted in this session
    state: int
    faults: int  # Latch bits
    latches: int  # as in CAPS
    cmd_t_us: int  # when that CMD arrived, by the device's clock
    bad: int  # frames dropped as damaged, unknown or overlong (these four counters wrap at 2^16)
    stale: int  # CMDs dropped because a newer one had come, or because they came too late
    refused: int  # frames refused: other session, latched, or impossible content
    expired: int  # times that targets outlived their ttl
    values: tuple[int, ...]

    def pack(self) -> bytes:
        return struct.pack(f"<HBBBxIHHHH{len(self.values)}i", *self[:-1], *self.values)

    @classmethod
    def unpack(cls, payload: bytes) -> Obs:
        fields = struct.unpack(f"<HBBBxIHHHH{(len(payload) - _OBS.size) // 4}i", payload)
        return cls._make((*fields[:9], fields[9:]))


class Pong(NamedTuple):
    """PONG, device to host: which PING arrived when (the header's t_us is when the answer left)."""

    ping_seq: int
    received_t_us: int

    def pack(self) -> bytes:
        return _PONG.pack(*self)

    @classmethod
    def unpack(cls, payload: bytes) -> Pong:
        return cls(*_PONG.unpack(payload))


class Clear(NamedTuple):
    """CLEAR, host to device: release the latch, if the device has latched exactly `latches` times."""

    latches: int

    def pack(self) -> bytes:
        return _CLEAR.pack(self.latches)

    @classmethod
    def unpack(cls, payload: bytes) -> Clear:
        return cls(*_CLEAR.unpack(payload))


class Cfg(NamedTuple):
    """CFG, host to device: change a setting."""

    key: int
    value: int

    def pack(self) -> bytes:
        return _CFG.pack(*self)

    @classmethod
    def unpack(cls, payload: bytes) -> Cfg:
        return cls(*_CFG.unpack(payload))


class Ack(NamedTuple):
    """ACK, device to host: the answer to a CFG (with the value now set) or a CLEAR (with the latch count)."""

    type: int
    result: int
    seq: int
    value: int

    def pack(self) -> bytes:
        return _ACK.pack(*self)

    @classmethod
    def unpack(cls, payload: bytes) -> Ack:
        return cls(*_ACK.unpack(payload))


class Log(NamedTuple):
    """LOG, device to host: a line for people. Levels: 1 debug, 2 info, 3 warning, 4 error."""

    level: int
    text: str

    def pack(self) -> bytes:
        return _LOG.pack(self.level, _cut(self.text, 63))

    @classmethod
    def unpack(cls, payload: bytes) -> Log:
        level, text = _LOG.unpack(payload)
        return cls(level, _shown(text))

    def __str__(self) -> str:
        level = _LEVELS[self.level] if self.level < len(_LEVELS) else f"level {self.level}"
        return f"{level}: {self.text}"


def to_wire(values: Sequence[float], channels: Sequence[WireChannel]) -> tuple[int, ...]:
    """Values in wire integers; NaN becomes NO_VALUE, what is too large saturates."""
    return tuple([_integer(value, channel.scale) for value, channel in zip(values, channels, strict=True)])


def from_wire(values: Sequence[int], channels: Sequence[WireChannel]) -> list[float]:
    """Wire integers in units; NO_VALUE becomes NaN, and what is beyond the wire an infinity."""
    return [
        value * channel.scale if -LARGEST < value < LARGEST else _beyond(value)
        for value, channel in zip(values, channels, strict=True)
    ]


def why_safe(state: int, faults: int) -> frozenset[str]:
    """What keeps a device from obeying, by name; empty where it obeys. What this version does not know counts, too."""
    if faults:
        return _NAMES[faults]
    if state == State.SAFE:
        return _UNTOLD
    return _NOTHING if state <= State.DRIVING else frozenset({f"state {state}"})


_NOTHING: frozenset[str] = frozenset()
_UNTOLD = frozenset({"safe"})  # latched, without a reason
_NAMES = [frozenset(str(each.name).lower() for each in Latch if bits & each) for bits in range(256)]


def newer(seq: int, than: int) -> bool:
    """Whether u16 `seq` comes after `than`, in the sense that survives wrapping."""
    return 0 < (seq - than) & 0xFFFF < 0x8000


def _beyond(value: int) -> float:
    return math.nan if value == NO_VALUE else math.copysign(math.inf, value)


def _integer(value: float, scale: float) -> int:
    if value != value:
        return NO_VALUE
    scaled = value / scale
    return round(scaled) if abs(scaled) < LARGEST else int(math.copysign(LARGEST, scaled))


def _text(padded: bytes) -> str:
    return padded.partition(b"\x00")[0].decode(errors="replace")


def _cut(text: str, most: int) -> bytes:
    """As many whole characters as fit."""
    return text.encode()[:most].decode(errors="ignore").encode()


def _shown(padded: bytes) -> str:
    """Text that is for people only: no character in it does anything to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in _text(padded))
