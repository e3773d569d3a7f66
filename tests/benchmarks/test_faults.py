"""A seeded share of `make bench NAME=faults`, and whether what it measures with can tell."""

from __future__ import annotations

import pytest
from acclimate.bundle.file import load
from acclimate.policy.policy import Policy

from benchmarks import faults
from benchmarks._blindness import KINDS, longest
from benchmarks._corruption import corrupt
from benchmarks._long import long_drive


def test_no_corrupted_frame_is_taken_for_another_one() -> None:
    found = corrupt(100_000, seed=1)
    assert found.corrupted >= 100_000
    assert found.wrong == 0
    assert found.dropped > 0.5 * found.corrupted


@pytest.mark.slow
def test_no_machine_moves_unseen_for_longer_than_the_watchdog() -> None:
    figures = faults.blind(4 * len(KINDS), seed=2)
    worst = figures["blind_s"]
    assert isinstance(worst, float)
    assert 0.0 < worst <= 0.1


@pytest.mark.slow
def test_control_goes_on_where_a_fifth_of_the_frames_is_lost_or_damaged() -> None:
    figures = faults.tracking(Policy(load(faults.BUNDLE), "onnxruntime"), 0.2, machines=2, seed=0)
    assert figures["ended.0.2"] == 0.0
    assert figures["unaccounted.0.2"] == 0.0


@pytest.mark.parametrize(
    ("moves", "fresh", "worst"),
    [
        ([(0.0, True), (1.0, False)], [0.0, 0.3, 0.5], 0.5),
        ([(0.0, True), (1.0, False)], [0.0, 0.9], 0.9),
        ([(0.0, True), (0.1, False), (5.0, True), (5.1, False)], [0.0, 5.0], 0.1),
        ([(0.0, False), (9.0, False)], [0.0], 0.0),
    ],
)
def test_the_longest_motion_is_measured_from_the_last_fresh_reading(
    moves: list[tuple[float, bool]], fresh: list[float], worst: float
) -> None:
    assert longest(moves, fresh) == pytest.approx(worst)


@pytest.mark.slow
def test_a_drive_over_a_link_as_it_may_be_goes_on_and_counts_exactly() -> None:
    """A share of `make bench NAME=long_drive`: a clock 1 % off, a pause of .15 s every 3 s, bursts of 16 ms."""
    driven = long_drive(20.0, seed=1)
    assert driven.pauses == driven.loop.rearmed == driven.link.device_expired
    assert driven.pauses >= 6
    assert driven.missed == 0
