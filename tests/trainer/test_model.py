"""A model that adapts to its own prediction errors: its rows, its three forms, and the policies that drive by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import Metric, TaskSpec
from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.context import Context
from acclimate_trainer.algorithms.model.form import Form, predicted
from acclimate_trainer.algorithms.model.gradient import Gradient
from acclimate_trainer.algorithms.model.model import FormName, Model, ModelConfig
from acclimate_trainer.algorithms.model.planner import PlanningPolicy
from acclimate_trainer.algorithms.model.policies import ModelPolicy
from acclimate_trainer.algorithms.model.priors import Priors
from acclimate_trainer.algorithms.model.rows import Layout, Rows
from acclimate_trainer.algorithms.model.square_root import solution, triangle
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Policy, Tensors, Window, stacked
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .policy_conformance import AdaptivePolicyConformance, PolicyConformance
from .servo_tasks import FAMILY

SMALL = ModelConfig(hidden=6, model_hidden=8, size=4, side_by_side=2)


def model(form: FormName, family: TaskFamily[Any] = FAMILY, **changes: Any) -> ModelPolicy:
    algorithm = Model(family, replace(SMALL, form=form, **changes))
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class TestContext(AdaptivePolicyConformance):
    counters = ("root",)

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """Each task's root is another multiple of the first one: not every matrix is one."""
        state = PolicyConformance.state(self, policy, tasks, episodes, seed=seed)
        times = 1.0 + 0.1 * torch.arange(tasks).view(-1, 1, 1) + 0.1 * seed
        state["root"] = policy.initial()["root"] * times
        return state

    @pytest.fixture
    def policy(self) -> Policy:
        return model("context")


