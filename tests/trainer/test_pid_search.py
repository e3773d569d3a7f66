"""The classical baseline: the law of the device's controller, and a search that finds better gains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_bridge.evaluation.pid import Pid
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.play.rollouts import composer
from acclimate_trainer.tasks import pid_search
from acclimate_trainer.tasks.arm.family import ArmFamily
from acclimate_trainer.tasks.pid_search import (
    Course,
    Drives,
    Found,
    Joint,
    PidSearch,
    draw_course,
    pid_drives,
    search,
)
from acclimate_trainer.tasks.servo.dynamics import ServoTasks
from acclimate_trainer.tasks.servo.family import ServoFamily

FAMILY = ServoFamily()
JOINTS = (Joint("position", "velocity", "target", "target_velocity"),)
SMALL = PidSearch(tasks=8, candidates=16, rounds=4, steps=40)
GAINS = [(8.0, 5.0, 0.05, 0.3), (0.5, 30.0, 0.0, 0.0), (60.0, 0.0, 1.0, 0.1)]


def course(tasks: int = 3, steps: int = 60) -> Course[ServoTasks]:
    """Servos without noise, so that all candidates meet the same."""
    rng = np.random.default_rng(0)
    drawn = FAMILY.sample(tasks, rng)
    return draw_course(FAMILY, JOINTS, drawn._replace(noise=0.0 * drawn.noise), steps, rng)


def found(settings: PidSearch, seed: int = 0) -> Found:
    rng = np.random.default_rng(seed)
    return search(FAMILY, JOINTS, FAMILY.sample(settings.tasks, rng), settings, rng)


@pytest.mark.parametrize("gains", GAINS)
def test_the_law_is_that_of_the_module(gains: tuple[float, ...]) -> None:
    """Tick by tick on one servo after the other, in plain numbers."""
    given = course()
    drives = pid_drives(given, torch.tensor([[gains]]))
    kp, ki, kd, kff = gains
    session = given.begin(1)
    integral, squares, duties = np.zeros(3), [], []
    for t in range(given.steps):
        place, velocity = session.obs[:, 0].numpy().T
        target, rate = given.reference[:, 0, t].numpy().T
        integral = np.clip(integral + ki * (target - place) * 0.01, -0.5, 0.5)
        duty = np.clip(kp * (target - place) + integral + kd * (rate - velocity) + kff * rate, -1.0, 1.0)
        session.step(torch.tensor(duty, dtype=torch.float32).view(3, 1, 1))
        duties.append(duty)
        squares.append((session.obs[:, 0, 0].numpy() - given.reference[:, 0, t + 1, 0].numpy()) ** 2)
    assert drives.error[:, 0].numpy() == pytest.approx(np.sqrt(np.mean(squares, axis=0)), rel=1e-3)
    changes = np.square(np.diff(duties, axis=0))
    assert drives.change[:, 0].numpy() == pytest.approx(np.sqrt(np.mean(changes, axis=0)), rel=1e-3)


@pytest.mark.parametrize("family", [ServoFamily(), ArmFamily(miswired=0.0)])
def test_the_law_is_that_of_the_controller_that_drives_devices(family: TaskFamily[Any]) -> None:
    """By settings as a bundle has them; each actuator with gains of its own."""
    rng, names = np.random.default_rng(1), family.spec.action_scalars
    joints = JOINTS if len(names) == 1 else tuple(
        Joint(q, f"{q}_velocity", f"target_{q}", f"target_{q}_velocity") for q in ("shoulder", "elbow")
    )  # fmt: skip
    given = draw_course(family, joints, family.sample(1, rng, 0.0), 50, rng)
    gains = ((8.0, 5.0, 0.05, 0.3), (3.0, 20.0, 0.02, 0.1))[: len(names)]
    pid = Pid(Found(gains, 0.0).settings(names), family.spec)
    session, compose, squares = given.begin(1), composer(family.spec), list[float]()
    obs = compose(session.obs, given.reference[:, :, 0])
    for t in range(given.steps):
        action = pid.act(obs[0, 0].numpy(), np.zeros(0, np.float32))
        session.step(torch.from_numpy(action.copy()).view(1, 1, -1))
        obs = compose(session.obs, given.reference[:, :, t + 1])
        seen = dict(
            zip((s for c in family.spec.observation for s in c.scalars), obs[0, 0].tolist(), strict=True)
        )
        squares += [(seen[measured] - seen[wanted]) ** 2 for measured, wanted in family.spec.headline.pairs]
    found = pid_drives(given, torch.tensor([gains])).error.item()
    assert found == pytest.approx(float(np.sqrt(np.mean(squares))), rel=1e-3)


@pytest.mark.parametrize("name", ["tasks", "candidates", "rounds", "steps"])
def test_a_search_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be at least 1, found 0$"):
        PidSearch(**{name: 0})


def test_candidates_do_not_disturb_each_other() -> None:
    given, gains = course(4, 30), torch.tensor(GAINS).unsqueeze(1)
    together = pid_drives(given, gains)
    assert together.error.shape == together.change.shape == (4, 3)
    for k in range(3):
        for one, all_of_them in zip(pid_drives(given, gains[k : k + 1]), together, strict=True):
            torch.testing.assert_close(one[:, 0], all_of_them[:, k])


def test_the_search_is_seeded() -> None:
    first, again, other = (found(SMALL, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_search_ends_better_than_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rounds on the same servos never end worse, and far better than the middle of where they begin."""
    errors = [found(replace(SMALL, rounds=rounds), 3).cost for rounds in (1, 2, 6)]
    assert errors == sorted(errors, reverse=True)
    middle = tuple(np.sqrt(np.multiply(pid_search._LOW, pid_search._HIGH)).tolist())
    monkeypatch.setattr(pid_search, "_LOW", middle)
    monkeypatch.setattr(pid_search, "_HIGH", middle)
    assert errors[-1] < 0.9 * found(SMALL, 3).cost


