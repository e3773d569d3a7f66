"""The classical baseline: the same law as the device's controller, and a search that finds better gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.bundle.manifest import (
    Family,
    Graphs,
    GraphSpec,
    Limits,
    Manifest,
    NoiseSpec,
    PidGains,
    TensorSpec,
)
from acclimate_bridge.evaluation.pid import Pid
from acclimate_trainer.baselines import pid_search
from acclimate_trainer.baselines.pid_search import PidConfig, pid_errors, search
from acclimate_trainer.play.rollouts import draw
from acclimate_trainer.tasks.servo import (
    ACTION,
    CONTROL_DT,
    OBSERVATION,
    PRESETS,
    ServoFamily,
    ServoState,
    observe,
)

from .servo_tasks import FAMILY

SMALL = PidConfig(tasks=8, candidates=16, rounds=4, episode_steps=40)
GAINS = [PidGains(8.0, 5.0, 0.05, 0.3), PidGains(0.5, 30.0, 0.0, 0.0), PidGains(60.0, 0.0, 1.0, 0.1)]


def manifest() -> Manifest:
    """A policy that does nothing, for the servo's channels."""
    act = GraphSpec((TensorSpec("obs", (4,)), TensorSpec("noise", (1,))), (TensorSpec("action", (1,)),))
    return Manifest(
        "idle", "robust", CONTROL_DT, OBSERVATION, ACTION, (), Graphs(act), NoiseSpec((1,)), Limits({}, 1.0),
        Family("servo", "wide", {}),
    )  # fmt: skip


@pytest.mark.parametrize("gains", GAINS)
def test_the_law_is_the_devices_tick_by_tick(gains: PidGains) -> None:
    """The device's controller drives the family's servos, one by one, to the same errors."""
    rng = np.random.default_rng(0)
    tasks = FAMILY.sample(3, rng)
    surroundings = draw(FAMILY, tasks, rng, explore=0, measure=1, steps=60)
    row = torch.tensor([[gains.kp, gains.ki, gains.kd, gains.kff]])
    found = pid_errors(FAMILY, tasks, surroundings, row)[:, 0]
    for task in range(3):
        one = type(tasks)(*(column[task : task + 1] for column in tasks))
        coefficients, pid = FAMILY.coefficients(one), Pid(gains, manifest())
        state = ServoState(*(x[task : task + 1] for x in surroundings.start))
        target, encoder = surroundings.target[task : task + 1], surroundings.encoder[task : task + 1]
        obs, squares = observe(state, state, target[:, :, 0]), []
        for t in range(60):
            duty = float(pid.act(obs[0, 0].numpy(), np.zeros(1, np.float32))[0])
            following = FAMILY.step(state, torch.full((1, 1, 1), duty), coefficients, encoder[:, :, t])
            obs = observe(following, state, target[:, :, t + 1])
            state = following
            squares.append(float(obs[0, 0, 0] - obs[0, 0, 2]) ** 2)
        assert found[task].item() == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-3)


def test_candidates_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(0)
    tasks = FAMILY.sample(4, rng)
    surroundings = draw(FAMILY, tasks, rng, explore=0, measure=1, steps=30)
    gains = torch.tensor([[g.kp, g.ki, g.kd, g.kff] for g in GAINS])
    together = pid_errors(FAMILY, tasks, surroundings, gains)
    assert together.shape == (4, 3)
    for k in range(3):
        alone = pid_errors(FAMILY, tasks, surroundings, gains[k : k + 1])
        torch.testing.assert_close(alone[:, 0], together[:, k])


def test_the_search_is_seeded() -> None:
    first, again, other = (search(FAMILY, SMALL, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_search_ends_better_than_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rounds on the same servos never end worse, and far better than the middle of where they begin."""
    errors = [
        search(FAMILY, replace(SMALL, rounds=rounds), np.random.default_rng(3)).error for rounds in (1, 2, 6)
    ]
    assert errors == sorted(errors, reverse=True)
    middle = tuple(np.sqrt(np.multiply(pid_search._LOW, pid_search._HIGH)).tolist())
    monkeypatch.setattr(pid_search, "_LOW", middle)
    monkeypatch.setattr(pid_search, "_HIGH", middle)
    assert errors[-1] < 0.9 * search(FAMILY, SMALL, np.random.default_rng(3)).error


def test_what_is_found_is_what_was_measured() -> None:
    found = search(FAMILY, SMALL, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    tasks = FAMILY.sample(SMALL.tasks, rng)
    surroundings = draw(FAMILY, tasks, rng, explore=0, measure=1, steps=SMALL.episode_steps)
    gains = torch.tensor([[found.gains.kp, found.gains.ki, found.gains.kd, found.gains.kff]])
    assert found.error == pytest.approx(
        pid_errors(FAMILY, tasks, surroundings, gains).mean().item(), rel=1e-4
    )


def test_what_is_found_is_the_best_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[float] = []

    def watched(*arguments: object) -> torch.Tensor:
        errors = pid_errors(*arguments)  # type: ignore[arg-type]
        rounds.append(errors.mean(0).min().item())
        return errors

    monkeypatch.setattr(pid_search, "pid_errors", watched)
    last_was_best = set()
    for seed in range(8):
        rounds.clear()
        found = search(FAMILY, replace(SMALL, candidates=2), np.random.default_rng(seed))
        assert found.error == min(rounds)
        last_was_best.add(rounds[-1] == min(rounds))
    assert last_was_best == {True, False}


def test_a_controller_tests_its_sign_where_polarity_is_unknown_and_is_tuned_as_if_it_had() -> None:
    miswired = ServoFamily(replace(PRESETS["wide"], polarity=(-1.0, 1.0)))
    known, unknown = (search(family, SMALL, np.random.default_rng(0)) for family in (FAMILY, miswired))
    assert not known.gains.sign_test
    assert unknown.gains == replace(known.gains, sign_test=True)
    assert unknown.error == known.error
