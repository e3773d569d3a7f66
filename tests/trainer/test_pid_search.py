"""The classical baseline: the law that the device's controller follows, and a search that finds better gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.tasks.servo import pid_search
from acclimate_trainer.tasks.servo.dynamics import ServoState, coefficients, observe, step
from acclimate_trainer.tasks.servo.pid_search import (
    Course,
    Found,
    PidGains,
    PidSearch,
    draw_course,
    pid_errors,
    search,
)

from .servo_tasks import FAMILY, MISWIRED

SMALL = PidSearch(tasks=8, candidates=16, rounds=4, steps=40)
GAINS = [PidGains(8.0, 5.0, 0.05, 0.3), PidGains(0.5, 30.0, 0.0, 0.0), PidGains(60.0, 0.0, 1.0, 0.1)]


def course(tasks: int, steps: int) -> Course:
    rng = np.random.default_rng(0)
    return draw_course(FAMILY.spec, FAMILY.sample(tasks, rng), steps, rng)


def searched(settings: PidSearch = SMALL, seed: int = 0) -> Found:
    """On the same servos whatever the settings are, but for their number."""
    rng = np.random.default_rng(seed)
    return search(FAMILY.spec, FAMILY.sample(settings.tasks, rng), settings, rng)


@pytest.mark.parametrize("gains", GAINS)
def test_the_law_is_the_documented_one_tick_by_tick(gains: PidGains) -> None:
    """A controller of plain numbers drives the family's servos, one by one, to the same errors."""
    drawn = course(3, 60)
    found = pid_errors(drawn, torch.tensor([gains]))[:, 0]
    for task in range(3):
        only = slice(task, task + 1)
        c = coefficients(type(drawn.tasks)(*(column[only] for column in drawn.tasks)))
        state = ServoState(*(x[only] for x in drawn.start))
        integral, squares = 0.0, []
        position, velocity = observe(state, state)[0, 0].tolist()
        for t in range(60):
            target, rate = drawn.target[task, 0, t].tolist()
            error = target - position
            integral = min(max(integral + gains.ki * error * 0.01, -0.5), 0.5)
            duty = gains.kp * error + integral + gains.kd * (rate - velocity) + gains.kff * rate
            duty = min(max(duty, -1.0), 1.0)
            following = step(state, torch.full((1, 1, 1), duty), c, drawn.encoder[only, :, t])
            position, velocity = observe(following, state)[0, 0].tolist()
            state = following
            squares.append((position - float(drawn.target[task, 0, t + 1, 0])) ** 2)
        assert found[task].item() == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-3)


def test_candidates_do_not_disturb_each_other() -> None:
    drawn, gains = course(4, 30), torch.tensor(GAINS)
    together = pid_errors(drawn, gains)
    assert together.shape == (4, 3)
    for k in range(3):
        torch.testing.assert_close(pid_errors(drawn, gains[k : k + 1])[:, 0], together[:, k])


def test_a_course_begins_where_each_servo_stands_and_is_as_noisy_as_its_encoder() -> None:
    drawn = course(6, 400)
    torch.testing.assert_close(drawn.target[:, :, 0, 0], drawn.start.measured)
    torch.testing.assert_close(drawn.encoder.std(dim=(1, 2)), drawn.tasks.noise[:, 0], rtol=0.15, atol=0)


def test_the_search_is_seeded() -> None:
    assert searched() == searched()
    assert searched() != searched(seed=1)


def test_the_search_ends_better_than_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rounds on the same servos never end worse, and far better than the middle of where they begin."""
    errors = [searched(replace(SMALL, rounds=rounds), seed=3).error for rounds in (1, 2, 6)]
    assert errors == sorted(errors, reverse=True)
    middle = tuple(np.sqrt(np.multiply(pid_search._LOW, pid_search._HIGH)).tolist())
    monkeypatch.setattr(pid_search, "_LOW", middle)
    monkeypatch.setattr(pid_search, "_HIGH", middle)
    assert errors[-1] < 0.9 * searched(seed=3).error


def test_what_is_found_is_what_was_measured() -> None:
    found, drawn = searched(), course(SMALL.tasks, SMALL.steps)
    assert found.error == pytest.approx(pid_errors(drawn, torch.tensor([found.gains])).mean().item(), rel=1e-4)


def test_what_is_found_is_the_best_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[float] = []

    def watched(course: Course, gains: torch.Tensor) -> torch.Tensor:
        errors = pid_errors(course, gains)
        rounds.append(errors.mean(0).min().item())
        return errors

    monkeypatch.setattr(pid_search, "pid_errors", watched)
    last_was_best = set()
    for seed in range(8):
        rounds.clear()
        found = searched(replace(SMALL, candidates=2), seed)
        assert found.error == min(rounds)
        last_was_best.add(rounds[-1] == min(rounds))
    assert last_was_best == {True, False}


def test_a_controller_tests_its_sign_where_polarity_is_unknown_and_is_tuned_as_if_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("acclimate_trainer.tasks.servo.family.PidSearch", lambda: SMALL)
    known, unknown = (family.classical(np.random.default_rng(0))["pid"] for family in (FAMILY, MISWIRED))
    assert known.pop("sign_test") == 0.0
    assert unknown.pop("sign_test") == 1.0
    assert known == unknown == searched().gains._asdict()


@pytest.mark.parametrize("name", ["tasks", "candidates", "rounds", "steps"])
def test_a_search_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be at least 1, found 0$"):
        PidSearch(**{name: 0})
