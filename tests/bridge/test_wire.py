"""The codec: what goes in comes out, however it is cut, and damage is dropped, counted and never raised."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

import pytest
from acclimate_bridge.link.messages import (
    MAX_ACTUATORS,
    MAX_SENSORS,
    Cmd,
    Hello,
    Obs,
    Schema,
    Type,
    WireChannel,
)
from acclimate_bridge.link.wire import (
    MAX_FRAME,
    MAX_PAYLOAD,
    Decoder,
    Frame,
    Layout,
    TypeLayout,
    crc_seed,
    encode,
    frame_bytes,
)
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

LAYOUT: Layout = {
    kind: TypeLayout(length, crc_seed(kind)) for kind, length in ((1, 0), (2, 7), (3, MAX_PAYLOAD))
}


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from(sorted(LAYOUT)))
    length = LAYOUT[kind].length
    return Frame(
        kind,
        draw(st.integers(0, 0xFFFF)),
        draw(st.integers(0, 0xFFFFFFFF)),
        draw(st.integers(0, 0xFFFF)),
        draw(st.binary(min_size=length, max_size=length)),
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(frames())
def test_a_frame_survives_the_wire_within_its_size(frame: Frame) -> None:
    data = encode(frame, LAYOUT)
    assert len(data) <= MAX_FRAME
    assert data.count(0) == 1
    assert Decoder(LAYOUT).feed(data) == [frame]


@given(st.lists(frames(), max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_cutting_and_merging_the_stream_changes_nothing(sent: list[Frame], places: list[int]) -> None:
    decoder = Decoder(LAYOUT)
    data = b"".join(encode(frame, LAYOUT) for frame in sent)
    assert [frame for part in cut(data, places) for frame in decoder.feed(part)] == sent
    assert decoder.counters.dropped == 0


@given(st.lists(st.binary(max_size=400), max_size=6), st.lists(st.integers(0, 10_000), max_size=6))
def test_garbage_never_raises_and_counts_alike_however_cut(junk: list[bytes], places: list[int]) -> None:
    data = b"\x00".join(junk) + b"\x00"
    whole, parts = Decoder(LAYOUT), Decoder(LAYOUT)
    found = whole.feed(data)
    assert [frame for part in cut(data, places) for frame in parts.feed(part)] == found
    assert asdict(parts.counters) == asdict(whole.counters)


@given(frames(), st.binary(max_size=300))
def test_the_frame_after_garbage_is_read(frame: Frame, junk: bytes) -> None:
    assert Decoder(LAYOUT).feed(junk + b"\x00" + encode(frame, LAYOUT))[-1] == frame


@given(frames(), st.data())
def test_flipped_bits_never_yield_another_frame(frame: Frame, data: st.DataObject) -> None:
    good = bytearray(encode(frame, LAYOUT))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decoder = Decoder(LAYOUT)
    assert set(decoder.feed(bytes(good) + b"\x00")) <= {frame}


def test_each_kind_of_damage_has_its_counter() -> None:
    good = Frame(2, 1, 2, 3, b"payload")
    data = encode(good, LAYOUT)
    longer = {2: TypeLayout(8, LAYOUT[2].crc_seed)}
    resealed = {2: TypeLayout(7, crc_seed(99))}
    decoder = Decoder(LAYOUT)
    decoder.feed(b"\x05\x01\x00")  # COBS that points past its end
    decoder.feed(b"\x02\x01\x00")  # one byte: no room for a header
    decoder.feed(b"x" * 500 + b"\x00")
    decoder.feed(encode(Frame(9, 0, 0, 0, b""), {9: TypeLayout(0, 0)}))
    decoder.feed(encode(Frame(2, 0, 0, 0, b"8 bytes "), longer))
    decoder.feed(encode(good, resealed))
    decoder.feed(data[:1] + b"\x01" + data[2:])  # the first byte after the COBS code is the version
    assert asdict(decoder.counters) == {
        "frames": 0,
        "overlong": 1,
        "malformed": 2,
        "version": 1,
        "unknown": 1,
        "length": 1,
        "crc": 1,
    }
    assert decoder.counters.dropped == 7
    assert decoder.feed(data) == [good]


@pytest.mark.parametrize("cut", [1, 7, 1000])
@pytest.mark.parametrize(("length", "overlong"), [(126, 0), (127, 0), (128, 1), (129, 1), (255, 1)])
def test_what_is_as_long_as_a_frame_may_be_is_looked_into(length: int, overlong: int, cut: int) -> None:
    """128 bytes with the delimiter, however they arrive; the next frame is read either way."""
    decoder, good = Decoder(LAYOUT), Frame(2, 1, 2, 3, b"payload")
    stream = b"\x01" * length + b"\0" + encode(good, LAYOUT)
    frames = [f for i in range(0, len(stream), cut) for f in decoder.feed(stream[i : i + cut])]
    assert frames == [good]
    assert (decoder.counters.overlong, decoder.counters.dropped, decoder.counters.frames) == (overlong, 1, 1)


def test_an_overlong_run_ends_at_its_delimiter_and_at_no_other() -> None:
    decoder, good = Decoder(LAYOUT), encode(Frame(2, 1, 2, 3, b"payload"), LAYOUT)
    for data, frames in (
        (b"x" * 130, 0),
        (b"x" * 130, 0),
        (b"x\0" + good, 1),
        (b"x" * 130 + b"\0" + good, 1),
    ):
        assert len(decoder.feed(data)) == frames
    assert decoder.counters.overlong == 2


@pytest.mark.parametrize("missing", [0, 1, 14])
def test_a_frame_has_a_header_and_a_seal_at_least(missing: int) -> None:
    """14 bytes, as an emergency stop has."""
    layout = {8: TypeLayout(0, crc_seed(0))}
    whole = cobs.decode(encode(Frame(8, 1, 2, 3, b""), layout)[:-1])
    assert len(whole) == 14
    decoder = Decoder(layout)
    assert len(decoder.feed(cobs.encode(whole[: 14 - missing]) + b"\0")) == (not missing)
    assert decoder.counters.malformed == (missing > 0)


def test_a_frame_is_as_long_as_the_budget_reckons() -> None:
    for length in range(MAX_PAYLOAD + 1):
        layout = {2: TypeLayout(length, 0)}
        assert len(encode(Frame(2, 1, 2, 3, bytes(range(1, length + 1))), layout)) == frame_bytes(length)
    assert frame_bytes(MAX_PAYLOAD) == MAX_FRAME == 128


def test_a_stream_without_delimiters_takes_no_memory() -> None:
    decoder = Decoder(LAYOUT)
    for _ in range(1000):
        decoder.feed(b"\xff" * 100)
    assert len(decoder._rest) < MAX_FRAME
    assert decoder.counters.overlong == 1


def test_delimiters_alone_are_not_damage() -> None:
    decoder = Decoder(LAYOUT)
    assert decoder.feed(b"\x00" * 10) == []
    assert decoder.counters.dropped == 0


def test_a_frame_of_the_wrong_length_is_not_sent() -> None:
    with pytest.raises(ValueError, match="payload of type 1 has 1 bytes, not 0"):
        encode(Frame(1, 0, 0, 0, b"x"), LAYOUT)


def test_the_widest_device_still_fits_a_frame() -> None:
    channel = WireChannel("x", "1", 1.0, -1.0, 1.0)
    schema = Schema((channel,) * MAX_SENSORS, (channel,) * MAX_ACTUATORS)
    obs = Obs(0, 0, 0, 0, 0, 0, 0, 0, 0, (-1,) * MAX_SENSORS).pack()
    cmd = Cmd(0, 0, (-1,) * MAX_ACTUATORS).pack()
    for kind, payload in ((Type.OBS, obs), (Type.CMD, cmd)):
        assert len(encode(Frame(kind, 0, 0, 0, payload), schema.layout)) <= MAX_FRAME


def test_frames_of_another_schema_are_not_understood() -> None:
    a = Schema((WireChannel("x", "rad", 1.0, -1.0, 1.0),), ())
    b = Schema((WireChannel("x", "deg", 1.0, -1.0, 1.0),), ())
    obs = Frame(Type.OBS, 0, 0, 1, Obs(0, 0, 0, 0, 0, 0, 0, 0, 0, (5,)).pack())
    assert Decoder(a.layout).feed(encode(obs, a.layout)) == [obs]
    assert Decoder(b.layout).feed(encode(obs, a.layout)) == []
    hello = Frame(Type.HELLO, 0, 0, 0, Hello(7).pack())
    assert Decoder(b.layout).feed(encode(hello, a.layout)) == [hello]
