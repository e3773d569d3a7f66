"""Actor-Mimic: each teacher learns its own machine alone, the student learns from each on that machine, and what it
has learned is where other training begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.command import cli
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.distillation.imitating import choice_loss, feature_loss
from acclimate_trainer.algorithms.distillation.mimic import Mimic, MimicConfig
from acclimate_trainer.algorithms.distillation.pupils import (
    CategoricalPupil,
    Pupil,
    ReactivePupil,
    RecurrentPupil,
    Seen,
)
from acclimate_trainer.algorithms.distillation.teachers import Told, Valued, learn_alone
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.categorical import Scene
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy, stacked
from acclimate_trainer.contract.sources import Sources
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, Losses, Progress, TrainingConfig, start, train
from acclimate_trainer.play.rollouts import headline
from acclimate_trainer.play.trials import draw_trial, run_trial, trial_costs
from acclimate_trainer.play.watched import play
from acclimate_trainer.runs.run_directory import RunDirectory
from acclimate_trainer.tasks.point import PointFrameFamily
from acclimate_trainer.tasks.reacher import ReacherFamily
from acclimate_trainer.tasks.servo.family import ServoFamily
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily

POINTS = Complete.of(PointFrameFamily())
CONFIG = MimicConfig(
    hidden=6, episodes=2, episode_steps=12, side_by_side=3, explore=1, teachers=3, teaching=0.5
)
TRAINING = TrainingConfig(iterations=4, meta_batch_size=5, compiled=False)


def nobody() -> Policy:
    raise AssertionError("nobody is told anything here")


def mimic(config: MimicConfig = CONFIG) -> Mimic[Any]:
    return Mimic(POINTS, config, nobody)


def trained(algorithm: Mimic[Any], training: TrainingConfig) -> list[Progress]:
    """After every iteration."""
    found = [start(algorithm, 0)]
    train(algorithm, training, 0, found[0], lambda after, _: found.append(after))
    return found


def changed(before: Progress, after: Progress) -> set[str]:
    return {name for name, value in before.meta.items() if not torch.equal(value, after.meta[name])}


def test_sources_are_drawn_in_turn_and_never_change() -> None:
    machines = POINTS.sample(3, np.random.default_rng(3))
    sources, rng = Sources(POINTS, machines), np.random.default_rng(0)
    drawn = sources.sample(5, rng)
    assert torch.equal(sources.parameters(drawn), POINTS.parameters(machines)[[0, 1, 2, 0, 1]])
    assert not sources.changes
    assert sources.change(drawn, rng) is drawn


def test_first_the_teachers_learn_and_then_nothing_but_the_student() -> None:
    steps = trained(mimic(), TRAINING)
    teachers = {name for name in steps[0].meta if name.startswith(FOR_TRAINING + "teacher.")}
    student = set(steps[0].meta) - teachers - {"sigma"}
    learned = [changed(before, after) for before, after in pairwise(steps)]
    assert all(names == teachers - {FOR_TRAINING + "teacher.sigma"} for names in learned[:2])
    assert all(names == student for names in learned[2:])


def test_a_teacher_learns_from_its_own_machine_alone() -> None:
    """As if there were no others, which only a stack of parameters would tell."""
    algorithm = mimic()
    assert algorithm.specialists is not None
    meta = {n: v.requires_grad_() for n, v in algorithm.initial(np.random.default_rng(0)).items()}
    own = algorithm.specialists.own(meta)
    (losses,) = algorithm.specialists.pieces(np.random.default_rng(1), 0.5)
    total = losses(own).total
    for number in range(3):
        gradients = torch.autograd.grad(total[number], list(own.values()), retain_graph=True)
        others = [other for other in range(3) if other != number]
        assert all((g[others] == 0.0).all() for g in gradients)
        assert any((g[number] != 0.0).any() for g in gradients)


@pytest.mark.parametrize("memory", [True, False])
def test_what_is_thought_along_a_drive_is_what_the_policy_does_there(memory: bool) -> None:
    """Of one network, and of several that are stacked, on machines whose actions are neither within ±1 nor around 0."""
    family = Complete.of(GliderFamily())
    view = View.of(family)
    pupil: Pupil = RecurrentPupil(view, 5) if memory else ReactivePupil(view, ReactiveConfig(hidden=5))
    algorithm = Rl2(family, CONFIG)
    trial = algorithm.trial(4, np.random.default_rng(0), 1.0, explore=0)
    params = pupil.initial(np.random.default_rng(1))
    copies = {name: value.expand(4, *value.shape) for name, value in params.items()}
    with torch.no_grad():
        episodes = run_trial(pupil.policy(params), copies, family, trial)
        seen = Seen.of(view, episodes)
        done = view.normal(torch.cat([part.action for part in episodes], dim=2))
        assert_close(pupil.thought(copies, seen).action, done, rtol=1e-4, atol=1e-5)
        alone = Seen(*(column.flatten(0, 1).unsqueeze(0) for column in seen))
        one = {name: value.unsqueeze(0) for name, value in params.items()}
        assert_close(pupil.thought(one, alone).action.view_as(done), done, rtol=1e-4, atol=1e-5)


def test_the_student_is_taught_by_the_teacher_of_the_machine_that_it_drives() -> None:
    """A student that is one of the teachers has nothing to learn on its machine, and much on the others."""
    algorithm = mimic(replace(CONFIG, features=0.0, explore=0))
    meta = algorithm.initial(np.random.default_rng(0))
    assert algorithm.specialists is not None
    rng = torch.Generator().manual_seed(0)
    for name, value in meta.items():
        if name.startswith(FOR_TRAINING):
            value += 0.3 * torch.randn(value.shape, generator=rng)
    own = {name: value[1] for name, value in algorithm.specialists.own(meta).items()}
    trial = algorithm.trial(3, np.random.default_rng(0), 1.0)
    played = play(algorithm.policy(own), algorithm.specialists.family, trial).episodes
    seen = Seen.of(View.of(POINTS), [type(p)(*(c.view(3, 3, *c.shape[2:]) for c in p)) for p in played])
    wanted = algorithm.specialists.thought(meta, trial.course, seen).action
    done = torch.cat([part.action for part in played], dim=2).view_as(wanted)
    away = (wanted - done).abs().amax(dim=(1, 2, 3))
    assert away[1] < 1e-5
    assert away[[0, 2]].min() > 1e-2


def test_features_are_compared_in_units_of_how_the_teachers_vary() -> None:
    wanted = torch.randn(4, 3, 50, 6, generator=torch.Generator().manual_seed(0))
    ignorant = wanted.mean(dim=(0, 1, 2)).expand_as(wanted)
    for unit in (1.0, 20.0):
        assert feature_loss(unit * wanted, unit * wanted).item() == 0.0
        assert feature_loss(unit * ignorant, unit * wanted).item() == pytest.approx(1.0, rel=0.02)


def error(policy: Policy, family: Complete[Any], params: dict[str, Tensor]) -> Tensor:
    trial = Rl2(family, CONFIG).trial(3, np.random.default_rng(5), 1.0)
    with torch.no_grad():
        return headline(trial_costs(family, run_trial(policy, params, family, trial))[0])


def test_the_student_drives_all_that_its_teachers_drive() -> None:
    config = replace(CONFIG, hidden=12, episode_steps=20, side_by_side=6)
    training = TrainingConfig(iterations=100, meta_batch_size=6)
    algorithm: Mimic[Any] = Mimic(PointFrameFamily(turn=0.8), config, nobody)
    assert algorithm.specialists is not None
    begin, *_, end = trained(algorithm, training)
    found = []
    for meta in (begin.meta, end.meta):
        own = {name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)}
        copies = {name: value.expand(3, *value.shape) for name, value in own.items()}
        found.append(error(algorithm.policy(meta), algorithm.specialists.family, copies))
    assert found[1].mean() < 0.7 * found[0].mean()


REACHER = Complete.of(ReacherFamily(targets="test"))
LIBRARY = Successor(REACHER, SuccessorConfig(hidden=8, train_on=("east", "north")))


def library() -> Policy:
    return LIBRARY.policy(LIBRARY.initial(np.random.default_rng(2)))


def test_where_actions_are_choices_the_student_learns_a_librarys_values() -> None:
    """Its own trial says what it sees: greedy, its choices have the largest scores; and all that is its own learns."""
    config = replace(CONFIG, teacher="anywhere", explore=0, episode_steps=8)
    algorithm: Mimic[Any] = Mimic(REACHER, config, library)
    before, *_, after = trained(algorithm, replace(TRAINING, iterations=2))
    assert changed(before, after) == set(before.meta)
    own = {name: v for name, v in after.meta.items() if not name.startswith(FOR_TRAINING)}
    trial = algorithm.trial(2, np.random.default_rng(0), 1.0)
    played = list(play(algorithm.policy(own), REACHER, trial).episodes)
    seen = Seen.of(View.of(REACHER), played)
    pupil = CategoricalPupil(Scene.of(REACHER, (0.0, 0.5)), config.hidden)
    scores = pupil.thought({name: v.unsqueeze(0) for name, v in own.items()}, seen).action
    chosen = pupil.scene.choices.taken(seen.done)
    assert_close((scores * chosen).sum(-1), scores.amax(-1), rtol=1e-4, atol=1e-5)


def test_a_library_is_told_what_each_machine_is_rewarded_for() -> None:
    """The values of one policy are those of GPI for the target of the machine that was driven."""
    teacher: Valued[Any] = Valued(REACHER, library)
    algorithm: Mimic[Any] = Mimic(REACHER, replace(CONFIG, teacher="anywhere"), library)
    trial = algorithm.trial(3, np.random.default_rng(0), 1.0)
    obs = torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(3, 2, 4, 2)
    values = teacher.thought({}, trial.course, Seen(obs, none, none[..., :1], none)).action
    state = stacked(teacher.policy, 3, 1) | {"task_vector": trial.course.before.w}
    psi = teacher.policy.psi(state, REACHER.inputs(obs).flatten(1, 2))
    expected = torch.einsum("trpad,td->trpa", psi, trial.course.before.w).amax(2)
    assert_close(values.flatten(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_choices_are_those_of_softened_values_whatever_their_unit() -> None:
    values = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    for unit in (0.01, 1.0, 100.0):
        spread = (unit * values).std(-1).mean()
        right = unit * values / (0.2 * spread)
        best = choice_loss(right, unit * values, 0.2)
        assert best < choice_loss(0.9 * right, unit * values, 0.2)
        assert best < choice_loss(1.1 * right, unit * values, 0.2)
        assert best.item() == pytest.approx(
            choice_loss(5.0 * values / values.std(-1).mean(), values, 0.2).item(), rel=0.02
        )


def test_who_chooses_needs_a_teacher_and_a_memory() -> None:
    for wrong in ({}, {"teacher": "anywhere", "memory": False}):
        with pytest.raises(UsageError, match="whose actions are choices, needs memory = true and a teacher"):
            Mimic(REACHER, replace(CONFIG, **wrong), nobody)  # type: ignore[arg-type]


MIMIC = """
name = "sources"
seed = 0
[family]
name = "point_frame"
[mimic]
hidden = 4
teachers = 2
episodes = 1
episode_steps = 10
side_by_side = 2
explore = 1
[training]
iterations = 2
meta_batch_size = 2
"""
TARGET = """
name = "target"
seed = 1
start = "runs/sources"
[family]
name = "point_frame"
[rl2]
hidden = 4
episodes = 1
episode_steps = 10
side_by_side = 2
[training]
iterations = 1
meta_batch_size = 2
outer_lr = 1e-9
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources.toml").write_text(MIMIC)
    (tmp_path / "target.toml").write_text(TARGET)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_training_begins_with_what_another_run_has_learned() -> None:
    assert cli.main(["train", "sources.toml"]) == 0
    assert cli.main(["train", "target.toml"]) == 0
    source, target = (RunDirectory.open(Path("runs", name)).load() for name in ("sources", "target"))
    assert source is not None
    assert target is not None
    assert not any(name.startswith(FOR_TRAINING) for name in target.meta)
    for name, value in target.meta.items():
        assert_close(value, source.chosen[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("runs/sources", "runs/none", "target: start: there is no run runs/none; train one first"),
        ("hidden = 4", "hidden = 5", "trained [mimic], whose network is not that of [rl2] here"),
        (
            'name = "point_frame"',
            'name = "servo"',
            "what is trained in runs/sources cannot drive this family: the control period is 0.02 s in the source and "
            "0.01 s in the target; observation ",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_any_training(
    here: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert cli.main(["train", "sources.toml"]) == 0
    (here / "target.toml").write_text(TARGET.replace(old, new))
    capsys.readouterr()
    assert cli.main(["train", "target.toml"]) == 2
    assert sentence in capsys.readouterr().err
    assert not (here / "runs" / "target").exists()


def test_settings_that_no_student_can_have_are_refused() -> None:
    for wrong, words in (
        ({"explore": 4}, "explore must be from 0 to side_by_side, 3, found 4"),
        ({"window": 12, "memory": False}, "window must be 0 without a memory, found 12"),
        ({"teachers": 0}, "teachers must be at least 1, found 0"),
    ):
        with pytest.raises(Exception, match=words):
            replace(CONFIG, **wrong)  # type: ignore[arg-type]


def test_an_oracle_may_teach_in_place_of_many() -> None:
    """It is told each machine's parameters, and so is what the student's features are to tell."""
    oracle = Reactive(POINTS, ReactiveConfig(hidden=5), oracle=True)
    policy = oracle.policy(oracle.initial(np.random.default_rng(0)))
    algorithm: Mimic[Any] = Mimic(POINTS, replace(CONFIG, teacher="anywhere"), lambda: policy)
    before, *_, after = trained(algorithm, TRAINING)
    assert changed(before, after) == set(before.meta) - {"sigma"}
    assert before.meta[FOR_TRAINING + "map"].shape == (1, 7, 2)


def test_an_oracle_that_teaches_is_told_of_a_change_in_the_tick_in_which_it_happens() -> None:
    """What it is told and what it would do, tick by tick, each with what is true then."""
    family: Complete[Any] = Complete.of(ServoFamily("miswired"))
    oracle = Reactive(family, ReactiveConfig(hidden=4), oracle=True)
    policy, view = oracle.policy(oracle.initial(np.random.default_rng(0))), View.of(family)
    trial = draw_trial(family, 3, np.random.default_rng(1), side_by_side=2, episodes=2, steps=6, change=1.0)
    state = {n: v for n, v in stacked(policy, 3, 2).items() if n not in {"previous_action", "task"}}
    seen = Seen.of(view, run_trial(policy, state, family, trial))
    thought = Told(family, lambda: policy).thought({}, trial.course, seen)
    assert all(2 < int(at) < 10 for at in trial.course.at)
    for tick in range(12):
        task = trial.course.told(family, tick)
        for beside in range(2):
            told = stacked(policy, 3, 1) | {"task": task}
            told["previous_action"] = seen.previous[:, beside : beside + 1, tick]
            act = policy.act(told, seen.obs[:, beside : beside + 1, tick], torch.zeros(3, 1, 1))
            assert_close(thought.action[:, beside, tick], view.normal(act.action)[:, 0], rtol=1e-4, atol=1e-5)
            assert_close(thought.features[:, beside, tick], view.told(task, 1)[:, 0])


def test_each_teachers_gradient_is_clipped_by_itself_and_one_that_is_not_finite_is_left_out() -> None:
    own = {"a": torch.zeros(3, 2).requires_grad_(), "b": torch.zeros(3, 1).requires_grad_()}
    pulls = torch.tensor([0.03, 30.0, float("nan")])

    def losses(params: Mapping[str, Tensor]) -> Losses:
        total = pulls * (3.0 * params["a"][:, 0] + 4.0 * params["b"][:, 0])
        return Losses(total, {"error": torch.tensor([1.0, 3.0, float("nan")])})

    figures = learn_alone(losses, own, replace(TRAINING, task_clip=0.5))
    assert figures == {"error": 2.0}
    assert own["a"].grad is not None
    assert own["b"].grad is not None
    assert_close(own["a"].grad, torch.tensor([[0.09, 0.0], [0.3, 0.0], [0.0, 0.0]]))
    assert_close(own["b"].grad, torch.tensor([[0.12], [0.4], [0.0]]))
