"""Message layouts: what is packed is unpacked, and values keep their meaning."""

from __future__ import annotations

import math

import pytest
from acclimate_bridge.link.messages import (
    NO_VALUE,
    Ack,
    Caps,
    Cfg,
    ChannelInfo,
    Clear,
    Cmd,
    Hello,
    Kind,
    Log,
    Obs,
    Pong,
    WireChannel,
    from_wire,
    newer,
    to_wire,
)
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
