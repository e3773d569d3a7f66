"""Which machine a text means, and the channels that the wire can carry."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from acclimate.errors import UsageError
from acclimate.task.spec import ObservationChannel
from acclimate_bridge.link.messages import MAX_SENSORS, from_wire, to_wire
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.schema import schema_of, wire_channel
from hypothesis import given
from hypothesis import strategies as st

from .sled import HOMING, SLED


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("", Choice()),
        ("#7", Choice(number=7)),
        ("XL-320", Choice("XL-320")),
        ("XL-320#7", Choice("XL-320", 7)),
        ("drag=1,wired=-1", Choice(values={"drag": 1.0, "wired": -1.0})),
        (" XL-320 , delay = 0.01 ", Choice("XL-320", values={"delay": 0.01})),
        ("my servo.toml,delay=1e-2", Choice("my servo.toml", values={"delay": 0.01})),
    ],
)
def test_a_text_means_a_machine(text: str, choice: Choice) -> None:
    assert Choice.parse(text) == choice


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#", "after # comes the number of a held-out machine, found ''"),
        ("#-1", "found '-1'"),
        ("#1,#2", "'#2' is one thing too many; expected NAME, #NUMBER"),
        ("a,b", "'b' is one thing too many"),
        ("drag=1,drag=2", "'drag=2' is one thing too many"),
        ("=1", "'=1' is one thing too many"),
        ("drag=", "drag is '', expected a number"),
        ("drag=inf", "drag is 'inf', expected a number"),
    ],
)
def test_other_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Choice.parse(text)


def test_a_schema_has_every_scalar_in_the_tasks_order() -> None:
    schema = schema_of(SLED)
    assert [c.name for c in schema.sensors] == ["place.0", "place.1", "x_velocity", "y_velocity"]
    assert [(c.name, c.unit, c.minimum, c.maximum) for c in schema.actuators] == [
        ("push_x", "N", -2.0, 2.0),
        ("push_y", "N", -2.0, 2.0),
    ]
    assert schema_of(HOMING).sensors[-1].name == "reward"


@given(st.floats(1e-6, 1e6), st.floats(0.0, 1.0), st.floats(-1.0, 1.0))
def test_a_scale_covers_its_range_to_the_precision_of_a_float32(high: float, low: float, at: float) -> None:
    channel = wire_channel("sensor", "x", "m", -low * high, high)
    assert math.log2(channel.scale) == round(math.log2(channel.scale))
    value = at * high
    (back,) = from_wire(to_wire((value,), (channel,)), (channel,))
    assert abs(back - value) <= 2.0**-23 * high
    (beyond,) = from_wire(to_wire((100.0 * value,), (channel,)), (channel,))
    assert beyond == pytest.approx(100.0 * value, abs=2.0**-23 * high)


def test_what_the_wire_cannot_carry_is_said() -> None:
    def measuring(*channels: ObservationChannel) -> None:
        observation = (*channels, *SLED.observation)
        schema_of(replace(SLED, observation=observation))

    measuring(ObservationChannel("a_name_of_up_to_thirty-two_bytes", "N·m·s/rad", -1.0, 1.0))
    with pytest.raises(
        UsageError, match=r"its name .* is too long for the wire, which carries at most 32 bytes"
    ):
        measuring(ObservationChannel("a" * 33, "m", -1.0, 1.0))
    with pytest.raises(UsageError, match=r"sensor 'x': its unit .* carries at most 12 bytes"):
        measuring(ObservationChannel("x", "furlongs per fortnight", -1.0, 1.0))
    with pytest.raises(UsageError, match=f"sled has 24 sensors; the wire carries at most {MAX_SENSORS}"):
        measuring(ObservationChannel("x", "m", -1.0, 1.0, shape=(20,)))
