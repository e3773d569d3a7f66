from dataclasses import replace

import numpy as np
import pytest
from acclimate.bundle.manifest import Graphs, Manifest, TensorSpec
from acclimate.control.channel_map import ChannelMap, differences
from acclimate.control.device import Channel
from acclimate.errors import MismatchError
from acclimate.task.spec import CHATTER, ObservationChannel, Track, TrackingReference
from hypothesis import given
from hypothesis import strategies as st

from . import bundles
from .devices import CAPS


def test_channels_are_matched_by_name_in_any_order() -> None:
    channels = ChannelMap(bundles.manifest(), CAPS)
    assert channels.from_device.tolist() == [0, 1]  # position, velocity of the bundle …
    assert channels.sensors.tolist() == [1, 0]  # … are the device's second and first sensor
    assert channels.from_reference.tolist() == [2, 3]
    assert channels.actuators.tolist() == [1]
    assert [limit.slew for limit in channels.limits] == pytest.approx([1.0])
    np.testing.assert_allclose(channels.neutral, [0.5, 0.0])  # as near to zero as the brake can go


def test_a_fitting_device_differs_in_nothing() -> None:
    assert differences(bundles.manifest(), CAPS) == []


def _rewarded() -> Manifest:
    """The small bundle with a reward that it could infer its weights from."""
    m = bundles.with_objectives(bundles.manifest())
    assert m.objectives is not None
    reward = ObservationChannel("reward", "1", -100.0, 100.0, "reward")
    graphs = Graphs(replace(m.graphs.act, inputs=(TensorSpec("obs", (5,)), *m.graphs.act.inputs[1:])))
    objectives = replace(m.objectives, reward="reward")
    task = replace(m.task, observation=(*m.observation, reward))
    return replace(m, task=task, graphs=graphs, objectives=objectives)


def test_a_reward_is_taken_where_the_device_measures_one() -> None:
    caps = replace(CAPS, sensors=(*CAPS.sensors, Channel("reward", "1", -100.0, 100.0)))
    channels = ChannelMap(_rewarded(), caps)
    assert channels.rewarded
    assert (channels.from_device.tolist(), channels.sensors.tolist()) == ([0, 1, 4], [1, 0, 2])


def test_a_device_may_lack_the_reward_but_not_measure_another_one() -> None:
    channels = ChannelMap(_rewarded(), CAPS)
    assert not channels.rewarded
    assert (channels.from_device.tolist(), channels.sensors.tolist()) == ([0, 1], [1, 0])
    other = replace(CAPS, sensors=(*CAPS.sensors, Channel("reward", "V", -100.0, 100.0)))
    assert differences(_rewarded(), other) == ["sensor 'reward' in 'V', expected '1'"]


def test_a_device_with_an_actuator_by_a_references_name_is_told_the_reference() -> None:
    told = Channel("target_velocity", "rad/s", -20.0, 20.0)
    channels = ChannelMap(bundles.manifest(), replace(CAPS, actuators=(told, *CAPS.actuators)))
    assert (channels.told.tolist(), channels.of_reference.tolist()) == ([0], [1])
    assert channels.actuators.tolist() == [2]
    other = replace(CAPS, actuators=(*CAPS.actuators, told._replace(unit="deg/s")))
    assert ChannelMap(bundles.manifest(), other).told.size == 0


def test_every_difference_is_listed_at_once() -> None:
    sensors = (Channel("velocity", "deg/s", -40, 40), Channel("angle", "rad", -3.2, 3.2))
    actuators = (Channel("duty", "1", -0.5, 1.0),)
    caps = replace(CAPS, sensors=sensors, actuators=actuators, rate_hz=50.0)
    with pytest.raises(MismatchError) as caught:
        ChannelMap(bundles.manifest(), caps)
    message = str(caught.value)
    assert message.startswith("this device does not fit bundle 'tiny': ")
    assert "no sensor 'position' (the device has: velocity, angle)" in message
    assert "sensor 'velocity' in 'deg/s', expected 'rad/s'" in message
    assert "actuator 'duty' ranges from -0.5 to 1, expected -1 to 1" in message
    assert "rate 50 Hz, expected 100 Hz or a multiple of it" in message
    assert caught.value.exit_code == 2


@given(
    name=st.sampled_from(["position", "velocity", "duty"]),
    end=st.sampled_from(["minimum", "maximum"]),
    inwards=st.floats(-0.5, 0.5).filter(lambda x: abs(x - 1e-3) > 1e-5),
)
def test_actuators_must_reach_both_ends_and_sensors_need_not(name: str, end: str, inwards: float) -> None:
    """inwards: how far short of an end of the task's range it falls, of the range; a thousandth is rounding.

    A sensor may fall short: then it is what is asked for that has to stay within what it reaches.
    """
    task = bundles.manifest().task
    wanted = next(c for c in (*task.observation, *task.action) if c.name == name)
    value = getattr(wanted, end) + (1 if end == "minimum" else -1) * inwards * (
        wanted.maximum - wanted.minimum
    )
    caps = replace(
        CAPS,
        sensors=tuple(c._replace(**{end: value}) if c.name == name else c for c in CAPS.sensors),
        actuators=tuple(c._replace(**{end: value}) if c.name == name else c for c in CAPS.actuators),
    )
    found = differences(bundles.manifest(), caps)
    assert len(found) == (name == "duty" and inwards > 1e-3)
    reaches = ChannelMap(bundles.manifest(), caps).reaches if not found else ()
    assert len(reaches) == (name == "position" and inwards > 1e-3)
    assert all(f"{name!r} ranges from" in difference for difference in found)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 0.125), (-4096.0, 8192.0)])