class TestGradient(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("gradient")


class TestPriors(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("priors")


class TestContextOnGliders(TestContext):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("context", GliderFamily())


class TestPlanner(TestContext):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("context", act="planner", samples=8, blocks=2)


class TestPlannerOnGliders(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("gradient", GliderFamily(), act="planner", samples=8, blocks=2, past=0)


# The rows.


def test_a_row_says_what_was_done_and_what_came_of_it() -> None:
    layout = Layout(View.of(GliderFamily()), past=2, ahead=3)
    rng = torch.Generator().manual_seed(0)
    spec = layout.view.family.spec
    window = Window(
        0.1 * torch.randn(2, 1, layout.steps(5) + 1, spec.n_obs, generator=rng),
        torch.zeros(2, 1, layout.steps(5), spec.n_act),
        torch.ones(2, 1, layout.steps(5)),
    )
    rows = layout.rows(window)
    assert rows.x.shape == (2, 5, layout.n_x)
    sensors = layout.scaled(window.obs[:, 0, :, layout.columns])
    assert_close(rows.x[:, 1, : layout.n_y], sensors[:, 3])  # two ticks of the past, then the second row
    assert_close(layout.after(sensors[:, 3], rows.y[:, 1]), sensors[:, 6])
    assert_close(
        layout.measured(layout.scaled(window.obs[..., layout.columns])), window.obs[..., layout.columns]
    )


def test_a_row_counts_where_all_of_it_is_valid() -> None:
    layout = Layout(View.of(FAMILY), past=2, ahead=3)
    steps = layout.steps(6)
    window = Window(torch.zeros(1, 1, steps + 1, 4), torch.zeros(1, 1, steps, 1), torch.ones(1, 1, steps))
    window.mask[0, 0, 4] = 0.0
    assert layout.rows(window).weight.tolist() == [[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]


# The forms.


def test_roots_solve_least_squares() -> None:
    rng = torch.Generator().manual_seed(1)
    scales = torch.tensor([1.0, 30.0, 1e3, 1e-2])  # columns may have any unit
    a, b = torch.randn(3, 20, 4, generator=rng) * scales, torch.randn(3, 20, 1, generator=rng)
    root = triangle(torch.cat([a, b], dim=-1))
    found = solution(root)
    best = torch.linalg.lstsq(a.double(), b.double()).solution.float()
    assert_close(found[..., :1] * scales.view(-1, 1), best * scales.view(-1, 1), rtol=1e-4, atol=1e-5)
    assert_close(root[..., :-1].tril(-1), torch.zeros(3, 4, 4))
    covariance = torch.linalg.inv((a / scales).mT @ (a / scales))
    inverse = found[..., 1:] * scales.view(-1, 1)
    assert_close(inverse @ inverse.mT, covariance, rtol=1e-3, atol=1e-5)


def rows_by(form: Form, meta: Tensors, thought: Tensors, n_x: int, n_y: int) -> Rows:
    """Rows of machines that are as is thought, without noise."""
    x = torch.randn(2, 40, n_x, generator=torch.Generator().manual_seed(2))
    return Rows(x, predicted(form, meta, thought, x, n_y), torch.ones(2, 40))


def meta_of(form: Form) -> dict[str, Tensor]:
    meta = form.initial(np.random.default_rng(3))
    return network.stacked(meta, 2)


def test_one_step_finds_the_context() -> None:
    form = Context(n_x=7, n_y=3, hidden=8, size=4)
    meta = meta_of(form)
    truth = {**form.begin(meta), "context": torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.3, 0.2, -1.0, 2.0]])}
    meta["log_noise"] = meta["log_noise"] - 1.0  # else the prior counts for something
    found = form.adapt(meta, form.begin(meta), rows_by(form, meta, truth, 7, 3))
    assert_close(found["context"], truth["context"], rtol=0.1, atol=0.1)
    again = form.adapt(meta, found, rows_by(form, meta, truth, 7, 3))
    doubt = [form.told(meta, each)[:, 4:] for each in (form.begin(meta), found, again)]
    assert (doubt[1] < doubt[0]).all()
    assert (doubt[2] < doubt[1]).all()


def test_the_prior_that_predicts_best_becomes_the_likeliest() -> None:
    form = Priors(n_x=7, n_y=3, hidden=8, size=5)
    meta = meta_of(form)
    truth = {"likelihood": torch.full((2, 5), -30.0)}
    truth["likelihood"][0, 3] = truth["likelihood"][1, 1] = 0.0
    found = form.adapt(meta, form.begin(meta), rows_by(form, meta, truth, 7, 3))
    assert form.counts(found).argmax(-1).tolist() == [3, 1]


def test_a_small_gradient_step_predicts_its_own_window_better() -> None:
    form = Gradient(n_x=7, n_y=3, hidden=8, probes=2, rate=1e-3)
    meta = meta_of(form)
    other = {name: value + 0.1 for name, value in form.begin(meta).items()}
    rows = rows_by(form, meta, other, 7, 3)
    before = form.begin(meta)
    after = form.adapt(meta, before, rows)
    errors = [
        (rows.y - predicted(form, meta, each, rows.x, 3)).square().mean((1, 2)) for each in (before, after)
    ]
    assert (errors[1] < errors[0]).all()


# Driving, and training.


def test_a_plan_is_better_than_the_one_before() -> None:
    """By what the model says; the first one is to do nothing."""
    policy = model("context", act="planner", samples=64, blocks=3, refinements=4)
    assert isinstance(policy, PlanningPolicy)
    state = stacked(policy, 2, 1)
    obs = torch.tensor([0.2, 0.0, 0.6, 0.0]).expand(2, 1, 4)
    act = policy.act(state, obs, torch.zeros(2, 1, policy.n_noise))
    plans = torch.stack([state["plan"], act.next["plan"]], dim=2)
    before, after = policy._costs(state, obs, state["recent"], plans).unbind(-1)
    assert (after < before).all()


class Unrewarded(GliderFamily):
    """Nobody can tell from what is measured how well it does."""

    @property
    def spec(self) -> TaskSpec:
        return replace(super().spec, metrics=(Metric("return", "reward"),))


def test_a_planner_needs_something_to_plan_for() -> None:
    with pytest.raises(UsageError, match=r'\[model\] act = "planner" needs a reward'):
        Model(Unrewarded(), replace(SMALL, act="planner"))


def test_a_few_iterations_make_a_step_worth_something() -> None:
    algorithm = Model(FAMILY, SMALL)
    training = TrainingConfig(iterations=6, meta_batch_size=16, validations=0)
    reports: list[Mapping[str, float]] = []
    train(algorithm, training, 0, start(algorithm, 0), lambda _, figures: reports.append(figures))
    assert reports[-1]["prediction"] < 0.8 * reports[0]["prediction"]
