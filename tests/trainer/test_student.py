"""Teacher to student: what the teacher says, about what, and what the loss makes of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.command import cli
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig, ReactivePolicy
from acclimate_trainer.algorithms.rl2 import student as distillation
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.algorithms.rl2.student import Student, StudentConfig, imitation_loss
from acclimate_trainer.contract.policy import Act, Policy, Tensors
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from acclimate_trainer.play.trials import run_trial
from acclimate_trainer.tasks.servo import PRESETS, ServoFamily
from torch import Tensor
from torch.testing import assert_close

FAMILY = ServoFamily(PRESETS["miswired"])
CONFIG = StudentConfig(
    hidden=6, episodes=2, episode_steps=10, side_by_side=3, explore=1, teacher="anywhere", imitation=0.6
)
TASKS = 4


def teacher() -> Policy:
    algorithm = Reactive(FAMILY, ReactiveConfig(hidden=5), oracle=True)
    meta = algorithm.initial(np.random.default_rng(3))
    meta["w2"] = 10.0 * meta["w2"]
    return algorithm.policy(meta)


def nobody() -> Policy:
    raise AssertionError("nothing is to be imitated here")


def stacked(algorithm: Rl2, tasks: int = TASKS) -> dict[str, Tensor]:
    initial = algorithm.initial(np.random.default_rng(0))
    return {
        name: value.expand(tasks, *value.shape).clone().requires_grad_() for name, value in initial.items()
    }


def test_the_teacher_sees_what_the_student_saw_and_is_told_of_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its advice is what it does in the student's place, tick by tick."""
    algorithm, seen = Student(FAMILY, CONFIG, teacher), list[Tensor]()

    def spied(actions: Tensor, wanted: Tensor, tolerance: float) -> Tensor:
        seen.append(actions - wanted)
        return imitation_loss(actions, wanted, tolerance)

    monkeypatch.setattr(distillation, "imitation_loss", spied)
    meta = stacked(algorithm)
    algorithm.losses(meta, TASKS, np.random.default_rng(1), 0.5)
    trial = algorithm.trial(TASKS, np.random.default_rng(1), 0.5, explore=1)
    assert (trial.course.at < 20).any()
    expected, policy, tick = [], teacher(), 0
    for part in run_trial(algorithm.policy(meta), meta, FAMILY, trial):
        before = torch.zeros(TASKS, 3, 1)
        for k in range(10):
            told = {**stacked_constants(policy), "task": trial.course.told(tick), "previous_action": before}
            advice = policy.act(told, part.obs[:, :, k], torch.zeros(TASKS, 3, 1)).action
            expected.append(part.action[:, :, k] - advice)
            before, tick = part.action[:, :, k].clamp(-1.0, 1.0), tick + 1
    assert_close(seen[0], torch.stack(expected, dim=2), rtol=1e-4, atol=1e-5)


def stacked_constants(policy: Policy) -> dict[str, Tensor]:
    constants = [t.name for t in policy.state if t.written_by is None and t.name != "task"]
    return {name: policy.initial()[name].expand(TASKS, *policy.initial()[name].shape) for name in constants}


def test_the_loss_measures_actions_by_what_the_teacher_usually_does() -> None:
    wanted = torch.tensor([[0.1, -0.1], [0.3, -0.4]]).view(2, 1, 2, 1)
    usual = torch.tensor([0.1, math.sqrt(0.125)])
    expected = torch.log1p((0.2 / (0.5 * usual)) ** 2)
    assert_close(imitation_loss(wanted + 0.2, wanted, 0.5), expected, rtol=0.03, atol=0)


def test_of_two_actions_that_may_be_right_it_prefers_either_to_what_lies_between() -> None:
    wanted = torch.tensor([0.4, -0.4]).view(1, 2, 1, 1)

    def loss(action: float) -> float:
        return imitation_loss(torch.full((1, 2, 1, 1), action), wanted, 0.5).item()

    assert loss(0.4) == pytest.approx(loss(-0.4))
    assert loss(0.4) < 0.9 * loss(0.0)
    assert loss(0.0) > loss(0.2) > loss(0.38)  # downhill all the way


