"""Both protocols from the servo's end: check values, any split of the bytes, and noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from acclimate_bridge.simulation.bus.packets import Dynamixel2, Feetech, Packet, crc16, stuff, unstuff
from hypothesis import given
from hypothesis import strategies as st

# Examples of the makers' manuals.
PING = bytes.fromhex("FF FF FD 00 01 03 00 01 19 4E")
PING_STATUS = bytes.fromhex("FF FF FD 00 01 07 00 55 00 06 04 26 65 5D")
READ = bytes.fromhex("FF FF FD 00 01 07 00 02 84 00 04 00 1D 15")
READ_STATUS = bytes.fromhex("FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0")


def test_the_crc_has_its_check_value() -> None:
    assert crc16(b"123456789") == 0xFEE8


def test_the_manuals_examples() -> None:
    wire = Dynamixel2()
    assert list(wire.feed(PING + READ)) == [Packet(1, 1, b""), Packet(1, 2, b"\x84\x00\x04\x00")]
    assert wire.status(1, 0, b"\x06\x04\x26") == PING_STATUS
    assert wire.status(1, 0, b"\xa6\x00\x00\x00") == READ_STATUS
    assert list(Feetech().feed(bytes.fromhex("FF FF 01 02 01 FB"))) == [Packet(1, 1, b"")]
    assert Feetech().status(1, 0, b"\x20") == bytes.fromhex("FF FF 01 03 00 20 DB")


@given(st.binary(max_size=40))
def test_stuffing_is_undone_and_leaves_no_header(body: bytes) -> None:
    body = body.replace(b"\x01", b"\xff\xff\xfd")
    assert unstuff(stuff(body)) == body
    assert b"\xff\xff\xfd\x00" not in stuff(body)


@given(st.lists(st.binary(max_size=8), max_size=8))
@pytest.mark.parametrize("protocol", [Dynamixel2, Feetech])
def test_noise_never_raises(protocol: Callable[[], Dynamixel2 | Feetech], pieces: list[bytes]) -> None:
    wire = protocol()
    for piece in pieces:
        list(wire.feed(piece))


@given(st.integers(1, len(PING + READ) - 1), st.binary(max_size=6).filter(lambda b: 0xFF not in b))
def test_any_split_and_noise_between_packets_lose_nothing(at: int, noise: bytes) -> None:
    wire, data = Dynamixel2(), noise + PING + READ
    found = [*wire.feed(data[:at]), *wire.feed(data[at:])]
    assert [packet.instruction for packet in found] == [1, 2]
