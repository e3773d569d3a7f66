"""Both protocols as a servo sees them: bytes in, instructions out, status packets back. No bytes can make it raise.

Dynamixel protocol 2.0: https://emanual.robotis.com/docs/en/dxl/protocol2/. Feetech's STS protocol is Dynamixel's
protocol 1.0 with sync read added.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Protocol

BROADCAST = 0xFE
_HEADER2, _HEADER1 = b"\xff\xff\xfd", b"\xff\xff"
_STATUS = 0x55
_LONGEST = 1024  # bytes of a packet; what claims more is noise


class Instruction(IntEnum):
    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    REBOOT = 0x08
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A


class Packet(NamedTuple):
    """An instruction that has arrived whole."""

    id: int
    instruction: int
    params: bytes


class Protocol2or1(Protocol):
    """What the simulated bus needs of a protocol. width: bytes of an address or a length."""

    width: int

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that `data` completes; whatever is none is dropped."""
        ...

    def status(self, number: int, error: int, params: bytes) -> bytes:
        """A status packet."""
        ...


def _table() -> list[int]:
    rows = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
        rows.append(crc)
    return rows


_CRC = _table()


def crc16(data: bytes, crc: int = 0) -> int:
    """Polynomial 0x8005, from 0, not reflected. The check value of b"123456789" is 0xFEE8."""
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC[crc >> 8 ^ byte]
    return crc


def stuff(body: bytes) -> bytes:
    """A header inside of a packet gets another FD behind it."""
    return body.replace(_HEADER2, _HEADER2 + b"\xfd")


def unstuff(body: bytes) -> bytes:
    return body.replace(_HEADER2 + b"\xfd", _HEADER2)


class Dynamixel2:
    """FF FF FD 00 | id | length, 2 | instruction | params | CRC-16, 2."""

    width = 2

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        self._buffer += data
        while True:
            at = self._buffer.find(_HEADER2 + b"\x00")
            if at < 0:
                self._buffer = self._buffer[-3:]
                return
            self._buffer = self._buffer[at:]
            if len(self._buffer) < 7:
                return
            end = 7 + int.from_bytes(self._buffer[5:7], "little")
            if not 10 <= end <= _LONGEST:
                self._buffer = self._buffer[1:]
                continue
            if len(self._buffer) < end:
                return
            whole = self._buffer[:end]
            if crc16(whole[:-2]) != int.from_bytes(whole[-2:], "little"):
                self._buffer = self._buffer[1:]
                continue
            self._buffer = self._buffer[end:]
            yield Packet(whole[4], whole[7], unstuff(whole[8:-2]))

    def status(self, number: int, error: int, params: bytes) -> bytes:
        body = stuff(bytes([_STATUS, error]) + params)
        head = _HEADER2 + bytes([0, number]) + (len(body) + 2).to_bytes(2, "little") + body
        return head + crc16(head).to_bytes(2, "little")

    def fast_status(self, answers: list[tuple[int, int, bytes]]) -> list[bytes]:
        """The one packet with which all servos answer a fast sync read: the part of each (id, error, params).

        Each part ends with the CRC of all that is on the wire until then. Nothing is stuffed.
        """
        length = 1 + sum(4 + len(params) for _, _, params in answers)
        wire = _HEADER2 + bytes([0, BROADCAST]) + length.to_bytes(2, "little") + bytes([_STATUS])
        parts, sent = [], 0
        for number, error, params in answers:
            wire += bytes([error, number]) + params
            wire += crc16(wire).to_bytes(2, "little")
            parts.append(wire[sent:])
            sent = len(wire)
        return parts


class Feetech:
    """FF FF | id | length | instruction | params | inverted sum."""

    width = 1

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        self._buffer += data
        while True:
            at = self._buffer.find(_HEADER1)
            if at < 0:
                self._buffer = self._buffer[-1:]
                return
            self._buffer = self._buffer[at:]
            if len(self._buffer) < 4:
                return
            number, length = self._buffer[2], self._buffer[3]
            if number == 0xFF or length < 2:
                self._buffer = self._buffer[1:]
                continue
            if len(self._buffer) < 4 + length:
                return
            whole = self._buffer[: 4 + length]
            if _checksum(whole[2:-1]) != whole[-1]:
                self._buffer = self._buffer[1:]
                continue
            self._buffer = self._buffer[4 + length :]
            yield Packet(number, whole[4], whole[5:-1])

    def status(self, number: int, error: int, params: bytes) -> bytes:
        body = bytes([number, len(params) + 2, error]) + params
        return _HEADER1 + body + bytes([_checksum(body)])


def _checksum(body: bytes) -> int:
    return ~sum(body) & 0xFF
