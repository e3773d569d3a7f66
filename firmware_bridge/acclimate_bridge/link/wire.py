"""Frames on the wire: COBS, header, CRC. No input and no output, and no bytes that can make it raise.

    COBS( version u8 | type u8 | seq u16 | t_us u32 | session u16 | payload | CRC32 ) 0x00     little-endian

docs/protocol.md is the specification; the message layouts are in `acclimate_bridge.link.messages`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from cobs import cobs

VERSION = 2
MAX_FRAME = 128  # bytes on the wire, COBS overhead and delimiter included
_HEADER = struct.Struct("<BBHIH")
_CRC = struct.Struct("<I")
MAX_PAYLOAD = MAX_FRAME - 2 - _HEADER.size - _CRC.size
_DELIMITER = b"\x00"


class Frame(NamedTuple):
    """One frame. `seq` counts the sender's frames (u16), `t_us` is the sender's clock in µs (u32, wraps)."""

    type: int
    seq: int
    t_us: int
    session: int
    payload: bytes


class TypeLayout(NamedTuple):
    """What both ends agree on for one frame type: payload length, and the schema hash in its CRC."""

    length: int
    crc_seed: int


Layout = dict[int, TypeLayout]


def crc_seed(schema_hash: int) -> int:
    """The CRC register after the schema hash, from which a frame's CRC goes on."""
    return zlib.crc32(_CRC.pack(schema_hash))


def frame_bytes(payload: int) -> int:
    """How long a frame with so many bytes of payload is on the wire, COBS and delimiter included."""
    return payload + _HEADER.size + _CRC.size + 2


def encode(frame: Frame, layout: Layout) -> bytes:
    """The frame as it goes on the wire, delimiter included; its payload has the length that `layout` says."""
    kind = layout[frame.type]
    if len(frame.payload) != kind.length:
        raise ValueError(f"payload of type {frame.type} has {len(frame.payload)} bytes, not {kind.length}")
    body = _HEADER.pack(VERSION, frame.type, frame.seq, frame.t_us, frame.session) + frame.payload
    return bytes(cobs.encode(body + _CRC.pack(zlib.crc32(body, kind.crc_seed)))) + _DELIMITER


@dataclass
class DecodeCounters:
    """What became of the bytes. Everything but `frames` was dropped."""

    frames: int = 0
    overlong: int = 0  # no delimiter within MAX_FRAME bytes
    malformed: int = 0  # not COBS, or too short for a frame
    version: int = 0  # of another protocol version
    unknown: int = 0  # of a type that is not known, or not known yet
    length: int = 0  # not the length that its type has
    crc: int = 0  # CRC wrong: damaged, or sealed with another schema

    @property
    def dropped(self) -> int:
        """Frames and fragments that were dropped."""
        return self.overlong + self.malformed + self.version + self.unknown + self.length + self.crc


class Decoder:
    """Bytes in, frames out. `layout` may be exchanged at any time, as more of the peer becomes known."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.counters = DecodeCounters()
        self._rest = b""
        self._skipping = False  # inside an overlong run, until the next delimiter

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that `data` completes, in order. Any bytes will do; damage is dropped and counted."""
        *complete, rest = (self._rest + data).split(_DELIMITER)
        if complete and self._skipping:
            del complete[0]
            self._skipping = False
        if len(rest) >= MAX_FRAME:
            self.counters.overlong += not self._skipping
            self._skipping = True
        self._rest = b"" if self._skipping else rest
        frames = []
        for chunk in complete:
            frame = self._decode(chunk) if chunk else None  # empty: a delimiter sent to be safe
            if frame is not None:
                frames.append(frame)
        return frames

    def _decode(self, chunk: bytes) -> Frame | None:
        counters = self.counters
        if len(chunk) >= MAX_FRAME:
            counters.overlong += 1
            return None
        try:
            raw = cobs.decode(chunk)
        except cobs.DecodeError:
            counters.malformed += 1
            return None
        if len(raw) < _HEADER.size + _CRC.size:
            counters.malformed += 1
            return None
        version, kind, seq, t_us, session = _HEADER.unpack_from(raw)
        if version != VERSION:
            counters.version += 1
            return None
        known = self.layout.get(kind)
        if known is None:
            counters.unknown += 1
            return None
        end = len(raw) - _CRC.size
        if end - _HEADER.size != known.length:
            counters.length += 1
            return None
        if zlib.crc32(raw[:end], known.crc_seed) != _CRC.unpack_from(raw, end)[0]:
            counters.crc += 1
            return None
        counters.frames += 1
        return Frame(kind, seq, t_us, session, raw[_HEADER.size : end])
