"""Flights of the benchmark of quadrotors: fair to whoever controls, and judged by what happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks._flights import Course, Seen, figure_eight, fly
from benchmarks._l2f import Floats
from benchmarks.quadrotor import NOMINAL

DRONES, SHORT = 8, replace(NOMINAL, seconds=0.2, judged=0.1)


class Constant:
    """Commands the same to all rotors, and remembers what it saw."""

    def __init__(self, command: float) -> None:
        self._command, self.seen = command, list[Seen]()

    def begin(self, commands: Floats) -> None:
        assert commands.shape == (DRONES, 4)

    def act(self, seen: Seen) -> Floats:
        self.seen.append(seen)
        return np.full((len(seen.position), 4), self._command, np.float32)


def flown(course: Course, command: float = -1.0, seed: int = 0) -> tuple[Constant, Floats, Floats]:
    pytest.importorskip("l2f")
    controller = Constant(command)
    found = fly(controller, course, DRONES, seed)
    return controller, found.farthest, found.change


def test_all_controllers_meet_the_same_drones_and_the_same_noise() -> None:
    noisy = replace(SHORT, noise=1.0, delays=True)
    one, other = (flown(noisy, command)[0] for command in (-1.0, 1.0))
    for a, b in zip(one.seen[0], other.seen[0], strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(one.seen[-1].position, other.seen[-1].position)
    clear = flown(SHORT)[0]
    apart = one.seen[0].position - clear.seen[0].position
    assert 0.0 < np.abs(apart).max() < 0.03


def test_commands_are_delayed_by_no_one_or_two_ticks() -> None:
    """From drone to drone: how fast they fall once the rotors are told to stop."""
    clear, late = (flown(replace(SHORT, delays=delays))[0].seen[-1].velocity for delays in (False, True))
    same = (clear == late).all(-1)
    assert same.any()
    assert not same.all()
    assert late[~same, 2].mean() > clear[~same, 2].mean()


def test_what_falls_is_not_near() -> None:
    _, farthest, change = flown(replace(NOMINAL, seconds=1.0, judged=0.5))
    assert (farthest > 0.5).all()
    assert (change == 0.0).all()


def test_the_eight_goes_through_its_middle_and_to_its_ends() -> None:
    target = figure_eight(4.0, 0.5)(np.array([0.0, 1.0, 2.0, 3.0, 4.0], np.float32))
    assert target[:, 0] == pytest.approx([0.0, 0.5, 0.0, -0.5, 0.0], abs=1e-6)
    assert np.abs(target[:, 1:]).max() == pytest.approx(0.0, abs=1e-6)
