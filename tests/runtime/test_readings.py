"""Readings that cannot be: nothing is driven by them, and nothing learned from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acclimate.control.channel_map import ChannelMap, differences
from acclimate.control.device import Channel, DeviceCaps, Sample
from acclimate.control.loop import ControlLoop
from acclimate.control.readings import SLACK, Readings
from acclimate.errors import DeviceFault, MismatchError
from acclimate.task.derivatives import derivative_pairs
from hypothesis import given
from hypothesis import strategies as st

from . import bundles
from .devices import CAPS, Joint, ManualClock
from .test_loop import LawController, _loop, _reference

DT = 0.01
VELOCITY, POSITION = CAPS.sensors


def _readings(caps: DeviceCaps = CAPS) -> Readings:
    return Readings(ChannelMap(bundles.manifest(), caps), caps)


def _sample(position: float, velocity: float, t: float = 0.0) -> Sample:
    return Sample(np.array([velocity, position], np.float32), t, round(t / DT))


def _applied(duty: float = 0.0) -> list[float]:
    return [duty]


@given(st.floats(allow_nan=True, width=32), st.floats(allow_nan=True, width=32))
def test_a_reading_counts_only_within_the_declared_ranges(position: float, velocity: float) -> None:
    readings = _readings()
    problem = readings.problem(_sample(position, velocity), _applied())
    bounds = [(c, SLACK * (c.maximum - c.minimum)) for c in (POSITION, VELOCITY)]
    within = [
        c.minimum - slack <= value <= c.maximum + slack
        for (c, slack), value in zip(bounds, (position, velocity), strict=True)
    ]
    if (
        min(abs(abs(v) - (c.maximum + s)) for (c, s), v in zip(bounds, (position, velocity), strict=True))
        > 1e-3
    ):
        assert (problem is None) is all(within)
    if problem is None:
        assert readings.sensed == [position, velocity]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_reading_with_another_number_of_values_is_never_looked_into(count: int) -> None:
    """One value for two sensors was once read as both."""
    short = np.full(count, 0.1, np.float32)
    joint = Joint(ManualClock(), distort=lambda n, s: s._replace(values=short) if n else s)
    loop, _, controller = _loop(joint=joint)
    with pytest.raises(DeviceFault, match=rf"gives values of shape \[{count}\], expected \[2\]"):
        loop.run_episode(_reference(100))
    assert controller.seen == []
    assert joint.stopped


def test_what_is_out_of_range_is_named_with_its_range_and_drives_nothing() -> None:
    values = np.array([0.0, -77.0], np.float32)
    joint = Joint(ManualClock(), distort=lambda n, s: s._replace(values=values) if n > 5 else s)
    loop, _, _ = _loop(joint=joint)
    expected = r"measures 'position' as -77 rad, outside of the -3\.2 to 3\.2 that it declares"
    with pytest.raises(DeviceFault, match=expected):
        loop.run_episode(_reference(100))
    assert joint.stopped
    assert joint.commands[-1].tolist() == [0.5, 0.0]


def test_a_reading_that_cannot_be_is_masked_like_one_that_is_missing() -> None:
    wild = np.array([0.0, 77.0], np.float32)
    joint = Joint(ManualClock(), distort=lambda n, s: s._replace(values=wild) if n == 6 else s)
    loop, _, _ = _loop(joint=joint)
    mask = loop.run_episode(_reference()).mask
    assert np.flatnonzero(mask == 0.0).tolist() == [4, 5, 6]


@given(st.lists(st.floats(-40.0, 40.0), min_size=1, max_size=30))
def test_no_motion_that_is_possible_is_held_for_a_jump(velocities: list[float]) -> None:
    readings, position = _readings(), 0.0
    for k, velocity in enumerate(velocities):
        position = min(max(position + velocity * DT, -3.2), 3.2)
        assert readings.problem(_sample(position, velocity, k * DT), _applied()) is None


def test_an_angle_that_wraps_around_is_named() -> None:
    readings = _readings(replace(CAPS, sensors=(VELOCITY, POSITION._replace(minimum=-3.2, maximum=3.2))))
    assert readings.problem(_sample(3.13, 2.0, 0.0), _applied()) is None
    problem = readings.problem(_sample(-3.13, 2.0, DT), _applied())
    assert problem is not None
    assert "faster than it can move (all of its range: its firmware must not wrap it around)" in problem
    readings.forget()
    assert readings.problem(_sample(-3.13, 2.0, DT), _applied()) is None


def test_what_jumped_there_has_not_come_there_by_staying() -> None:
    readings = _readings()
    assert readings.problem(_sample(0.0, 0.0, 0.0), []) is None
    for k in range(1, 5):
        assert "faster than it can move" in (readings.problem(_sample(3.0, 0.0, k * DT), []) or "")
    assert readings.problem(_sample(3.0, 0.0, 0.1), []) is None  # by then it may have gone there


@pytest.mark.parametrize(("t", "dead"), [(1.0 - 2**-20, False), (1.0, True)])
def test_an_encoder_is_dead_after_exactly_a_second(t: float, dead: bool) -> None:
    readings = _readings()
    for at in (0.0, 0.5):
        assert readings.problem(_sample(1.0, 0.0, at), _applied(1.0)) is None
    assert (readings.problem(_sample(1.0, 0.0, t), _applied(1.0)) is not None) is dead


@pytest.mark.parametrize("velocity", [(-10.0, 40.0), (-40.0, 10.0), (-40.0, 40.0)])
@pytest.mark.parametrize("ticks", [-3, 0, 1, 3])
@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_a_position_moves_as_fast_as_its_velocity_may_be_and_no_faster(
    velocity: tuple[float, float], ticks: int, way: float
) -> None:
    """Since the newest good reading; it may be a period older than it says, and a clock may run back."""
    caps = replace(
        CAPS, sensors=(VELOCITY._replace(minimum=velocity[0], maximum=velocity[1]), POSITION), rate_hz=100.0
    )
    most = way * 42.0 * (max(ticks, 0) + 1) * DT
    for share, possible in ((0.999, True), (1.001, False)):
        readings = _readings(caps)
        begin = -most / 2  # that it never leaves its range
        assert readings.problem(_sample(begin, 0.0, 1.0), []) is None
        assert readings.problem(_sample(9.9, 0.0, 1.0), []) is not None  # which is forgotten
        problem = readings.problem(_sample(begin + share * most, 0.0, 1.0 + ticks * DT), [])
        assert (problem is None) is possible
    said = rf"'position' {abs(1.001 * most):.4g} rad from where it was {(max(ticks, 0) + 1) * 10} ms before, faster"
    assert said in (problem or "")


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.4), (-6.4, 0.0), (-3.2, 3.2)])
@pytest.mark.parametrize(("lacks", "wraps"), [(0.04, True), (0.06, False)])
def test_what_jumps_by_all_of_its_range_but_a_twentieth_has_wrapped_around(
    low: float, high: float, lacks: float, wraps: bool
) -> None:
    readings = _readings(replace(CAPS, sensors=(VELOCITY, POSITION._replace(minimum=low, maximum=high))))
    readings.problem(_sample(low, 0.0, 0.0), [])
    problem = readings.problem(_sample(high - lacks * 6.4, 0.0, DT), [])
    assert problem is not None
    assert ("all of its range" in problem) is wraps


@pytest.mark.parametrize(("jump", "wraps"), [(19.0, False), (19.001, True)])
def test_exactly_nineteen_twentieths_of_its_range_is_no_wrap(jump: float, wraps: bool) -> None:
    wide = POSITION._replace(minimum=-10.0, maximum=10.0)
    readings = _readings(replace(CAPS, sensors=(VELOCITY, wide)))
    readings.problem(_sample(-10.0, 0.0, 0.0), [])
    problem = readings.problem(_sample(-10.0 + jump, 0.0, DT), [])
    assert problem is not None
    assert ("all of its range" in problem) is wraps


@pytest.mark.parametrize("edge", [-176.0, 176.0])
def test_exactly_at_the_edge_of_what_can_be_is_within_it(edge: float) -> None:
    """A twentieth of 320 beyond either end."""
    wide = POSITION._replace(minimum=-160.0, maximum=160.0)
    readings = _readings(replace(CAPS, sensors=(VELOCITY, wide)))
    assert readings.problem(_sample(edge, 0.0), []) is None
    readings.forget()
    beyond = float(np.nextafter(np.float32(edge), np.float32(2 * edge)))
    assert "'position' as" in (readings.problem(_sample(beyond, 0.0), []) or "")
    assert "'velocity' as" in (readings.problem(_sample(edge, 99.0), []) or "")  # and no other is blamed


@pytest.mark.parametrize(
    ("duty", "dead"), [(1.0, True), (0.5, True), (-0.5, True), (0.499, False), (-0.2, False)]
)
def test_readings_that_never_change_under_a_large_action_are_a_dead_encoder(duty: float, dead: bool) -> None:
    readings = _readings()
    problems = [readings.problem(_sample(3.2, 0.0, k * DT), _applied(duty)) for k in range(150)]
    assert all(p is None for p in problems[:99])
    assert (problems[-1] is not None) is dead


def test_a_dead_encoder_stays_dead_in_neutral_until_it_moves() -> None:
    readings = _readings()
    for k in range(150):
        readings.problem(_sample(1.0, 0.0, k * DT), _applied(1.0))
    assert readings.problem(_sample(1.0, 0.0, 1.5), _applied(0.0)) is not None
    assert readings.problem(_sample(1.001, 0.0, 1.51), _applied(0.0)) is None


def test_a_motor_that_pushes_with_a_dead_encoder_ends_in_a_fault() -> None:
    still = np.array([0.0, 0.5], np.float32)
    joint = Joint(ManualClock(), distort=lambda _, s: s._replace(values=still))
    loop, _, _ = _loop(lambda *_: [1.0], joint=joint)
    with pytest.raises(DeviceFault, match="has not changed any reading for 1 s under a large action"):
        loop.run_episode(_reference(300))
    assert joint.stopped


def test_a_machine_that_is_not_told_to_move_may_stand_still() -> None:
    still = np.array([0.0, 0.5], np.float32)
    joint = Joint(ManualClock(), distort=lambda _, s: s._replace(values=still))
    loop = ControlLoop(LawController(lambda *_: [1.0]), joint, joint.clock, bundles.manifest(), obeyed=False)
    with loop:
        assert loop.run_episode(_reference(300)).mask.all()


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        (replace(CAPS, sensors=(VELOCITY, VELOCITY)), "two sensors are called 'velocity'"),
        (
            replace(CAPS, sensors=(VELOCITY, POSITION._replace(minimum=3.2, maximum=-3.2))),
            "'position' ranges from 3.2 to -3.2",
        ),
        (
            replace(CAPS, actuators=(Channel("duty", "1", -1.0, float("nan")),)),
            "'duty' ranges from -1 to nan",
        ),
        (replace(CAPS, rate_hz=0.0), "its rate is 0 Hz, expected a number above 0"),
    ],
)
def test_what_no_device_can_be_is_refused_before_it_is_driven(caps: DeviceCaps, said: str) -> None:
    with pytest.raises(MismatchError) as refused:
        ChannelMap(bundles.manifest(), caps)
    assert said in str(refused.value)


@pytest.mark.parametrize(("rate", "fits"), [(100.16, True), (99.1, True), (98.5, False), (201.0, True)])
def test_a_rate_may_be_off_by_a_hundredth(rate: float, fits: bool) -> None:
    assert (not differences(bundles.manifest(), replace(CAPS, rate_hz=rate))) is fits


def test_pairs_are_those_of_which_names_or_units_leave_no_doubt() -> None:
    def pairs(*named: tuple[str, str]) -> list[tuple[int, int]]:
        return derivative_pairs([Channel(name, unit, -1.0, 1.0) for name, unit in named])

    arm = [(f"position.{i}", "rad") for i in range(2)] + [(f"velocity.{i}", "rad/s") for i in range(2)]
    assert pairs(*arm) == [(0, 2), (1, 3)]
    assert pairs(("q", "rad"), ("omega", "rad/s"), ("supply", "V")) == [(0, 1)]
    assert pairs(("q", "rad"), ("r", "rad"), ("omega", "rad/s")) == []
    assert pairs(("position", "rad"), ("velocity", "deg/s")) == []
