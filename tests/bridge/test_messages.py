"""Message layouts: what is packed is unpacked, and values keep their meaning."""

from __future__ import annotations

import math

import pytest
from acclimate_bridge.link.messages import (
    LARGEST,
    MAX_ACTUATORS,
    MAX_SENSORS,
    NO_VALUE,
    Ack,
    Caps,
    Cfg,
    ChannelInfo,
    Clear,
    Cmd,
    Hello,
    Key,
    Kind,
    Latch,
    Log,
    Mode,
    Obs,
    Pong,
    Result,
    Schema,
    State,
    Type,
    WireChannel,
    from_wire,
    newer,
    to_wire,
    why_safe,
)
from acclimate_bridge.link.wire import VERSION, crc_seed
from hypothesis import given
from hypothesis import strategies as st

MESSAGES = [
    Hello(0xDEADBEEF),
    Caps(1, 2, 3, 4, 5, 6, 100_000, 100, 20, 1000, "firmware 1.2"),
    Cmd(100, 1, (-5, 2**31 - 1)),
    Obs(65535, 2, 3, 4, 2**32 - 1, 5, 6, 7, 8, (-1, 0, NO_VALUE)),
    Pong(9, 2**32 - 1),
    Clear(255),
    Cfg(2, 10_000),
    Ack(9, 3, 65535, 7),
    Log(3, "watchdog"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_packing_and_unpacking_are_inverse(message: Hello | Caps | Cmd | Obs) -> None:
    assert type(message).unpack(message.pack()) == message


def test_what_a_firmware_calls_itself_is_cut_between_characters() -> None:
    caps = Caps(1, 2, 3, 4, 5, 6, 100_000, 100, 20, 1000, "x" * 23 + "é")
    assert Caps.unpack(caps.pack()).firmware == "x" * 23
    assert Caps.unpack(caps._replace(firmware="y" * 30).pack()).firmware == "y" * 24


def test_a_channel_description_survives() -> None:
    channel = WireChannel("a_name_of_up_to_thirty-two_bytes", "N·m·s/rad", 0.25, -1.5, 2.5)
    assert ChannelInfo.unpack(channel.pack(Kind.ACTUATOR, 3)) == (Kind.ACTUATOR, 3, channel)


CHANNEL = (WireChannel("x", "rad", 2.0**-20, -4.0, 4.0),)


@given(st.floats(-2000, 2000))
def test_values_keep_their_meaning_to_half_a_step(value: float) -> None:
    (back,) = from_wire(to_wire((value,), CHANNEL), CHANNEL)
    assert abs(back - value) <= 2.0**-21


def test_a_missing_value_is_not_a_number() -> None:
    assert to_wire((math.nan,), CHANNEL) == (NO_VALUE,)
    assert math.isnan(from_wire((NO_VALUE,), CHANNEL)[0])


@pytest.mark.parametrize("value", [1e9, math.inf])
def test_what_does_not_fit_saturates_and_is_never_taken_for_missing(value: float) -> None:
    assert to_wire((value,), CHANNEL) == (2**31 - 1,)
    assert to_wire((-value,), CHANNEL) == (-(2**31) + 1,)


def test_what_is_half_a_circle_away_is_neither_newer_nor_older() -> None:
    for seq in (0, 1, 0x7FFF, 0x8000, 0xFFFF):
        assert not newer((seq + 0x8000) & 0xFFFF, seq)


def test_numbers_on_the_wire_are_these_for_as_long_as_the_version_is() -> None:
    """Firmware has them, too, and is not built anew when this changes."""
    assert VERSION == 2
    names = "HELLO CAPS CHANNEL CMD OBS PING PONG ESTOP CLEAR CFG ACK LOG"
    assert {t.name: t.value for t in Type} == {name: i + 1 for i, name in enumerate(names.split())}
    assert {k.name: k.value for k in Kind} == {"SENSOR": 0, "ACTUATOR": 1}
    assert {m.name: m.value for m in Mode} == {"NEUTRAL": 0, "DRIVE": 1, "STOP": 2}
    assert {s.name: s.value for s in State} == {"SAFE": 0, "IDLE": 1, "DRIVING": 2}
    names = "SESSION WATCHDOG ESTOP OVERLOAD TEMPERATURE SUPPLY SENSOR OTHER"
    assert {each.name: each.value for each in Latch} == {n: 1 << i for i, n in enumerate(names.split())}
    assert {k.name: k.value for k in Key} == {"WATCHDOG_MS": 1, "OBS_PERIOD_US": 2, "EPISODE": 3}
    names = "OK UNKNOWN_KEY OUT_OF_RANGE STALE_LATCH STILL_HELD"
    assert {r.name: r.value for r in Result} == {name: i for i, name in enumerate(names.split())}
    assert (NO_VALUE, LARGEST, MAX_SENSORS, MAX_ACTUATORS) == (-(2**31), 2**31 - 1, 23, 27)


def test_every_type_has_its_length_and_concerns_a_schema_or_does_not() -> None:
    schema = Schema(CHANNEL * 3, CHANNEL * 2)
    lengths = {"HELLO": 4, "CAPS": 50, "CHANNEL": 58, "CMD": 12, "OBS": 30, "PING": 0, "PONG": 8, "ESTOP": 0}
    lengths |= {"CLEAR": 1, "CFG": 8, "ACK": 8, "LOG": 64}
    assert {Type(kind).name: layout.length for kind, layout in schema.layout.items()} == lengths
    own = {Type(k).name for k, layout in schema.layout.items() if layout.crc_seed == crc_seed(schema.hash)}
    assert own == {"CMD", "OBS", "PING", "PONG", "CLEAR", "CFG", "ACK"}
    assert {layout.crc_seed for kind, layout in schema.layout.items() if Type(kind).name not in own} == {
        crc_seed(0)
    }


@pytest.mark.parametrize(
    ("state", "faults", "why"),
    [
        (0, 0, {"safe"}),
        (1, 0, set()),
        (2, 0, set()),
        (3, 0, {"state 3"}),
        (1, 1, {"session"}),
        (0, 6, {"watchdog", "estop"}),
        (2, 128, {"other"}),
    ],
)
def test_what_keeps_a_device_from_obeying_is_named(state: int, faults: int, why: set[str]) -> None:
    assert why_safe(state, faults) == why


@given(st.integers(0, 0xFFFF), st.integers(1, 0x7FFF))
def test_order_of_sequence_numbers_survives_wrapping(seq: int, ahead: int) -> None:
    later = (seq + ahead) & 0xFFFF
    assert newer(later, seq)
    assert not newer(seq, later)
    assert not newer(seq, seq)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_a_line_for_people_is_cut_between_characters_and_does_nothing_to_a_terminal(text: str) -> None:
    back = Log.unpack(Log(2, text).pack()).text
    assert back.isprintable() or not back
    assert len(back.encode()) <= 3 * 63
    shown = "".join(c if c.isprintable() else "?" for c in text.split("\0", 1)[0])
    assert shown.startswith(back)
