"""References: what the spec asks for, and, for the servo's, number for number what they have always been."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from acclimate.task.references import draw
from acclimate.task.spec import ObservationChannel, TaskSpec, Track, TrackingReference
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.specs import LIFT

TRACK = Track("height", "height_wanted", "speed_wanted")
UNIT = replace(
    LIFT,
    control_dt=0.01,
    observation=(
        *LIFT.observation[:2],
        ObservationChannel("speed_wanted", "mm/s", -9.0, 9.0, "reference"),
        ObservationChannel("height_wanted", "mm", -100.0, 100.0, "reference"),
    ),
    reference=TrackingReference((TRACK,)),
)
RATE, TARGET = 0, 1  # columns

# Of the generator before there were specifications, at default_rng(2024): position and velocity of four references
# that begin at these places.
BEGIN = (-0.5, 0.0, 0.25, 1.0)
RECORDED = {
    1: (
        [-0.49773138761520386, 0.0021797907538712025, 0.25079667568206787, 0.9978700280189514],
        [0.22686269879341125, 0.2179790735244751, 0.07966871559619904, -0.21299497783184052],
    ),
    17: (
        [-0.32612407207489014, 0.11425585299730301, 0.3155982196331024, 0.8559527397155762],
        [1.383415937423706, 0.5932066440582275, 0.5385001301765442, -1.089162826538086],
    ),
    60: (
        [-0.1900370568037033, 0.177330881357193, 0.5476059913635254, 0.37557634711265564],
        [-0.8480139970779419, 0.004527873359620571, 0.32894250750541687, -1.1202280521392822],
    ),
    120: (
        [-0.6008818745613098, 0.23078638315200806, 0.4622971713542938, -0.29644083976745605],
        [-0.1109519973397255, 0.036751799285411835, -0.578667402267456, -1.1080702543258667],
    ),
}


def _starts(heights: object) -> np.ndarray:
    height = np.asarray(heights, np.float32)
    return np.stack([height, np.full_like(height, np.nan)], axis=1)  # nothing begins at the speed


def _draw(spec: TaskSpec, seed: int, n: int = 50, steps: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return draw(spec, rng, _starts(rng.uniform(-1.0, 1.0, n)), steps)


def test_one_track_of_amplitude_1_gives_the_recorded_numbers() -> None:
    found = draw(UNIT, np.random.default_rng(2024), _starts(BEGIN), 120)
    assert found.shape == (4, 121, 2)
    assert found.dtype == np.float32
    for tick, (position, velocity) in RECORDED.items():
        np.testing.assert_array_equal(found[:, tick, TARGET], np.array(position, np.float32))
        np.testing.assert_array_equal(found[:, tick, RATE], np.array(velocity, np.float32))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 100.0), st.floats(-100.0, 100.0))
def test_a_track_is_the_one_of_amplitude_1_scaled_and_moved(
    seed: int, amplitude: float, center: float
) -> None:
    unit = draw(UNIT, np.random.default_rng(seed), _starts([0.25, -0.5]), 100)
    track = replace(TRACK, amplitude=amplitude, center=center)
    other = replace(UNIT, reference=TrackingReference((track,)))
    begin = center + amplitude * np.array([0.25, -0.5])
    found = draw(other, np.random.default_rng(seed), _starts(begin), 100)
    size = amplitude + abs(center)
    np.testing.assert_allclose(found[..., TARGET], center + amplitude * unit[..., TARGET], atol=1e-5 * size)
    np.testing.assert_allclose(found[..., RATE], amplitude * unit[..., RATE], atol=1e-4 * size)


def test_it_begins_at_rest_where_the_sensor_stands_and_its_rate_is_its_derivative() -> None:
    found = _draw(UNIT, 3)
    begin = np.random.default_rng(3).uniform(-1.0, 1.0, 50)
    np.testing.assert_allclose(found[:, 0, TARGET], begin, atol=1e-6)
    np.testing.assert_array_equal(found[:, 0, RATE], 0.0)
    np.testing.assert_allclose(
        np.diff(found[..., TARGET], axis=1), UNIT.control_dt * found[:, 1:, RATE], atol=1e-6
    )


def test_it_keeps_within_its_amplitude_and_its_speed() -> None:
    found = _draw(UNIT, 4, n=400)
    assert np.abs(found[..., TARGET]).max() <= 1.0 + 1e-6
    assert np.abs(found[..., RATE]).max() <= 1.5 * (1.0 + 1e-6)
    slow = replace(UNIT, reference=replace(TrackingReference((TRACK,)), speed=(0.1, 0.2)))
    assert 0.1 < np.abs(_draw(slow, 4)[..., RATE]).max() <= 0.2 * (1.0 + 1e-6)


def test_several_tracks_are_drawn_one_after_another() -> None:
    second = Track("speed", "speed_wanted")
    both = replace(
        UNIT,
        reference=TrackingReference((Track("height", "height_wanted"), second)),
    )
    start = np.array([[0.1, -0.3], [0.5, 0.7]], np.float32)
    found = draw(both, np.random.default_rng(8), start, 60)
    alone = replace(
        UNIT,
        observation=tuple(c for c in UNIT.observation if c.name != "speed_wanted"),
        reference=TrackingReference((Track("height", "height_wanted"),)),
    )
    rng = np.random.default_rng(8)
    np.testing.assert_array_equal(found[..., 1], draw(alone, rng, start, 60)[..., 0])
    turned = replace(alone, reference=TrackingReference((Track("speed", "height_wanted"),)))
    np.testing.assert_array_equal(found[..., 0], draw(turned, rng, start, 60)[..., 0])


@pytest.mark.parametrize("n", [1, 5])
def test_without_a_reference_there_are_no_columns_and_nothing_is_drawn(n: int) -> None:
    free = replace(LIFT, observation=LIFT.observation[:2], reference=None, metrics=LIFT.metrics[1:])
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert draw(free, rng, _starts(np.zeros(n)), 10).shape == (n, 11, 0)
    assert rng.bit_generator.state == before


def test_a_long_reference_takes_memory_in_proportion() -> None:
    """An hour of it once took 4 GiB."""

    def peak(steps: int) -> int:
        tracemalloc.start()
        _draw(UNIT, 0, n=1, steps=steps)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < 6 * peak(5_000)
