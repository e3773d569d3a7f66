"""Tuning a PID on one machine: that the search finds an optimum, wherever it lies, and what a try costs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from acclimate.task.spec import TaskSpec
from acclimate_bridge.evaluation.pid import Pid, SignWatch, gains_of
from acclimate_bridge.evaluation.tuning import Search, cost, tuned
from acclimate_bridge.simulation.servo.world import ServoWorld

FAMILY = {"kp": 2.0, "ki": 1.0, "kd": 0.02, "kff": 0.05}


@pytest.fixture
def task() -> TaskSpec:
    return ServoWorld().spec


def distance(wanted: tuple[float, ...], task: TaskSpec) -> Callable[[Pid], float]:
    """How far the gains are from these, in logarithms: a bowl."""

    def judge(pid: Pid) -> float:
        (gains,) = gains_of(pid.settings, task.action_scalars)
        return math.hypot(*(math.log(abs(a) / b) for a, b in zip(gains[:4], wanted, strict=True)))

    return judge


@pytest.mark.parametrize(
    "wanted", [(2.0, 1.0, 0.02, 0.05), (20.0, 200.0, 0.3, 0.004), (0.3, 0.02, 0.001, 1.0)]
)
def test_it_finds_the_optimum_also_far_from_the_family_s_gains(
    wanted: tuple[float, ...], task: TaskSpec
) -> None:
    judge, search = distance(wanted, task), Search(rounds=14, candidates=60, narrower=0.75)
    found = tuned(FAMILY, [1.0], task, judge, np.random.default_rng(0), search)
    assert judge(found) < 0.15


def test_it_is_never_worse_than_the_family_s_gains(task: TaskSpec) -> None:
    """Here all others are worse."""
    judge = distance(tuple(FAMILY.values()), task)
    found = tuned(FAMILY, [1.0], task, judge, np.random.default_rng(0))
    assert judge(found) == pytest.approx(0.0, abs=1e-6)


def test_a_motor_that_is_wired_backwards_gets_the_same_law_backwards(task: TaskSpec) -> None:
    judge = distance(tuple(FAMILY.values()), task)
    ahead, back = (tuned(FAMILY, [s], task, judge, np.random.default_rng(0)) for s in (1.0, -1.0))
    obs, nothing = np.array([0.1, 0.2, 0.15, 0.3], np.float32), np.zeros(0, np.float32)
    assert back.act(obs, nothing)[0] == pytest.approx(-ahead.act(obs, nothing)[0])


def test_a_try_costs_its_error_and_what_the_change_of_the_action_does(task: TaskSpec) -> None:
    obs = np.zeros((5, 4), np.float32)
    obs[:, 2] = 0.1  # rad, the target
    still, shaking = np.full((4, 1), 0.3, np.float32), np.array([[0.2], [-0.2], [0.2], [-0.2]], np.float32)
    assert cost(task, [(obs, still)], price=0.5) == pytest.approx(0.1)
    assert cost(task, [(obs, shaking)], price=0.5) == pytest.approx(0.1 + 0.5 * 0.4)
    assert cost(task, [(obs, shaking)], price=0.0) == pytest.approx(0.1)


# The sign test that repeats.


def driven(pid: Pid, swap_at: int, ticks: int = 1500) -> list[float]:
    """The errors of a joint that moves as it is driven, whose wires are swapped in the middle."""
    angle, wired, errors = 0.3, -1.0, []
    for t in range(ticks):
        wired = 1.0 if t >= swap_at else -1.0
        target = 0.6 * math.sin(0.01 * t)
        action = pid.act(np.array([angle, 0.0, target, 0.0], np.float32), np.zeros(0, np.float32))
        angle = min(max(angle + 0.03 * wired * float(action[0]), -1.7), 1.7)
        errors.append(abs(target - angle))
    return errors


def test_a_pid_whose_wires_are_swapped_in_mid_drive_tests_its_sign_again(task: TaskSpec) -> None:
    plain = {"kp": 5.0, "ki": 0.0, "kd": 0.0, "kff": 0.0}
    again = Pid(plain | {"sign_test": 1.0}, task)
    errors = driven(again, swap_at=500)
    assert again.signs == (1.0,)
    assert max(errors[300:500]) < 0.1
    assert max(errors[-300:]) < 0.1
    assert min(driven(Pid(plain, task), swap_at=0, ticks=300)[100:]) < 0.1  # the same law, wired as expected


def test_an_error_that_shrinks_is_no_reason_to_test() -> None:
    """A step of the target, which a slow machine takes seconds for."""
    watch = SignWatch(0.01, 1.0)
    assert not any(watch.lost(2.0 - 0.002 * t) for t in range(900))


def test_an_error_that_grows_is_noticed_within_half_a_second() -> None:
    watch = SignWatch(0.01, 1.0)
    at = [t for t in range(200) if watch.lost(0.3 + 0.01 * t)]
    assert at
    assert at[0] == pytest.approx(10 + 50, abs=3)
