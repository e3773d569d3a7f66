"""Every algorithm on a machine with two unlike actuators: each is driven, whatever its units, and is learned about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from acclimate.task.spec import TaskSpec
from acclimate_trainer.algorithms.distillation.student import Student, StudentConfig
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config, Rl2Policy
from acclimate_trainer.algorithms.successor.objectives import Objectives, ObjectivesConfig
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Step, TaskFamily
from acclimate_trainer.contract.policy import Act, Policy, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import PerTask, TrainingConfig, start, train
from acclimate_trainer.play.trials import draw_trial, run_trial, trial_costs
from torch import Tensor
from torch.testing import assert_close

from .families import SPEC, GliderFamily, Gliders, GliderSession, HomingFamily

STRAIGHT = GliderFamily(mirrored=False)  # of which it is known how they are rigged
ALONE = ReactiveConfig(hidden=8, episodes=2, episode_steps=15, curriculum=(0.0, 0.1))
TRIAL = {"episodes": 1, "episode_steps": 25, "side_by_side": 2, "change": 0.0, "curriculum": (0.0, 0.3)}
RECURRENT = Rl2Config(hidden=12, block=5, adjoint_decay=0.93, **TRIAL)  # type: ignore[arg-type]
ADAPTIVE = MamlConfig(
    hidden=8, adapt_steps=1, support_episodes=3, query_episodes=1, episode_steps=15, initial_gain=0.3
)
AIMS = ObjectivesConfig(hidden=8, mixing=8, critic=8, actor_share=1.0, **TRIAL)  # type: ignore[arg-type]
PUPIL = StudentConfig(hidden=8, explore=1, teacher="anywhere", **TRIAL)  # type: ignore[arg-type]


def teacher(family: TaskFamily[Any]) -> Callable[[], Policy]:
    algorithm = Reactive(family, ALONE, oracle=True)
    return lambda: algorithm.policy(algorithm.initial(np.random.default_rng(7)))


class Case(NamedTuple):
    """An algorithm on a family, and for how long it learns until the reported figure is a share of what it was."""

    make: Callable[[TaskFamily[Any]], PerTask]
    family: TaskFamily[Any] = GliderFamily()
    iterations: int = 1
    figure: str = "error"
    share: float = 1.0


CASES: Mapping[str, Case] = {
    "robust": Case(lambda f: Reactive(f, ALONE, oracle=False), STRAIGHT, 30, share=0.2),
    "oracle": Case(lambda f: Reactive(f, ALONE, oracle=True), iterations=60, share=0.6),
    "rl2": Case(lambda f: Rl2(f, RECURRENT), iterations=150, share=0.5),
    "rl2_oracle": Case(lambda f: Rl2(f, RECURRENT, oracle=True), iterations=60, share=0.5),
    "maml": Case(lambda f: Maml(f, ADAPTIVE), iterations=40, figure="error_1", share=0.4),
    "objectives": Case(lambda f: Objectives(f, AIMS), STRAIGHT, 40, figure="exact", share=0.2),
}
EVERY = {name: case.make for name, case in CASES.items()} | {
    "student": lambda f: Student(f, PUPIL, teacher(f))
}


def figures(
    algorithm: PerTask, meta: Tensors, tasks: int = 64, progress: float = 0.99
) -> Mapping[str, Tensor]:
    """Of always the same machines, (T,)."""
    many = {name: value.expand(tasks, *value.shape) for name, value in meta.items()}
    with torch.no_grad():
        losses = algorithm.losses(many, tasks, np.random.default_rng(77), progress)
    return {"total": losses.total, **losses.report}


@cache
def trained(name: str) -> tuple[PerTask, Tensors, Tensors]:
    """The algorithm, and its parameters before and after."""
    case, after = CASES[name], list[Tensors]()
    algorithm = case.make(case.family)
    config, begin = (
        TrainingConfig(iterations=case.iterations, meta_batch_size=8, outer_lr=0.03),
        start(algorithm, 0),
    )
    train(algorithm, config, 0, begin, lambda progress, _: after.append(progress.meta))
    return algorithm, begin.meta, after[-1]


@pytest.mark.parametrize("name", CASES)
def test_it_learns_in_a_few_iterations(name: str) -> None:
    (algorithm, *both), case = trained(name), CASES[name]
    before, after = (float(figures(algorithm, meta)[case.figure].mean()) for meta in both)
    assert abs(after) < case.share * abs(before)


class Amnesic(Rl2Policy):
    """Remembers nothing from one tick to the next."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        return super().act({**state, "hidden": torch.zeros_like(state["hidden"])}, obs, noise)


def test_what_it_has_learned_is_to_adapt_in_its_memory() -> None:
    """In the second half of a trial, by when it can know how it is rigged."""
    _, _, meta = trained("rl2")
    complete, view, errors = Complete.of(GliderFamily()), View.of(GliderFamily()), []
    many = {name: value.expand(64, *value.shape) for name, value in meta.items()}
    for policy in (Rl2Policy(meta, view), Amnesic(meta, view)):
        trial = draw_trial(complete, 64, np.random.default_rng(5), side_by_side=1, episodes=1, steps=25)
        with torch.no_grad():
            (cost,) = trial_costs(complete, run_trial(policy, many, complete, trial))
        errors.append(cost.values[:, :, 12:].mean(dim=(1, 2)).sqrt().median())
    assert errors[0] < 0.6 * errors[1]


