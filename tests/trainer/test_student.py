"""Teacher to student: what the teacher says, about what, what the loss makes of it, and whom it teaches."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.command import cli
from acclimate_trainer.algorithms.distillation import student as distillation
from acclimate_trainer.algorithms.distillation.imitating import imitation_loss
from acclimate_trainer.algorithms.distillation.student import Student, StudentConfig
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig, ReactivePolicy
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Act, Policy, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from acclimate_trainer.play.trials import run_trial
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .servo_tasks import MISWIRED as FAMILY

GLIDERS = GliderFamily()
CONFIG = StudentConfig(
    hidden=6, episodes=2, episode_steps=10, side_by_side=3, explore=1, teacher="anywhere", imitation=0.6
)
TASKS = 4


def teacher(family: TaskFamily[Any] = FAMILY) -> Policy:
    algorithm = Reactive(family, ReactiveConfig(hidden=5), oracle=True)
    meta = algorithm.initial(np.random.default_rng(3))
    meta["w2"] = 10.0 * meta["w2"]
    return algorithm.policy(meta)


def nobody() -> Policy:
    raise AssertionError("nothing is to be imitated here")


def stacked(algorithm: Rl2[Any], tasks: int = TASKS) -> dict[str, Tensor]:
    initial = algorithm.initial(np.random.default_rng(0))
    return {
        name: value.expand(tasks, *value.shape).clone().requires_grad_() for name, value in initial.items()
    }


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_the_teacher_sees_what_the_student_saw_and_is_told_of_changes(
    family: TaskFamily[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its advice is what it does in the student's place, tick by tick, both in shares of full scale."""
    algorithm, seen = Student(family, CONFIG, partial(teacher, family)), list[Tensor]()
    view, complete = View.of(family), Complete.of(family)
    n_act = family.spec.n_act

    def spied(actions: Tensor, wanted: Tensor, tolerance: float) -> Tensor:
        seen.append(actions - wanted)
        return imitation_loss(actions, wanted, tolerance)

    monkeypatch.setattr(distillation, "imitation_loss", spied)
    meta = stacked(algorithm)
    algorithm.losses(meta, TASKS, np.random.default_rng(1), 0.5)
    trial = algorithm.trial(TASKS, np.random.default_rng(1), 0.5, explore=1)
    assert (trial.course.at < 20).any()
    expected, policy, tick = [], teacher(family), 0
    for part in run_trial(algorithm.policy(meta), meta, complete, trial):
        before = torch.zeros(TASKS, 3, n_act)
        for k in range(10):
            task = trial.course.told(complete, tick)
            told = {**stacked_constants(policy), "task": task, "previous_action": before}
            advice = policy.act(told, part.obs[:, :, k], torch.zeros(TASKS, 3, n_act)).action
            expected.append(view.normal(part.action[:, :, k]) - view.normal(advice))
            before, tick = view.normal(part.action[:, :, k]).clamp(-1.0, 1.0), tick + 1
    assert_close(seen[0], torch.stack(expected, dim=2), rtol=1e-4, atol=1e-5)


def test_the_error_that_is_reported_while_it_imitates_is_that_of_trials_without_noise() -> None:
    algorithm = Student(GLIDERS, CONFIG, partial(teacher, GLIDERS))
    found = []
    for sigma in (0.1, 3.0):
        meta = stacked(algorithm) | {"sigma": torch.full((TASKS, 1, 2), sigma)}
        found.append(algorithm.losses(meta, TASKS, np.random.default_rng(1), 0.0))
    assert torch.equal(found[0].report["error"], found[1].report["error"])
    assert not torch.equal(found[0].total, found[1].total)  # what is imitated is seen in all of them