def test_what_is_found_is_the_best_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[float] = []

    def watched(*arguments: object) -> Drives:
        drives = pid_drives(*arguments)  # type: ignore[arg-type]
        rounds.append(drives.error.mean(0).min().item())
        return drives

    monkeypatch.setattr(pid_search, "pid_drives", watched)
    last_was_best = set()
    for seed in range(16):
        rounds.clear()
        assert found(replace(SMALL, candidates=1), seed).cost == min(rounds)
        last_was_best.add(rounds[-1] == min(rounds))
    assert last_was_best == {True, False}


def test_what_shakes_has_its_price() -> None:
    free, dear = (found(replace(SMALL, price=price)).gains[0] for price in (0.0, 1.0))
    given, gains = course(8, 60), torch.tensor([[free], [dear]])
    change = pid_drives(given, gains).change.mean(0)
    assert change[1] < 0.5 * change[0]


def test_where_the_search_begins_is_no_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimum outside of where it begins is found."""
    search_there = replace(SMALL, tasks=8, candidates=48, rounds=8)
    begin = tuple(0.2 * low for low in pid_search._LOW), tuple(3.0 * low for low in pid_search._LOW)
    monkeypatch.setattr(pid_search, "_LOW", begin[0])
    monkeypatch.setattr(pid_search, "_HIGH", begin[1])
    narrow = found(search_there)
    assert narrow.gains[0][0] > begin[1][0]


def test_settings_are_named_after_actuators_where_they_are_several() -> None:
    one, two = Found(((1.0, 2.0, 3.0, 4.0),), 0.0), Found(((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)), 0.0)
    assert one.settings(["duty"]) == {"kp": 1.0, "ki": 2.0, "kd": 3.0, "kff": 4.0}
    assert two.settings(["a", "b"])["b.kp"] == 5.0
    assert len(two.settings(["a", "b"])) == 8


@pytest.mark.parametrize(
    ("family", "tests"),
    [
        (ServoFamily(), 0.0),
        (ServoFamily(preset="miswired"), 1.0),
        (ArmFamily(), 1.0),
        (ArmFamily(miswired=0.0), 0.0),
    ],
)
def test_a_controller_tests_its_sign_where_it_is_unknown_and_is_tuned_as_if_it_had(
    family: ServoFamily | ArmFamily, tests: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(*arguments: object) -> Found:
        *given, settings, rng = arguments
        return search(*given, replace(settings, tasks=8, candidates=16, rounds=4, steps=40), rng)  # type: ignore

    module = "acclimate_trainer.tasks.servo.family.search"
    monkeypatch.setattr(
        module if isinstance(family, ServoFamily) else "acclimate_trainer.tasks.arm.family.pid_search", quick
    )
    gains = family.classical(np.random.default_rng(0))["pid"]
    assert gains["sign_test"] == tests
    assert len(gains) == 1 + 4 * family.spec.n_act