def test_a_step_is_worth_most_of_the_error() -> None:
    algorithm, _, meta = trained("maml")
    found = figures(algorithm, meta)
    assert found["error_1"].mean() < 0.5 * found["error_0"].mean()


@pytest.mark.parametrize("name", EVERY)
def test_every_actuator_is_driven_and_learned_about(name: str) -> None:
    """What the network puts out for one of them depends on parameters of its own, which the loss reaches."""
    algorithm = EVERY[name](GliderFamily())
    begin = algorithm.initial(np.random.default_rng(0))
    meta = {n: v.expand(4, *v.shape).clone().requires_grad_() for n, v in begin.items()}
    losses = algorithm.losses(meta, 4, np.random.default_rng(1), 0.5)
    last = {"objectives": "controller", "student": "direct", "rl2": "direct", "rl2_oracle": "direct"}.get(
        name, "w2"
    )
    gradient = torch.autograd.grad(losses.total.sum(), meta[last])[0]
    each = gradient.unflatten(-1, (2, -1)).abs().amax(dim=(0, 1, 3))
    assert (each > 1e-6).all()


@dataclass(frozen=True)
class AskedFamily(GliderFamily):
    """Keeps at what progress machines were asked for, and changed."""

    asked: list[tuple[str, float]] = field(default_factory=list)

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Gliders:
        if n < 100:  # not for what is typical
            self.asked.append(("sample", progress))
        return super().sample(n, rng, progress)

    def change(self, tasks: Gliders, rng: np.random.Generator, progress: float = 1.0) -> Gliders:
        self.asked.append(("change", progress))
        return super().change(tasks, rng, progress)


@pytest.mark.parametrize("name", sorted(EVERY.keys() - {"maml"}))
@pytest.mark.parametrize(("done", "share"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.9, 1.0)])
def test_harder_machines_come_as_the_curriculum_says(name: str, done: float, share: float) -> None:
    """Between the shares of training that it names: here 0 and .1, or 0 and .3."""
    family = AskedFamily()
    recurrent = name not in ("robust", "oracle")
    at = 3.0 * done if recurrent and done < 0.9 else done
    figures(EVERY[name](family), EVERY[name](family).initial(np.random.default_rng(0)), 2, at)
    kinds = ["sample", "change"] if recurrent else ["sample"]
    assert family.asked == [(kind, pytest.approx(share)) for kind in kinds]


# Units.


class InOtherUnits(GliderSession):
    """Takes tilt in degrees, and lift as a share of its range."""

    def step(self, action: Tensor) -> Step:
        tilt, lift = action.unbind(-1)
        return super().step(torch.stack([torch.deg2rad(tilt), 3.0 * lift], dim=-1))


class ForeignFamily(GliderFamily):
    @property
    def spec(self) -> TaskSpec:
        tilt, lift = SPEC.action
        most = float(np.rad2deg(tilt.maximum))
        return replace(
            SPEC,
            action=(
                replace(tilt, unit="°", minimum=-most, maximum=most),
                replace(lift, unit="1", maximum=1.0, neutral=0.5),
            ),
            features=SPEC.features[:2],
        )

    def open(self, tasks: Gliders, episodes: int, steps: int, rng: np.random.Generator) -> GliderSession:
        return InOtherUnits(tasks, super().open(tasks, episodes, steps, rng).state[0])


class PlainFamily(GliderFamily):
    """As they are, but for what looks at actions."""

    spec = replace(SPEC, features=SPEC.features[:2])  # type: ignore[assignment]


@pytest.mark.parametrize("name", EVERY)
def test_the_units_of_actions_do_not_matter(name: str) -> None:
    found = []
    for family in (PlainFamily(), ForeignFamily()):
        algorithm = EVERY[name](family)
        found.append(figures(algorithm, algorithm.initial(np.random.default_rng(0)), 6, 0.5))
    for key, value in found[0].items():
        assert_close(found[1][key], value, rtol=2e-3, atol=1e-4)


# A machine that measures its reward.


def test_a_reward_that_is_measured_is_learned_from() -> None:
    algorithm = Reactive(HomingFamily(mirrored=False), ALONE, oracle=False)
    begin, after = start(algorithm, 0), list[Tensors]()
    config = TrainingConfig(iterations=30, meta_batch_size=8, outer_lr=0.03)
    train(algorithm, config, 0, begin, lambda progress, _: after.append(progress.meta))
    costs = [float(figures(algorithm, meta)["return"].mean()) for meta in (begin.meta, after[-1])]
    assert costs[1] < 0.3 * costs[0]


@pytest.mark.parametrize("name", ["maml", "rl2", "rl2_oracle", "oracle", "student"])
def test_every_algorithm_takes_a_step_on_a_measured_reward(name: str) -> None:
    algorithm = EVERY[name](HomingFamily())
    meta = {
        n: v.expand(3, *v.shape).clone().requires_grad_()
        for n, v in algorithm.initial(np.random.default_rng(0)).items()
    }
    losses = algorithm.losses(meta, 3, np.random.default_rng(1), 0.9)
    assert losses.total.isfinite().all()
    gradients = torch.autograd.grad(losses.total.sum(), list(meta.values()), materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0.0
