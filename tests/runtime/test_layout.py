from dataclasses import replace

import numpy as np
import pytest
from acclimate.device import Channel
from acclimate.errors import MismatchError
from acclimate.layout import Layout, differences
from acclimate.manifest import ObservationChannel

from . import bundles
from .devices import CAPS


def test_channels_are_matched_by_name_in_any_order() -> None:
    layout = Layout(bundles.manifest(), CAPS)
    assert layout.from_device.tolist() == [0, 1]  # position, velocity of the bundle …
    assert layout.sensors.tolist() == [1, 0]  # … are the device's second and first sensor
    assert layout.from_reference.tolist() == [2, 3]
    assert layout.actuators.tolist() == [1]
    np.testing.assert_allclose(layout.slew, [1.0])
    np.testing.assert_allclose(layout.neutral, [0.5, 0.0])  # as near to zero as the brake can go


def test_a_fitting_device_differs_in_nothing() -> None:
    assert differences(bundles.manifest(), CAPS) == []


def test_every_difference_is_listed_at_once() -> None:
    sensors = (Channel("velocity", "deg/s", -40, 40), Channel("angle", "rad", -3.2, 3.2))
    actuators = (Channel("duty", "1", -0.5, 1.0),)
    caps = replace(CAPS, sensors=sensors, actuators=actuators, rate_hz=50.0)
    with pytest.raises(MismatchError) as caught:
        Layout(bundles.manifest(), caps)
    message = str(caught.value)
    assert message.startswith("this device does not fit bundle 'tiny': ")
    assert "no sensor 'position' (the device has: velocity, angle)" in message
    assert "sensor 'velocity' in 'deg/s', expected 'rad/s'" in message
    assert "actuator 'duty' ranges from -0.5 to 1, expected -1 to 1" in message
    assert "rate 50 Hz, expected 100 Hz or a multiple of it" in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("rate", "fits"), [(100.0, True), (100.05, True), (1000.0, True), (150.0, False), (10.0, False)]
)
def test_the_rate_is_the_trained_one_or_a_multiple(rate: float, fits: bool) -> None:
    assert (not differences(bundles.manifest(), replace(CAPS, rate_hz=rate))) is fits


def test_a_channel_of_several_values_stands_for_numbered_scalars() -> None:
    manifest = bundles.manifest()
    joints = ObservationChannel("joint", "rad", -1.0, 1.0, shape=(2,))
    observation = (joints, *manifest.observation[2:])
    caps = replace(CAPS, sensors=tuple(Channel(f"joint.{i}", "rad", -1.0, 1.0) for i in (1, 0)))
    layout = Layout(replace(manifest, observation=observation), caps)
    assert layout.sensors.tolist() == [1, 0]
