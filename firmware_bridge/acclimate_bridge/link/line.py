"""One end of a link in use by the host: frames out, frames in, and the introduction of a device."""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

from acclimate.control.device import Clock
from acclimate.errors import AcclimateError, DeviceFault, MismatchError

from acclimate_bridge.link.described import contradictions
from acclimate_bridge.link.messages import (
    OPEN_LAYOUT,
    Caps,
    ChannelInfo,
    Hello,
    Kind,
    Schema,
    Type,
    WireChannel,
)
from acclimate_bridge.link.wire import VERSION, Decoder, Frame, encode

RETRY = 0.1  # s between repetitions of what is repeated: HELLO, CLEAR, CFG
POLL = 0.0005  # s between looks at the port while waiting for an answer


class Deadline:
    """So many seconds from now."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._at = clock, clock.now() + seconds

    @property
    def passed(self) -> bool:
        return self._clock.now() >= self._at


class Transport(Protocol):
    """A byte stream that never waits."""

    @property
    def name(self) -> str:
        """What to call it in messages to the user."""
        ...

    @property
    def bits_per_s(self) -> int | None:
        """What it carries in either direction; None where nothing slows it down."""
        ...

    def read(self) -> bytes:
        """All bytes that have arrived, possibly none. Raises DeviceFault when the stream is gone."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes; what does not fit is dropped. Raises DeviceFault when the stream is gone."""
        ...

    def close(self) -> None:
        """Release the stream; may be called again."""
        ...


class Line:
    """Frames over a transport, with this end's sequence numbers and the other end's gaps."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self.transport = transport
        self.clock = clock
        self.session = 0
        self.lost = 0  # frames of the other end that were missing when a later one arrived
        self.late = 0  # frames that arrived after a later one, or again
        self._seq = 0
        self._expected: int | None = None
        self._layout = OPEN_LAYOUT
        self.decoder = Decoder(OPEN_LAYOUT)

    def adopt(self, schema: Schema) -> None:
        """Speak this schema from now on, with fresh counters."""
        self._layout = schema.layout
        self.decoder = Decoder(schema.layout)
        self.lost = self.late = 0

    def send(self, kind: int, payload: bytes = b"", t_us: int | None = None) -> int:
        """Send one frame now, stamped with this end's time or with `t_us`; returns its sequence number."""
        seq = self._seq
        if t_us is None:
            t_us = round(self.clock.now() * 1e6) & 0xFFFFFFFF
        self._seq = (seq + 1) & 0xFFFF
        self.transport.write(encode(Frame(kind, seq, t_us, self.session, payload), self._layout))
        return seq

    def receive(self) -> list[Frame]:
        """All frames that have arrived."""
        frames = self.decoder.feed(self.transport.read())
        for frame in frames:
            gap = 0 if self._expected is None else (frame.seq - self._expected) & 0xFFFF
            # A gap of nearly 2^16 is a frame overtaken by another or sent twice, not a loss.
            if gap < 0x8000:
                self.lost += gap
                self._expected = (frame.seq + 1) & 0xFFFF
            else:
                self.late += 1
        return frames


class Introduction(NamedTuple):
    """What a device said of itself."""

    caps: Caps
    schema: Schema


def introduce(line: Line, timeout: float) -> Introduction:
    """Open a session on `line`.

    Raises DeviceFault when no device answers within `timeout` s, or one that cannot be; MismatchError for one that
    speaks otherwise.
    """
    clock = line.clock
    nonce = int.from_bytes(os.urandom(4), "little") or 1
    give_up, retry = Deadline(clock, timeout), Deadline(clock, 0.0)
    heard: Caps | None = None
    channels: dict[tuple[int, int], WireChannel] = {}
    while True:
        if retry.passed:
            retry = Deadline(clock, RETRY)
            line.send(Type.HELLO, Hello(nonce).pack())
        for frame in line.receive():
            if frame.type == Type.CAPS and (caps := Caps.unpack(frame.payload)).nonce == nonce:
                heard, line.session = caps, frame.session
            elif frame.type == Type.CHANNEL and heard is not None and frame.session == line.session:
                kind, number, channel = ChannelInfo.unpack(frame.payload)
                channels[kind, number] = channel
        if heard is not None and (schema := assembled(heard, channels)) is not None:
            _require_possible(line, heard, schema)
            line.adopt(schema)
            return Introduction(heard, schema)
        if give_up.passed:
            raise _nobody(line, heard, channels, timeout)
        clock.sleep_until(clock.now() + POLL)


def _require_possible(line: Line, caps: Caps, schema: Schema) -> None:
    found = contradictions(caps, schema)
    if found:
        said = "; ".join(found)
        raise DeviceFault(
            f"what the device on {line.transport.name} says of itself cannot be: {said}; correct its firmware"
        )


Channels = dict[tuple[int, int], WireChannel]


def assembled(caps: Caps, channels: Channels) -> Schema | None:
    """The device's schema, once it is complete and is the one that its hash promises."""
    schema = _described(caps, channels)
    return schema if schema is not None and schema.hash == caps.schema_hash else None


def _described(caps: Caps, channels: Channels) -> Schema | None:
    try:
        return Schema(
            tuple(channels[Kind.SENSOR, i] for i in range(caps.sensors)),
            tuple(channels[Kind.ACTUATOR, i] for i in range(caps.actuators)),
        )
    except KeyError:  # one is missing
        return None


def _nobody(line: Line, heard: Caps | None, channels: Channels, timeout: float) -> AcclimateError:
    name, counters = line.transport.name, line.decoder.counters
    baud = line.transport.bits_per_s
    if heard is not None and (schema := _described(heard, channels)) is not None:
        return MismatchError(
            f"the device on {name} describes channels with the schema hash {schema.hash:08x}, but says that it has "
            f"{heard.schema_hash:08x}; its firmware was built for other channels than it describes: build it again"
        )
    if heard is not None:
        return DeviceFault(
            f"the device on {name} did not describe its channels completely within {timeout:g} s; check the cable, or "
            "give it more time with --timeout"
        )
    if counters.version:
        return MismatchError(
            f"the device on {name} speaks another version of the protocol; this host speaks version {VERSION}: update "
            "the device's firmware, or this host"
        )
    if counters.malformed + counters.overlong + counters.crc:
        at = f" (now {baud})" if baud is not None else ""
        return DeviceFault(
            f"what arrives on {name} is not the Acclimate protocol; check the port and the baud rate{at}"
        )
    return DeviceFault(
        f"no device answered on {name} within {timeout:g} s; check its power and its firmware{_hints(baud)}"
    )


def _hints(baud: int | None) -> str:
    """What else it may be on a serial line."""
    if baud is None:
        return ""
    return (
        f", the baud rate (now {baud}), and whether opening the port restarts it: then give it the time that it takes "
        "to boot with --timeout, or keep it from restarting with --no-dtr"
    )
