"""The protocol page says what the code does: its test vectors, its numbers, its tables."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Protocol

import pytest
from acclimate_bridge.link.budget import OBS_PERIOD_US
from acclimate_bridge.link.messages import (
    MAX_ACTUATORS,
    MAX_SENSORS,
    NO_VALUE,
    OPEN_LAYOUT,
    Ack,
    Caps,
    Cfg,
    ChannelInfo,
    Clear,
    Cmd,
    Hello,
    Key,
    Kind,
    Log,
    Mode,
    Obs,
    Pong,
    Result,
    Schema,
    State,
    Type,
    WireChannel,
)
from acclimate_bridge.link.wire import MAX_FRAME, MAX_PAYLOAD, VERSION, Decoder, Frame, encode, frame_bytes

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
OBS_HEAD, CMD_HEAD = 18, 4  # bytes of payload before the values
SEQ, T_US, SESSION = 0x0102, 0x01020304, 0xABCD

SCHEMA = Schema(
    sensors=(
        WireChannel("position", "rad", 2.0**-20, -6.0, 6.0),
        WireChannel("velocity", "rad/s", 2.0**-16, -100.0, 100.0),
    ),
    actuators=(WireChannel("duty", "1", 2.0**-20, -1.0, 1.0),),
)


class Message(Protocol):
    def pack(self) -> bytes: ...


MESSAGES: dict[Type, Message] = {
    Type.HELLO: Hello(0x12345678),
    Type.CAPS: Caps(0x12345678, 0xDEADBEEF, SCHEMA.hash, 2, 1, 1, 100_000, 100, 20, 1000, "example 1.0"),
    Type.CMD: Cmd(100, Mode.DRIVE, (-(2**18),)),
    Type.OBS: Obs(257, State.DRIVING, 0, 1, 16909000, 1, 2, 3, 4, (2**19, NO_VALUE)),
    Type.PONG: Pong(258, 16909050),
    Type.CLEAR: Clear(1),
    Type.CFG: Cfg(Key.WATCHDOG_MS, 250),
    Type.ACK: Ack(Type.CFG, Result.OK, 258, 250),
    Type.LOG: Log(3, "supply low"),
}
PAYLOADS = {kind: message.pack() for kind, message in MESSAGES.items()} | {
    Type.CHANNEL: SCHEMA.sensors[1].pack(Kind.SENSOR, 1),
    Type.PING: b"",
    Type.ESTOP: b"",
}


def vectors() -> dict[Type, bytes]:
    found = re.findall(r"^([A-Z]+) +([0-9a-f ]+)$", PAGE, re.MULTILINE)
    return {Type[name]: bytes.fromhex(data) for name, data in found}


def frame(kind: Type) -> Frame:
    return Frame(kind, SEQ, T_US, 0 if kind is Type.HELLO else SESSION, PAYLOADS[kind])


@pytest.mark.parametrize("kind", Type)
def test_vectors_are_what_the_code_sends_and_reads(kind: Type) -> None:
    assert encode(frame(kind), SCHEMA.layout) == vectors()[kind]
    assert Decoder(SCHEMA.layout).feed(vectors()[kind]) == [frame(kind)]


def test_a_peer_written_from_the_page_alone_reads_the_vectors() -> None:
    """COBS and CRC as the page describes them, without the codec under test."""
    channels = [
        SCHEMA.sensors[0].pack(Kind.SENSOR, 0),
        PAYLOADS[Type.CHANNEL],
        SCHEMA.actuators[0].pack(Kind.ACTUATOR, 0),
    ]
    schema_hash = zlib.crc32(bytes([VERSION]) + b"".join(channels))
    assert f"{schema_hash:08X} hex" in PAGE
    for kind, data in vectors().items():
        assert data[-1] == 0
        raw, at = bytearray(), 0
        while at < len(data) - 1:
            code = data[at]
            raw += data[at + 1 : at + code]
            at += code
            if code < 255 and at < len(data) - 1:
                raw.append(0)
        seed = 0 if kind in OPEN_LAYOUT else schema_hash
        assert zlib.crc32(seed.to_bytes(4, "little") + raw[:-4]) == int.from_bytes(raw[-4:], "little")
        assert raw[:2] == bytes([VERSION, kind])
        assert raw[10:-4] == PAYLOADS[kind]


def test_the_table_of_types_gives_every_length_and_seal() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \| [^|]+ \| (open|schema) \| (.*) \|$", PAGE, re.MULTILINE)
    assert [(int(number), name) for number, name, _, _ in rows] == [(t.value, t.name) for t in Type]
    for number, _, seal, payload in rows:
        kind = Type(int(number))
        assert (seal == "open") == (kind in OPEN_LAYOUT)
        length = re.search(r"\((\d+)(?: \+ 4·(sensors|actuators))?\)$", payload)
        assert length is not None
        channels = {None: 0, "sensors": 2, "actuators": 1}[length[2]]
        assert SCHEMA.layout[kind].length == int(length[1]) + 4 * channels


def test_the_check_value_and_the_limits_are_right() -> None:
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert f"at most {MAX_FRAME} bytes" in PAGE
    assert f"a payload has at most {MAX_PAYLOAD}" in PAGE
    assert f"at most {MAX_SENSORS} sensors and {MAX_ACTUATORS} actuators" in PAGE
    low, high = OBS_PERIOD_US
    assert f"{low} to {high}" in PAGE
    assert f"OBS takes {frame_bytes(OBS_HEAD)} + 4·sensors bytes" in PAGE
    assert f"CMD {frame_bytes(CMD_HEAD)} + 4·actuators bytes" in PAGE


def test_a_channel_on_the_wire_says_what_the_page_says() -> None:
    assert ChannelInfo.unpack(PAYLOADS[Type.CHANNEL]) == (Kind.SENSOR, 1, SCHEMA.sensors[1])
