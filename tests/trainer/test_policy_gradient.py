"""The ingredients of the inner step, each against an independent computation of the same thing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.maml import policy_gradient as pg
from acclimate_trainer.algorithms.maml import ridge
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig, MamlPolicy
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Tensors, Window, stacked
from acclimate_trainer.networks.feedforward import mean_action, sigma
from acclimate_trainer.networks.view import View
from acclimate_trainer.tasks.servo import perception
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .servo_tasks import FAMILY
from .windows import random_window

GLIDERS = GliderFamily()


def window_of(obs: list[list[float]], action: list[float]) -> Window:
    """One task, one episode."""
    actions = torch.tensor(action).reshape(1, 1, -1, 1)
    return Window(torch.tensor(obs)[None, None], actions, torch.ones(1, 1, len(action)))


def policy_of(
    seed: int = 0, family: TaskFamily[Any] = FAMILY, **config: float
) -> tuple[MamlPolicy, dict[str, Tensor]]:
    """A small policy in some general position, and its parameters."""
    algorithm = Maml(family, MamlConfig(hidden=4, **config))  # type: ignore[arg-type]
    meta = algorithm.initial(np.random.default_rng(seed))
    rng = torch.Generator().manual_seed(seed)
    params = {n: v + 0.3 * torch.rand(v.shape, generator=rng) for n, v in meta.items() if "." not in n}
    return algorithm.policy({**meta, **params}), params


# Reward and returns.


def test_reward_is_what_the_error_after_the_step_and_the_effort_cost() -> None:
    window = window_of(
        [[0.0, 0, 9.0, 0], [0.4, 0, 0.4, 0], [0.1, 0, 0.22, 0], [0.0, 0, 1.0, 0]], [0.0, 0.5, -3.0]
    )
    expected = [0.0, -5.0 * (0.13 - 0.05) - 0.02 * 0.25, -5.0 * (np.hypot(1.0, 0.05) - 0.05) - 0.02]
    assert_close(perception.reward(window), torch.tensor([[expected]], dtype=torch.float32))


def test_reward_does_not_depend_on_the_side_of_the_error() -> None:
    window = random_window(2, 3, 5)
    mirrored = window._replace(obs=-window.obs, action=-window.action)
    assert_close(perception.reward(mirrored), perception.reward(window))


@pytest.mark.parametrize("discount", [0.0, 0.6, 0.95, 1.0])
def test_returns_are_those_of_a_plain_loop(discount: float) -> None:
    reward = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))
    matrix = pg.discount_matrix(discount ** torch.arange(12), 12)
    expected, ahead = torch.zeros(2, 3, 12), torch.zeros(2, 3)
    for t in reversed(range(12)):
        ahead = reward[:, :, t] + discount * ahead
        expected[:, :, t] = ahead
    assert_close(reward @ matrix, expected, rtol=1e-4, atol=1e-5)


def test_a_short_kernel_looks_no_further_than_it_is_long() -> None:
    matrix = pg.discount_matrix(torch.tensor([1.0, 0.5]), 4)
    assert_close(matrix, torch.tensor([[1.0, 0, 0, 0], [0.5, 1, 0, 0], [0, 0.5, 1, 0], [0, 0, 0.5, 1.0]]))


# The baseline.


def test_the_baseline_sees_the_reference_that_is_to_come() -> None:
    """The only thing in which two windows differ is the target at step 13."""
    window, discount = random_window(1, 1, 30), pg.discount_matrix(0.9 ** torch.arange(30), 30)
    changed = window._replace(obs=window.obs.clone())
    changed.obs[0, 0, 13, 2] += 1.0
    before, after = perception.baseline(window, discount), perception.baseline(changed, discount)
    differs = (after != before).any(-1)
    assert differs[0, 0, :14].all()  # before it, what is to come; at it, the tracking error
    assert not differs[0, 0, 14:].any()


def test_what_is_to_come_is_the_discounted_way_that_the_reference_goes() -> None:
    window, discount = random_window(1, 1, 12), pg.discount_matrix(0.9 ** torch.arange(12), 12)
    target = window.obs[0, 0, :, 2]
    wanted = torch.stack([
        torch.stack([0.9 ** (s - t) * (target[s + 1] - target[t]) for s in range(t, 12)]).sum() for t in range(12)
    ])  # fmt: skip
    features = perception.baseline(window, discount)[0, 0]
    distance = (features - wanted[:, None]).abs().amax(0)
    assert float(distance.min()) < 1e-5


def test_the_baseline_does_not_see_what_actions_lead_to() -> None:
    """Were it to see the future of anything but the reference, it would take the gradient away."""
    window = random_window(1, 1, 30)
    discount = pg.discount_matrix(0.9 ** torch.arange(30), 30)
    changed = window._replace(obs=window.obs.clone(), action=window.action + 1.0)
    changed.obs[0, 0, 13:, :2] += 1.0
    differs = (perception.baseline(changed, discount) != perception.baseline(window, discount)).any(-1)
    assert not differs[0, 0, :13].any()
    assert differs[0, 0, 13:].all()


def test_the_baseline_is_the_ridge_regression_of_numpy() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3, 200, 9)) * 10.0 ** rng.uniform(-2, 2, 9)
    features[..., 0] = 1.0
    values = rng.standard_normal((3, 200)) + 3.0 * features[..., 1]
    mask = (rng.random((3, 200)) > 0.2).astype(float)
    found = ridge.ridge_residual(*(torch.tensor(x, dtype=torch.float32) for x in (features, values, mask)))
    for task in range(3):
        valid = mask[task] == 1.0
        scale = np.sqrt((features[task][valid] ** 2).mean(0) + 1e-6)
        x, y = features[task][valid] / scale, values[task][valid]
        gram = x.T @ x / len(x) + ridge.RIDGE * np.eye(9)
        weights = np.linalg.solve(gram, x.T @ y / len(x))
        expected = values[task] - (features[task] / scale) @ weights
        np.testing.assert_allclose(found[task].numpy(), expected, rtol=2e-3, atol=2e-3)


def test_values_that_the_features_explain_leave_next_to_nothing() -> None:
    features = torch.randn(2, 300, 5, generator=torch.Generator().manual_seed(0))
    values = features @ torch.tensor([1.0, -2.0, 0.5, 3.0, 0.1])
    rest = ridge.ridge_residual(features, values, torch.ones(2, 300))
    assert rest.square().mean() < 1e-3 * values.square().mean()


@pytest.mark.parametrize("collinear", [0.0, 0.999])
def test_the_gradient_of_what_regression_leaves_is_autograds(collinear: float) -> None:
    """Where a task has transitions that do not count, and where two features are nearly one."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 60, 5, generator=generator, dtype=torch.float64)
    features[..., 1] = collinear * features[..., 0] + (1.0 - collinear) * features[..., 1]
    values, g = (torch.randn(3, 60, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = (torch.rand(3, 60, generator=generator) > torch.tensor([[0.0], [0.3], [1.0]])).double()
    inputs = [features.requires_grad_(), values.requires_grad_()]
    found, expected = (
        torch.autograd.grad((g * residual(*inputs, mask)).sum(), inputs)
        for residual in (ridge.ridge_residual_by_hand, ridge.ridge_residual)
    )
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) < 1e-9


def test_the_inverse_is_that_of_numpy() -> None:
    a = np.random.default_rng(0).standard_normal((4, 12, 12))
    spd = a @ a.transpose(0, 2, 1) + 0.1 * np.eye(12)
    found = ridge.inverse_spd(torch.tensor(spd, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(found @ spd, np.broadcast_to(np.eye(12), (4, 12, 12)), atol=2e-3)
    assert_close(ridge.inverse_spd(torch.eye(3)[None] * 4.0), torch.eye(3)[None] * 0.25)


def test_advantages_have_zero_mean_and_unit_variance_over_what_is_valid() -> None:
    rng = torch.Generator().manual_seed(0)
    advantage = 5.0 + 3.0 * torch.randn(4, 500, generator=rng)
    mask = (torch.rand(4, 500, generator=rng) > 0.3).float()
    found = pg.normalise(advantage, mask)
    for task in range(4):
        valid = found[task][mask[task] == 1.0]
        assert valid.mean().item() == pytest.approx(0.0, abs=1e-5)
        assert valid.std(correction=0).item() == pytest.approx(1.0, rel=1e-4)
    assert (found[mask == 0.0] == 0.0).all()


def test_equal_advantages_are_none() -> None:
    assert_close(pg.normalise(torch.full((1, 9), 2.0), torch.ones(1, 9)), torch.zeros(1, 9))


# The likelihood.


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_the_likelihood_is_that_of_a_normal_distribution(family: TaskFamily[Any]) -> None:
    """Of actions in shares of full scale, each entry by itself."""
    _, params = policy_of(family=family)
    params = {name: value[None] for name, value in params.items()}
    window, view, n_act = random_window(1, 2, 6, spec=family.spec), View.of(family), family.spec.n_act
    low, high = (torch.tensor(ends) for ends in family.spec.limits())
    found = pg.log_likelihood(view, params, window).reshape(2, 6)
    for episode in range(2):
        previous = torch.zeros(n_act)
        for t in range(6):
            x = view.inputs(window.obs[0, episode, t], previous)
            mean = mean_action(params, x.reshape(1, 1, -1)).reshape(n_act)
            normal = torch.distributions.Normal(mean, sigma(params).reshape(n_act))
            action = 2.0 * (window.action[0, episode, t] - low) / (high - low) - 1.0
            constant = 0.5 * np.log(2.0 * np.pi)
            expected = (normal.log_prob(action) + constant).sum()
            assert_close(found[episode, t], expected, rtol=1e-4, atol=1e-4)
            previous = action.clamp(-1.0, 1.0)


@pytest.mark.parametrize("memory", [0.0, 0.7])
@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_rows_have_the_likelihood_of_the_window_that_they_are_made_of(
    family: TaskFamily[Any], memory: float
) -> None:
    _, params = policy_of(family=family)
    params = {name: value[None].expand(2, *value.shape) for name, value in params.items()}
    window, view = random_window(2, 3, 6, spec=family.spec), View.of(family)
    rows = pg.rows_of(view, window, memory)
    before: Tensors = {"deviation": torch.zeros(2, 1, window.action.shape[-1])}
    found = []
    for k in range(18):
        row = {name: column[:, k : k + 1] for name, column in rows.items()}
        following, value = pg.row_likelihood(params, before, row, memory)
        before = {**before, **following}
        found.append(value)
    assert_close(
        torch.cat(found, dim=1), pg.log_likelihood(view, params, window, memory), rtol=1e-5, atol=1e-5
    )


def simulate(policy: MamlPolicy, params: Tensors, start: Tensor, noise: Tensor) -> Window:
    """Episodes of a toy device, differentiable: duty moves the joint by half a radian, less its square."""
    state: dict[str, Tensor] = {**stacked(policy, *noise.shape[:2]), **params}
    obs, action = [start], []
    for t in range(noise.shape[2]):
        act = policy.act(state, obs[-1], noise[:, :, t])
        state |= act.next
        duty = act.action.clamp(-1.0, 1.0)[..., 0]
        moved = obs[-1][..., 0] + 0.5 * duty - 0.1 * duty * duty
        obs.append(torch.stack([moved, 2.0 * duty, obs[-1][..., 2], obs[-1][..., 3]], dim=-1))
        action.append(act.action)
    return Window(torch.stack(obs, dim=2), torch.stack(action, dim=2), torch.ones(noise.shape[:3]))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_inner_gradient_is_that_of_the_expected_return(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likelihood ratios of sampled actions against the derivative along every sample, within 4 standard errors."""
    monkeypatch.setattr(pg, "normalise", lambda advantage, mask: advantage * mask)  # which changes the scale
    tasks, episodes = 60, 2000
    policy, params = policy_of(episode_steps=steps, discount=1.0)
    many = {n: v.expand(tasks, *v.shape).clone().requires_grad_() for n, v in params.items()}
    rng = torch.Generator().manual_seed(0)
    start = torch.rand(tasks, episodes, 4, generator=rng) - 0.5
    noise = torch.randn(tasks, episodes, steps, 1, generator=rng)
    window = simulate(policy, many, start, noise)
    gain = perception.reward(window).sum(-1).mean(-1)  # expected return of each task
    exact = torch.autograd.grad(gain.sum(), list(many.values()))
    with torch.no_grad():
        sampled = Window(*(x.detach() for x in window))
        loss = torch.func.grad(policy._loss, has_aux=True)({n: v.detach() for n, v in many.items()}, sampled)[
            0
        ]
    estimates = torch.cat(
        [-steps * g.flatten(1) for g in loss.values()], dim=1
    )  # the loss is a mean over steps
    derivatives = torch.cat([g.flatten(1) for g in exact], dim=1)
    difference = estimates - derivatives  # (tasks, parameters)
    assert (difference.mean(0).abs() < 4.0 * difference.std(0) / tasks**0.5 + 1e-4).all()
    assert torch.cosine_similarity(estimates.mean(0), derivatives.mean(0), dim=0) > 0.995
