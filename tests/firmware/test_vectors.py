"""One file of frames, good and bad, that the Python codec and the C codec judge alike."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import asdict
from typing import NamedTuple

import pytest
from acclimate_bridge.link.wire import VERSION, Decoder, Frame, crc_seed, encode

from benchmarks._boards import FIRMWARE
from tests.bridge.test_protocol_page import SCHEMA

VERDICTS = ("more", "frame", "overlong", "malformed", "version", "unknown", "length", "damaged")


class Vector(NamedTuple):
    what: str
    data: bytes
    dropped: list[str]
    frames: list[Frame]


def _read(line: str) -> Vector:
    said, what = line.split("  # ")
    data, *words = said.split()
    dropped, frames = [], []
    while words:
        word = words.pop(0)
        if word == "frame":
            kind, seq, t_us, session = (int(words.pop(0)) for _ in range(4))
            payload = words.pop(0)
            frames.append(Frame(kind, seq, t_us, session, bytes.fromhex(payload.strip("-"))))
        elif word != "nothing":
            dropped.append(word)
    return Vector(what, bytes.fromhex(data), dropped, frames)


LINES = (FIRMWARE / "vectors.txt").read_text(encoding="utf-8").splitlines()
VECTORS = [_read(line) for line in LINES if not line.startswith("#")]
each = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.what)


@each
def test_python_judges_it_so(vector: Vector) -> None:
    decoder = Decoder(SCHEMA.layout)
    assert decoder.feed(vector.data) == vector.frames
    counted = asdict(decoder.counters)
    counted["damaged"] = counted.pop("crc")
    wanted = {word: vector.dropped.count(word) for word in VERDICTS[2:]}
    assert counted == wanted | {"frames": len(vector.frames)}


@each
def test_c_judges_it_so(library: ctypes.CDLL, vector: Vector) -> None:
    verdicts, raw = (ctypes.c_uint8 * 2000)(), (ctypes.c_uint8 * 2000)()
    n = library.bench_decode(vector.data, ctypes.c_size_t(len(vector.data)), *_layout(), verdicts, raw)
    words = [VERDICTS[verdict] for verdict in verdicts[:n]]
    assert [word for word in words if word != "frame"] == vector.dropped
    assert words.count("frame") == len(vector.frames)
    wanted = b"".join(_raw(frame) for frame in vector.frames)
    assert bytes(raw[: len(wanted)]) == wanted


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.frames and not v.dropped], ids=lambda v: v.what)
def test_both_send_it_so(library: ctypes.CDLL, vector: Vector) -> None:
    (frame,) = vector.frames
    assert encode(frame, SCHEMA.layout) == vector.data
    wire, raw = (ctypes.c_uint8 * 128)(), _raw(frame)
    n = library.bench_encode(raw, ctypes.c_size_t(len(raw)), *_layout(), wire)
    assert bytes(wire[:n]) == vector.data


def test_every_verdict_is_in_the_file() -> None:
    assert {word for v in VECTORS for word in v.dropped} == {*VERDICTS[2:]}
    assert {frame.type for v in VECTORS for frame in v.frames} == {*range(1, 13)}


def _layout() -> tuple[ctypes.c_uint32, int, int]:
    return ctypes.c_uint32(crc_seed(SCHEMA.hash)), len(SCHEMA.sensors), len(SCHEMA.actuators)


def _raw(frame: Frame) -> bytes:
    return struct.pack("<BBHIH", VERSION, *frame[:4]) + frame.payload