@pytest.mark.parametrize(("short", "fits"), [(-0.5, True), (0.9e-3, True), (1.1e-3, False)])
@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_an_actuator_may_fall_short_by_a_thousandth_of_its_range(
    low: float, high: float, short: float, fits: bool, end: str
) -> None:
    m = bundles.manifest()
    duty = replace(m.task.action[0], minimum=low, maximum=high, neutral=low)
    inwards = short * (high - low) * (1 if end == "minimum" else -1)
    wanted = Channel("duty", "1", low, high)
    there = wanted._replace(**{end: getattr(wanted, end) + inwards})
    found = differences(replace(m, task=replace(m.task, action=(duty,))), replace(CAPS, actuators=(there,)))
    assert (found == []) is fits


@pytest.mark.parametrize(("short", "fits"), [(1.0, True), (1.0 + 2**-20, False)])
@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_exactly_a_thousandth_is_not_too_short(short: float, fits: bool, end: str) -> None:
    m = bundles.manifest()
    duty = replace(m.task.action[0], minimum=-500.0, maximum=500.0)
    there = Channel("duty", "1", -500.0, 500.0)
    there = there._replace(**{end: getattr(there, end) + (short if end == "minimum" else -short)})
    found = differences(replace(m, task=replace(m.task, action=(duty,))), replace(CAPS, actuators=(there,)))
    assert (found == []) is fits


def test_what_is_told_a_reference_is_nothing_to_hold() -> None:
    """Nor is what is measured in another unit where it stands."""
    named = Channel("target", "rad", -3.2, 3.2)
    lamp = Channel("lamp", "1", 0.0, 1.0)
    caps = replace(CAPS, actuators=(*CAPS.actuators, named, lamp))
    for sensors, own in (((named,), []), ((named, lamp._replace(unit="lm")), []), ((named, lamp), [3])):
        channels = ChannelMap(bundles.manifest(), replace(caps, sensors=(*CAPS.sensors, *sensors)))
        assert [each.actuator for each in channels.own] == own


@pytest.mark.parametrize(
    ("low", "high", "fits"), [(3.2, 9.0, False), (-9.0, -3.2, False), (3.1, 9.0, True), (-9.0, -3.1, True)]
)
def test_a_sensor_must_share_some_of_its_range(low: float, high: float, fits: bool) -> None:
    velocity, position = CAPS.sensors
    caps = replace(CAPS, sensors=(velocity, position._replace(minimum=low, maximum=high)))
    assert (differences(bundles.manifest(), caps) == []) is fits


def test_what_the_task_does_not_speak_of_is_told_what_is_nearest_to_zero() -> None:
    ranges = [(-2.0, -1.0), (-1.0, 3.0), (0.5, 4.0), (0.0, 1.0), (-1.0, 0.0)]
    more = tuple(Channel(f"more.{i}", "1", *ends) for i, ends in enumerate(ranges))
    channels = ChannelMap(bundles.manifest(), replace(CAPS, actuators=(*more, *CAPS.actuators)))
    np.testing.assert_array_equal(channels.neutral[:5], [-1.0, 0.0, 0.5, 0.0, 0.0])
    assert channels.own == ()


@pytest.mark.parametrize(
    ("rate", "fits"),
    [
        (100.0, True),
        (100.05, True),
        (1000.0, True),
        (150.0, False),
        (50.0, False),
        (10.0, False),
        (0.01, False),
    ],
)
def test_the_rate_is_the_trained_one_or_a_multiple(rate: float, fits: bool) -> None:
    assert (not differences(bundles.manifest(), replace(CAPS, rate_hz=rate))) is fits


def test_a_channel_of_several_values_stands_for_numbered_scalars() -> None:
    manifest = bundles.manifest()
    joints = ObservationChannel("joint", "rad", -1.0, 1.0, shape=(2,))
    reference = TrackingReference((Track("joint.0", "target"), Track("joint.1", "target_velocity")))
    task = replace(
        manifest.task,
        observation=(joints, *manifest.observation[2:]),
        metrics=(CHATTER,),
        reference=reference,
    )
    caps = replace(CAPS, sensors=tuple(Channel(f"joint.{i}", "rad", -1.0, 1.0) for i in (1, 0)))
    channels = ChannelMap(replace(manifest, task=task), caps)
    assert channels.sensors.tolist() == [1, 0]
