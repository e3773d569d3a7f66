"""What control process and keeper tell each other: whole messages over a socket pair."""

from __future__ import annotations

import json
import socket
import struct
from typing import NamedTuple

MOST = 65_536  # bytes of a message
_HEAD = struct.Struct("<cdIIII")  # kind, t, seq, latches, exchanges, missed
# From the control process:
PLAN, START, REARM, COMMAND, IDLE, STOP, CLOSE = b"P", b"S", b"R", b"C", b"I", b"X", b"Q"
# From the keeper:
READY, ERROR, READING, DONE = b"r", b"e", b"o", b"d"


class Targets(NamedTuple):
    """What servos are told. t: s of the host's clock when it was said."""

    t: float
    values: tuple[float, ...]

    def pack(self, kind: bytes) -> bytes:
        return struct.pack(f"<cd{len(self.values)}f", kind, self.t, *self.values)

    @classmethod
    def unpack(cls, data: bytes) -> Targets:
        t, *values = struct.unpack(f"<d{(len(data) - 9) // 4}f", data[1:])
        return cls(t, tuple(values))


class Report(NamedTuple):
    """One reading of all servos. t: s of the host's clock."""

    t: float
    seq: int
    latches: int
    exchanges: int
    missed: int
    values: tuple[float, ...]
    faults: tuple[str, ...]

    def pack(self) -> bytes:
        head = _HEAD.pack(READING, self.t, self.seq, self.latches, self.exchanges, self.missed)
        values = struct.pack(f"<H{len(self.values)}f", len(self.values), *self.values)
        return head + values + "\n".join(self.faults).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Report:
        _, t, seq, latches, exchanges, missed = _HEAD.unpack_from(data)
        (count,) = struct.unpack_from("<H", data, _HEAD.size)
        values = struct.unpack_from(f"<{count}f", data, _HEAD.size + 2)
        text = data[_HEAD.size + 2 + 4 * count :].decode()
        return cls(t, seq, latches, exchanges, missed, values, tuple(text.split("\n")) if text else ())


def tree(kind: bytes, value: object) -> bytes:
    """A message with anything, as JSON."""
    return kind + json.dumps(value).encode()


def untree(data: bytes) -> object:
    found: object = json.loads(data[1:])
    return found


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends, which keep messages whole."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
