"""MAML: the inner step against a naive one, the outer gradient against finite differences, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.maml import maml
from acclimate_trainer.algorithms.maml import policy_gradient as pg
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig, MamlPolicy
from acclimate_trainer.algorithms.maml.ridge import RIDGE
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.networks.feedforward import mean_action, sigma
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses, Progress, TrainingConfig, start, train
from acclimate_trainer.play.rollouts import Surroundings, draw, rollout, total_cost
from acclimate_trainer.tasks.servo import dynamics
from acclimate_trainer.tasks.servo.dynamics import ServoSession, ServoState, ServoTasks
from acclimate_trainer.tasks.servo.family import ServoFamily
from acclimate_trainer.tasks.servo.ranges import PRESETS
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .servo_tasks import FAMILY, family_of
from .windows import random_window

GLIDERS = GliderFamily()

SMALL = MamlConfig(
    hidden=4, adapt_steps=2, support_episodes=3, query_episodes=2, episode_steps=12, adjoint_decay=1.0,
    unadapted_weight=0.3,
)  # fmt: skip


def general(algorithm: Maml[Any], *, seed: int = 0) -> dict[str, Tensor]:
    """Meta-parameters in general position, in the default precision: what starts at zero is not zero."""
    rng = torch.Generator().manual_seed(seed)
    meta = algorithm.initial(np.random.default_rng(seed))
    return {
        n: (v + 0.2 * torch.rand(v.shape, generator=rng)).to(torch.get_default_dtype())
        for n, v in meta.items()
    }


# The inner step.


def naive_loss(params: Tensors, window: Window, config: MamlConfig, family: TaskFamily[Any]) -> Tensor:
    """L(θ) of one task, transition by transition; the baseline by numpy."""
    episodes, steps = window.mask.shape[1:]
    view, complete, n_act = View.of(family), Complete.of(family), family.spec.n_act
    reward = complete.reward(window)[0] * window.mask[0]
    discount = pg.discount_matrix(config.discount ** torch.arange(steps), steps)
    features = complete.baseline(window, discount)[0].numpy().astype(float)
    valid, returns = window.mask[0].numpy() == 1.0, np.zeros((episodes, steps))
    if config.exploration_memory:
        valid[:, 1:] &= valid[:, :-1].copy()
    for episode in range(episodes):
        ahead = 0.0
        for t in reversed(range(steps)):
            ahead = float(reward[episode, t]) + config.discount * ahead
            returns[episode, t] = ahead
    x, y = features[valid], returns[valid]
    x = x / np.sqrt((x * x).mean(0) + 1e-6)
    gram = x.T @ x / len(x) + RIDGE * np.eye(x.shape[1])
    rest = y - x @ np.linalg.solve(gram, x.T @ y / len(x))
    advantages = iter((rest - rest.mean()) / np.sqrt(rest.var() + 1e-6))
    total = torch.zeros(())
    for episode in range(episodes):
        before, deviation = torch.zeros(n_act), torch.zeros(n_act)
        for t in range(steps):
            action = view.normal(window.action[0, episode, t])
            row = view.inputs(window.obs[0, episode, t], before)
            mean = mean_action({n: v[None] for n, v in params.items()}, row.reshape(1, 1, -1)).reshape(n_act)
            expected = mean + config.exploration_memory * deviation
            spread = sigma(params).reshape(n_act) * (1.0 - config.exploration_memory**2) ** 0.5
            if valid[episode, t]:
                total = total - torch.distributions.Normal(expected, spread).log_prob(action).sum() * next(
                    advantages
                )
            before, deviation = action.clamp(-1.0, 1.0), action - mean
    return total / int(valid.sum())


@pytest.mark.parametrize("memory", [0.0, 0.6])
@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_the_inner_gradient_is_autograds_of_a_naive_loss(family: TaskFamily[Any], memory: float) -> None:
    config = replace(SMALL, episode_steps=20, support_episodes=4, exploration_memory=memory)
    algorithm = Maml(family, config)
    policy = algorithm.policy(general(algorithm))
    names = list(policy._params)
    rng = torch.Generator().manual_seed(1)
    stack = {n: v + 0.1 * torch.randn(3, *v.shape, generator=rng) for n, v in policy._params.items()}
    window = random_window(3, 4, 20, masked=0.15, spec=family.spec)
    found = torch.func.grad(policy._loss, has_aux=True)(stack, window)[0]
    for task in range(3):
        params = {name: stack[name][task].clone().requires_grad_() for name in names}
        loss = naive_loss(params, Window(*(x[task : task + 1] for x in window)), config, family)
        naive = dict(zip(names, torch.autograd.grad(loss, list(params.values())), strict=True))
        for name in names:
            assert_close(
                found[name][task], naive[name], rtol=1e-2, atol=2e-3, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("shots", [0, 1, 2])
def test_the_step_is_the_gradient_times_what_was_learned_for_it(shots: int) -> None:
    algorithm = Maml(FAMILY, SMALL)
    meta = general(algorithm)
    policy = algorithm.policy(meta)
    window, k = random_window(1, 3, 12), min(shots, 1)  # beyond the last step as in the last
    params = {name: value[None] for name, value in policy._params.items()}
    state = {**params, "shots": torch.full((1, 1), float(shots))}
    gradient = torch.func.grad(policy._loss, has_aux=True)(params, window)[0]
    adapted = policy.adapt(state, window)
    for name, g in gradient.items():
        step = g[0]
        for side in ("right", "left"):
            if f"{side}{k}.{name}" in meta:
                factor = (
                    torch.eye(len(meta[f"{side}{k}.{name}"]))
                    + maml._CURVATURE_SCALE * meta[f"{side}{k}.{name}"]
                )
                step = step @ factor if side == "right" else factor @ step
        expected = params[name][0] - meta[f"rate{k}.{name}"] * step
        assert_close(adapted.next[name][0], expected, rtol=1e-4, atol=1e-5)
    assert adapted.next["shots"].item() == shots + 1.0


def test_a_limit_shortens_a_step_and_leaves_its_direction() -> None:
    """And the more, the longer it is."""
    algorithm = Maml(FAMILY, SMALL)
    meta, window = general(algorithm), random_window(2, 3, 12)

    def change(limit: float) -> tuple[Tensor, Tensor]:
        policy = MamlPolicy(meta, View.of(FAMILY), replace(SMALL, step_limit=limit))
        state = {n: v.expand(2, *v.shape) for n, v in policy.initial().items()}
        adapted = policy.adapt(state, window)
        step = torch.cat([(adapted.next[n] - state[n]).flatten(1) for n in policy._params], 1)
        assert_close(adapted.info["step_norm"], step.norm(dim=1))
        return step, step.norm(dim=1)

    free, norm = change(0.0)
    for limit in (0.1, 1.0, 1e4):
        step, shortened = change(limit)
        assert_close(shortened, norm / (1.0 + (norm / limit).square()).sqrt(), rtol=1e-4, atol=1e-6)
        assert (shortened < limit).all()
        assert_close(step / shortened[:, None], free / norm[:, None], rtol=1e-4, atol=1e-5)


def test_a_step_raises_the_likelihood_of_what_paid() -> None:
    """With only small steps: the loss on the same window falls."""
    algorithm = Maml(FAMILY, replace(SMALL, inner_lr=1e-3, gain_rate=1.0))
    policy = algorithm.policy(algorithm.initial(np.random.default_rng(0)))
    window = random_window(1, 3, 12)
    state = {n: v[None] for n, v in policy.initial().items()}
    adapted = policy.adapt(state, window)
    again = policy.adapt({**state, **adapted.next}, window)
    assert again.info["loss"] < adapted.info["loss"]


def test_reward_and_loss_are_means_over_what_is_valid() -> None:
    policy = Maml(FAMILY, SMALL).policy(general(Maml(FAMILY, SMALL)))
    window = random_window(2, 3, 12, masked=0.3)
    info = policy.adapt({n: v.expand(2, *v.shape) for n, v in policy.initial().items()}, window).info
    for task in range(2):
        valid = window.mask[task] == 1.0
        assert_close(info["reward"][task], Complete.of(FAMILY).reward(window)[task][valid].mean())


# The outer gradient.


class DoubleFamily(ServoFamily):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> ServoTasks:
        return ServoTasks(*(column.double() for column in super().sample(n, rng, progress)))

    def open(self, tasks: ServoTasks, episodes: int, steps: int, rng: np.random.Generator) -> ServoSession:
        start = ServoState(*(x.double() for x in dynamics.at_rest(tasks, episodes, rng)))
        noise = torch.from_numpy(rng.standard_normal((*start.q.shape, steps)))
        return ServoSession(tasks, start, noise * tasks.noise.unsqueeze(-1))


class Outer(NamedTuple):
    """An outer loss in double precision, of meta-parameters (tasks, …)."""

    meta: dict[str, Tensor]
    names: list[str]

    def loss(self, meta: Tensors) -> Tensor:
        algorithm = Maml(DoubleFamily(), SMALL)
        stack = {name: value.expand(2, *value.shape) for name, value in meta.items()}
        return algorithm.losses(stack, 2, np.random.default_rng(3), 0.99).total.sum()

    def gradient(self) -> dict[str, Tensor]:
        leaves = {name: value.clone().requires_grad_() for name, value in self.meta.items()}
        return dict(zip(leaves, torch.autograd.grad(self.loss(leaves), list(leaves.values())), strict=True))

    def difference(self, name: str, index: tuple[int, int], h: float = 1e-6) -> float:
        values = []
        for sign in (1.0, -1.0):
            moved = self.meta[name].clone()
            moved[index] += sign * h
            values.append(self.loss({**self.meta, name: moved}).item())
        return (values[0] - values[1]) / (2.0 * h)


def double_draw(*args: Any, **options: Any) -> Surroundings[Any]:
    drawn: Surroundings[Any] = draw(*args, **options)
    return drawn._replace(reference=drawn.reference.double(), noise=drawn.noise.double())


@pytest.fixture
def outer(float64: None, monkeypatch: pytest.MonkeyPatch) -> Outer:
    del float64
    monkeypatch.setattr(maml, "draw", double_draw)
    names = ["w0", "b1", "w2", "sigma", "rate0.w0", "rate1.b2", "left0.w1", "right1.w0"]
    return Outer(general(Maml(FAMILY, SMALL)), names)


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_the_outer_gradient_is_exact_to_second_order(
    outer: Outer, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.SMALL", replace(SMALL, step_limit=limit))
    gradient = outer.gradient()
    for name in outer.names:
        assert gradient[name][0, 0].item() == pytest.approx(
            outer.difference(name, (0, 0)), rel=1e-4, abs=1e-7
        ), name


def test_the_first_order_gradient_is_another(outer: Outer, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, curved = outer.gradient(), MamlPolicy._curved
    monkeypatch.setattr(MamlPolicy, "_curved", lambda self, k, name, g: curved(self, k, name, g.detach()))
    first_order = outer.gradient()
    assert_close(first_order["rate1.w0"], exact["rate1.w0"])  # nothing adapts after it
    for name in ("w0", "w1", "sigma"):
        assert (first_order[name] - exact[name]).norm() > 0.01 * exact[name].norm()


def test_forgetting_the_adjoint_is_an_approximation(outer: Outer, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = outer.gradient()["w1"]
    monkeypatch.setattr(f"{__name__}.SMALL", replace(SMALL, adjoint_decay=0.9))
    decayed = outer.gradient()["w1"]
    assert torch.cosine_similarity(decayed.flatten(), exact.flatten(), dim=0) > 0.5
    assert (decayed - exact).norm() > 0.01 * exact.norm()


def outer_losses(**changed: Tensor) -> Losses:
    """Of three tasks, always the same ones, with some meta-parameters replaced."""
    algorithm = Maml(FAMILY, SMALL)
    meta = {n: v.expand(3, *v.shape) for n, v in {**general(algorithm), **changed}.items()}
    with torch.no_grad():
        return algorithm.losses(meta, 3, np.random.default_rng(0), 0.99)


def test_the_outer_loss_is_made_of_the_errors_before_and_after_every_step() -> None:
    total, errors = outer_losses()
    assert list(errors) == ["error_0", "error_1", "error_2"]
    assert_close(total, SMALL.unadapted_weight * errors["error_0"] + errors["error_1"] + errors["error_2"])


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_the_outer_loss_is_that_of_a_plain_loop(family: TaskFamily[Any]) -> None:
    """Explore, and measure beside it; adapt by what the exploring episodes showed, and by nothing else; and again."""
    algorithm, tasks = Maml(family, SMALL), 3
    meta = {n: v.expand(tasks, *v.shape) for n, v in general(algorithm).items()}
    found = algorithm.losses(meta, tasks, np.random.default_rng(0), 0.99)
    rng, policy, complete = np.random.default_rng(0), algorithm.policy(meta), Complete.of(family)
    machines, state = family.sample(tasks, rng), dict[str, Tensor](policy.initial())
    state["shots"], errors = torch.zeros(tasks, 1), []
    for explore in (3, 3, 0):
        around = draw(family, machines, rng, explore=explore, measure=2, steps=12)
        episodes = rollout(policy, state, family.spec, around)
        measured = episodes.window()._replace(
            obs=episodes.obs[:, explore:], action=episodes.action[:, explore:]
        )
        errors.append(total_cost(complete.costs(measured, episodes.reward[:, explore:])))
        if explore:
            deviation = episodes.action[:, :explore].std(dim=1)
            assert (deviation > 0.0).all()
            window = Window(episodes.obs[:, :3], episodes.action[:, :3], torch.ones(tasks, 3, 12))
            state |= policy.adapt(state, window).next
    assert_close(found.total, 0.3 * errors[0] + errors[1] + errors[2])
    for k, error in enumerate(errors):
        assert_close(found.report[f"error_{k}"], error, rtol=1e-4, atol=1e-4)


def test_at_first_it_learns_to_drive_easier_machines_without_adapting() -> None:
    """At a gain of 1, whatever gain it will begin to adapt with."""
    algorithm = Maml(GLIDERS, replace(SMALL, pretraining=0.4, initial_gain=0.01))
    meta = {n: v.expand(3, *v.shape) for n, v in general(algorithm).items()}
    found = algorithm.losses(meta, 3, np.random.default_rng(0), 0.39)
    rng = np.random.default_rng(0)
    machines = GLIDERS.sample(3, rng, progress=0.0)
    assert (machines.side > 0.0).all()
    around = draw(GLIDERS, machines, rng, explore=0, measure=2, steps=12)
    full = {**meta, "gain": torch.ones_like(meta["gain"])}
    episodes = rollout(algorithm.policy(full), full, GLIDERS.spec, around)
    assert_close(found.total, total_cost(Complete.of(GLIDERS).costs(episodes.window(), episodes.reward)))
    assert list(found.report) == ["error_0"]


def test_errors_are_of_noise_free_episodes_alone() -> None:
    """How widely a policy explores changes what it learns, not how it does before."""
    narrow, wide = (outer_losses(sigma=torch.full((1, 1), sigma)).report for sigma in (0.2, 2.0))
    assert torch.equal(narrow["error_0"], wide["error_0"])
    assert not torch.equal(narrow["error_1"], wide["error_1"])


def test_training_makes_a_step_worth_something() -> None:
    """On servos that differ in polarity alone, where one step is enough."""
    easy = replace(
        PRESETS["miswired"], drive_gain=(1.0, 1.0), gravity_fraction=(0.0, 0.0), delay=(0.0, 0.0), spread=1.0
    )
    config = MamlConfig(
        hidden=8, adapt_steps=1, support_episodes=4, query_episodes=1, episode_steps=30, initial_gain=0.1,
        unadapted_weight=0.0,
    )  # fmt: skip
    algorithm, states = Maml(family_of(easy), config), list[Progress]()
    training = TrainingConfig(iterations=60, meta_batch_size=8, outer_lr=0.03)
    train(algorithm, training, 0, start(algorithm, 0), lambda progress, _: states.append(progress))

    def errors(meta: Tensors) -> dict[str, float]:
        with torch.no_grad():
            many = {name: value.expand(100, *value.shape) for name, value in meta.items()}
            report = algorithm.losses(many, 100, np.random.default_rng(99), 0.99).report
        return {name: float(value.mean()) for name, value in report.items()}

    before, after = errors(states[0].meta), errors(states[-1].meta)
    assert after["error_1"] < 0.3 * after["error_0"]
    assert after["error_1"] < 0.3 * before["error_1"]