def test_after_imitation_the_tracking_error_itself_counts() -> None:
    student, rl2 = Student(FAMILY, CONFIG, nobody), Rl2(FAMILY, Rl2Config(**vars_of(CONFIG)))
    meta = stacked(rl2)
    found = student.losses(meta, TASKS, np.random.default_rng(1), 0.6)
    expected = rl2.losses(meta, TASKS, np.random.default_rng(1), 0.6)
    assert torch.equal(found.total, expected.total)


def vars_of(config: StudentConfig) -> dict[str, int]:
    return {name: getattr(config, name) for name in ("hidden", "episodes", "episode_steps", "side_by_side")}


class Proportional(ReactivePolicy):
    """A teacher whose advice is easy to follow: full duty for a quarter of a radian."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        del state, noise
        duty = torch.clamp(4.0 * (obs[..., 2:3] - obs[..., :1]), -1.0, 1.0)
        return Act(duty, {"previous_action": duty}, {})


def test_imitation_brings_the_student_closer_to_the_teacher() -> None:
    oracle = Reactive(FAMILY, ReactiveConfig(hidden=2), oracle=True)
    master = Proportional(oracle.initial(np.random.default_rng(0)), torch.ones(2, 9))
    algorithm = Student(FAMILY, replace(CONFIG, hidden=8, imitation=1.0), lambda: master)
    settings, losses = TrainingConfig(iterations=60, meta_batch_size=8), list[float]()
    train(algorithm, settings, 0, start(algorithm, 0), lambda _, figures: losses.append(figures["imitation"]))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


STUDENT = """
name = "pupil"
seed = 0
[family]
[student]
teacher = "master"
hidden = 4
episodes = 1
episode_steps = 10
side_by_side = 2
explore = 1
[training]
iterations = 3
meta_batch_size = 2
"""
MASTER = """
name = "master"
seed = 0
[family]
[oracle]
hidden = 4
episodes = 1
episode_steps = 10
[training]
iterations = 1
meta_batch_size = 2
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pupil.toml").write_text(STUDENT)
    (tmp_path / "master.toml").write_text(MASTER)
    (tmp_path / "other.toml").write_text(MASTER.replace("[oracle]", "[robust]"))
    (tmp_path / "twisted.toml").write_text(MASTER.replace("[family]", "[family]\npreset = 'miswired'"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_a_student_is_trained_by_a_run_of_an_oracle(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "master.toml", "--out", "master"]) == 0
    assert cli.main(["train", "pupil.toml"]) == 0
    assert "pupil: student trained for 3 iterations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            None,
            "[student] teacher: there is no run master; train an oracle first, as in "
            "acclimate train servo_wide_oracle",
        ),
        ("twisted.toml", "[student] teacher: master knows preset miswired, expected wide"),
        ("other.toml", "[student] teacher: master trained [robust], expected [oracle]"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], config: str | None, sentence: str
) -> None:
    if config is not None:
        assert cli.main(["train", config, "--out", "master"]) == 0
    capsys.readouterr()
    assert cli.main(["train", "pupil.toml"]) == 2
    assert sentence in capsys.readouterr().err
    assert not (here / "runs" / "pupil").exists()


def test_a_teacher_that_has_not_learned_anything_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "master.toml", "--out", "master"]) == 0
    (here / "master" / "checkpoint.pt").unlink()
    assert cli.main(["train", "pupil.toml"]) == 2
    assert "nothing is trained in master yet" in capsys.readouterr().err


def test_a_policy_is_rebuilt_without_its_teacher() -> None:
    algorithm = Student(FAMILY, CONFIG, nobody)
    meta = algorithm.initial(np.random.default_rng(0))
    assert not isinstance(algorithm.policy(meta), ReactivePolicy)