def stacked_constants(policy: Policy) -> dict[str, Tensor]:
    constants = [t.name for t in policy.state if t.written_by is None and t.name != "task"]
    return {name: policy.initial()[name].expand(TASKS, *policy.initial()[name].shape) for name in constants}


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_no_gradient_of_imitation_passes_through_the_machine(family: TaskFamily[Any]) -> None:
    """It is that of a network that is shown what was observed, as a recording: what it brought about is given."""
    algorithm = Student(family, CONFIG, partial(teacher, family))
    meta, complete, view = stacked(algorithm), Complete.of(family), View.of(family)
    values = list(meta.values())
    losses = algorithm.losses(meta, TASKS, np.random.default_rng(1), 0.5)
    found = torch.autograd.grad(losses.total.sum(), values, materialize_grads=True)

    trial = algorithm.trial(TASKS, np.random.default_rng(1), 0.5, explore=1)
    noise = [part.noise for part in trial.episodes]
    with torch.no_grad():
        recorded = run_trial(algorithm.policy(meta), meta, complete, trial)
        wanted = algorithm.advice(trial, recorded)
    policy, actions = algorithm.policy(meta), []
    live = {**meta, "hidden": torch.zeros(TASKS, 3, CONFIG.hidden)}
    for part, given in zip(recorded, noise, strict=True):
        live["previous_action"] = torch.zeros(TASKS, 3, family.spec.n_act)
        live["begins"] = torch.ones(TASKS, 3, 1)
        for k in range(10):
            act = policy.act(live, part.obs[:, :, k], given[:, :, k])
            live |= act.next
            actions.append(view.normal(act.action))
    total = imitation_loss(torch.stack(actions, dim=2), wanted, CONFIG.tolerance)
    expected = torch.autograd.grad(total.sum(), values, materialize_grads=True)
    for name, one, other in zip(meta, found, expected, strict=True):
        assert_close(one, other, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert float(found[list(meta).index("recurrent")].abs().max()) > 1e-4


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
    student: Student[Any] = Student(FAMILY, CONFIG, nobody)
    rl2: Rl2[Any] = Rl2(FAMILY, Rl2Config(**vars_of(CONFIG)))
    meta = stacked(rl2)
    found = student.losses(meta, TASKS, np.random.default_rng(1), 0.6)
    expected = rl2.losses(meta, TASKS, np.random.default_rng(1), 0.6)
    assert torch.equal(found.total, expected.total)


def vars_of(config: StudentConfig) -> dict[str, int]:
    return {name: getattr(config, name) for name in ("hidden", "episodes", "episode_steps", "side_by_side")}


class Proportional(ReactivePolicy):
    """A teacher whose advice is easy to follow: full scale for about an eighth of a channel's range."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        del state
        pairs = self._view.family.inputs(obs)[..., : noise.shape[-1]]
        action = torch.clamp(0.7 * pairs, -1.0, 1.0)
        return Act(self._view.physical(action), {"previous_action": action}, {})


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_imitation_brings_the_student_closer_to_the_teacher(family: TaskFamily[Any]) -> None:
    config = ReactiveConfig(hidden=2)
    initial = Reactive(family, config, oracle=True).initial(np.random.default_rng(0))
    master = Proportional(initial, View.of(family), config, told=True)
    algorithm = Student(family, replace(CONFIG, hidden=8, imitation=1.0), lambda: master)
    settings, losses = TrainingConfig(iterations=60, meta_batch_size=8), list[float]()
    train(algorithm, settings, 0, start(algorithm, 0), lambda _, figures: losses.append(figures["imitation"]))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


STUDENT = """
name = "pupil"
seed = 0
[family]
name = "servo"
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
name = "servo"
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
    (tmp_path / "twisted.toml").write_text(
        MASTER.replace('name = "servo"', 'name = "servo"\noptions.preset = "miswired"')
    )
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
            "[student] teacher: there is no run master; train one with [oracle] on the same family first, as in "
            "acclimate train servo_wide_oracle",
        ),
        (
            "twisted.toml",
            "[student] teacher: master was trained on the family servo with other ranges or channels than pupil is for "
            "(servo); train [oracle] with the same [family]",
        ),
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
