"""What a family does not say follows from its spec: each default against a plain loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.task.spec import Feature, Metric, Term
from acclimate_trainer.algorithms.maml import policy_gradient as pg
from acclimate_trainer.algorithms.maml import ridge
from acclimate_trainer.contract.complete import Complete, term_features
from acclimate_trainer.contract.costs import limited
from acclimate_trainer.contract.family import Cost, TaskFamily
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.tasks.servo import perception
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from .families import SPEC, GliderFamily, HomingFamily, OpaqueFamily
from .servo_tasks import FAMILY
from .windows import random_window

GLIDER, HOMING, SERVO = (Complete.of(family) for family in (GliderFamily(), HomingFamily(), FAMILY))
NAMES = ("x", "x_wanted", "z_wanted", "z")
HALF = {"x": 2.0, "x_wanted": 2.0, "z_wanted": 3.0, "z": 3.0}


def glider_window(masked: float = 0.0, seed: int = 0) -> Window:
    return random_window(2, 3, 9, spec=SPEC, masked=masked, seed=seed)


def column(window: Window, name: str) -> Tensor:
    """An observed scalar of gliders, (T, K, S + 1)."""
    return window.obs[..., NAMES.index(name)]


def discount(gamma: float, steps: int) -> Tensor:
    return pg.discount_matrix(gamma ** torch.arange(steps), steps)


def test_what_is_complete_stays_as_it_is() -> None:
    assert Complete.of(GLIDER) is GLIDER
    assert GLIDER.spec is SPEC


def test_tasks_parameters_and_sessions_are_the_familys() -> None:
    tasks, same = (
        GLIDER.sample(3, np.random.default_rng(0), 0.4),
        GliderFamily().sample(3, np.random.default_rng(0), 0.4),
    )
    assert all(map(torch.equal, tasks, same))
    assert torch.equal(GLIDER.parameters(tasks), GliderFamily().parameters(tasks))
    sessions = [family.open(tasks, 2, 5, np.random.default_rng(1)) for family in (GLIDER, GliderFamily())]
    assert torch.equal(sessions[0].obs, sessions[1].obs)


# What a network sees.


def test_inputs_are_the_headlines_differences_and_then_every_scalar_by_its_range() -> None:
    obs = glider_window().obs
    inputs = GLIDER.inputs(obs)
    assert inputs.shape == (2, 3, 10, 6)
    assert GLIDER.n_inputs == 6
    value = dict(zip(NAMES, obs.unbind(-1), strict=True))
    expected = [5.0 * (value["x_wanted"] - value["x"]), 10.0 / 3.0 * (value["z_wanted"] - value["z"])]
    expected += [value[name] / HALF[name] for name in NAMES]
    assert_close(inputs, torch.stack(expected, dim=-1), rtol=1e-4, atol=1e-5)


def test_inputs_are_about_one_where_channels_are_used_as_they_may_be() -> None:
    """Of a channel that is not around 0, too."""
    x, *others = SPEC.observation
    shifted = replace(SPEC, observation=(replace(x, minimum=100.0, maximum=108.0), *others))

    class Shifted(GliderFamily):
        spec = shifted

    uniform = torch.rand(4000, 4, generator=torch.Generator().manual_seed(0))
    low, high = (
        torch.tensor([getattr(c, end) for c in shifted.observation]) for end in ("minimum", "maximum")
    )
    each = Complete.of(Shifted()).inputs(low + (high - low) * uniform)[:, 2:]
    assert each.abs().max() <= 1.0 + 1e-5
    assert_close(each.mean(0), torch.zeros(4), rtol=0, atol=0.05)
    assert_close(each.std(0), torch.full((4,), 1.0 / math.sqrt(3.0)), rtol=0.05, atol=0)


def test_a_family_that_has_inputs_of_its_own_keeps_them() -> None:
    obs = random_window(1, 2, 4).obs
    assert torch.equal(SERVO.inputs(obs), perception.inputs(obs))
    assert SERVO.n_inputs == 4


# Rewards and costs.


def test_a_reward_that_is_observed_is_the_one_that_follows_each_action() -> None:
    window = random_window(2, 3, 5, spec=HOMING.spec)
    assert HOMING.rewarded
    assert torch.equal(HOMING.reward(window), window.obs[:, :, 1:, 0])


def test_else_the_headline_rewards_small_differences_after_each_action() -> None:
    window, found = glider_window(), GLIDER.reward(glider_window())
    assert GLIDER.rewarded
    assert found.shape == (2, 3, 9)
    error = {
        pair: (column(window, pair[0]) - column(window, pair[1])).abs() / HALF[pair[0]]
        for pair in SPEC.headline.pairs
    }
    size = torch.stack(list(error.values())).mean(0)[:, :, 1:]
    assert ((found <= 0.0) & (found >= -size)).all()  # minus the absolute error, or a little more
    assert (found >= -size + 0.02).float().mean() > 0.9
    nothing = window._replace(obs=torch.zeros_like(window.obs))
    assert_close(GLIDER.reward(nothing), torch.zeros(2, 3, 9))
    mirrored = window._replace(obs=-window.obs)
    assert_close(GLIDER.reward(mirrored), found)


def test_a_familys_own_reward_comes_first() -> None:
    window = random_window(2, 3, 5)
    assert torch.equal(SERVO.reward(window), perception.reward(window))


def test_where_nothing_says_what_pays_no_device_knows_rewards() -> None:
    class Blind(GliderFamily):
        spec = replace(SPEC, metrics=(Metric("return", "reward"),))

    assert not Complete.of(Blind()).rewarded


def test_costs_are_the_squares_of_the_headlines_differences() -> None:
    window = glider_window()
    (cost,) = GLIDER.costs(window, torch.zeros(2, 3, 9))
    assert cost._replace(values=torch.zeros(())) == Cost("error", torch.zeros(()), 1.0, root=True)
    for task, episode, t in np.ndindex(2, 3, 9):
        x, x_wanted, z_wanted, z = window.obs[task, episode, t + 1].tolist()
        expected = ((x - x_wanted) ** 2 + (z - z_wanted) ** 2) / 2.0
        assert cost.values[task, episode, t].item() == pytest.approx(expected, rel=1e-4)


def test_where_the_headline_is_a_reward_its_lack_is_the_cost() -> None:
    reward = torch.randn(2, 3, 5)
    (cost,) = HOMING.costs(random_window(2, 3, 5, spec=HOMING.spec), reward)
    assert (cost.name, cost.weight, cost.root) == ("return", 1.0, False)
    assert torch.equal(cost.values, -reward)


def test_a_familys_own_costs_come_first() -> None:
    class Thrifty(GliderFamily):
        def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
            del reward
            return (Cost("effort", window.action.square().sum(-1), 0.5, root=False),)

    window = glider_window()
    (cost,) = Complete.of(Thrifty()).costs(window, torch.zeros(2, 3, 9))
    assert cost.name == "effort"


# The baseline of the inner step.


def differs(changed: Window, window: Window) -> Tensor:
    """Which states of the first episode have another baseline, (S,)."""
    gamma = discount(0.9, window.action.shape[2])
    return (GLIDER.baseline(changed, gamma) != GLIDER.baseline(window, gamma)).any(-1)[0, 0]


@pytest.mark.parametrize("wanted", ["x_wanted", "z_wanted"])
def test_the_baseline_sees_every_reference_that_is_to_come(wanted: str) -> None:
    window = glider_window()
    changed = window._replace(obs=window.obs.clone())
    column(changed, wanted)[0, 0, 5] += 1.0
    assert differs(changed, window).tolist() == [True] * 6 + [False] * 3


def test_the_baseline_does_not_see_what_actions_lead_to() -> None:
    """Were it to see the future of anything but the reference, it would take the gradient away."""
    window = glider_window()
    changed = window._replace(obs=window.obs.clone(), action=window.action + 1.0)
    for sensor in ("x", "z"):
        column(changed, sensor)[0, 0, 5:] += 0.5
    assert differs(changed, window).tolist() == [False] * 5 + [True] * 4


@pytest.mark.parametrize("gamma", [0.0, 0.8, 1.0])
def test_the_baseline_holds_what_a_plain_loop_finds(gamma: float) -> None:
    """Among its columns: the time to go, and the discounted way that each reference goes from here on."""
    window, steps = glider_window(), 9
    features = GLIDER.baseline(window, discount(gamma, steps))[0, 0]
    wanted = [np.array([sum(gamma**k for k in range(steps - t)) for t in range(steps)])]
    for name in ("x_wanted", "z_wanted"):
        y = column(window, name)[0, 0].numpy()
        ways = [sum(gamma ** (s - t) * (y[s + 1] - y[t]) for s in range(t, steps)) for t in range(steps)]
        wanted.append(np.array(ways))
    for expected in (np.ones(steps), *wanted):
        distance = np.abs(features.numpy() - expected[:, None]).max(axis=0).min()
        assert distance < 1e-4 * max(1.0, np.abs(expected).max())


def test_the_baseline_explains_what_a_reference_alone_does_to_returns() -> None:
    """Of a machine that stands still, whose errors are its reference's doing, next to nothing is left."""
    rng = torch.Generator().manual_seed(0)
    obs = torch.zeros(1, 8, 31, 4)
    obs[..., 1:3] = 0.4 + 0.02 * torch.randn(1, 8, 31, 2, generator=rng).cumsum(dim=2)
    window = Window(obs, torch.zeros(1, 8, 30, 2), torch.ones(1, 8, 30))
    gamma = discount(0.9, 30)
    returns = (GLIDER.reward(window) @ gamma).flatten(1)
    rest = ridge.ridge_residual(
        GLIDER.baseline(window, gamma).flatten(1, 2), returns, torch.ones_like(returns)
    )
    assert rest.var() < 0.02 * returns.var()


def test_a_familys_own_baseline_comes_first() -> None:
    window, gamma = random_window(1, 2, 6), discount(0.9, 6)
    assert torch.equal(SERVO.baseline(window, gamma), perception.baseline(window, gamma))


# Features.


def plain_features(window: Window, task: int, episode: int, t: int) -> list[float]:
    """The glider's five, as its spec says them, of one transition. Before the begin, all is as it was then."""

    def seen(name: str, ago: int) -> float:
        return float(column(window, name)[task, episode, max(t + 1 - ago, 0)])

    def done(i: int, ago: int) -> float:
        low, high = ((-0.2, 0.0)[i], (0.2, 3.0)[i])
        return min(max(float(window.action[task, episode, t - ago, i]), low), high) if t >= ago else 0.0

    def magnitude(x: float, soft: float) -> float:
        return math.sqrt(x * x + soft * soft) - soft

    errors = [seen("x", 0) - seen("x_wanted", 0), seen("z", 0) - seen("z_wanted", 0)]
    near = sum(0.5 / (1.0 + (e / 0.1) ** 2) for e in errors)
    calm = sum(-5.0 * magnitude(done(i, 0) - done(i, 1), 0.01) for i in (0, 1))
    jerks = [seen(n, 0) - 3.0 * seen(n, 1) + 3.0 * seen(n, 2) - seen(n, 3) for n in ("x", "z")]
    return [
        near,
        -20.0 * magnitude(errors[0], 0.01),
        calm,
        -50.0 * done(0, 0) ** 2,
        sum(-30.0 * j * j for j in jerks),
    ]


def test_features_are_those_of_a_plain_loop() -> None:
    window = glider_window()
    phi, known = GLIDER.features(window)
    assert GLIDER.featured
    for task, episode, t in np.ndindex(2, 3, 9):
        expected = plain_features(window, task, episode, t)
        assert phi[task, episode, t].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert torch.equal(known, torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 1, 1]).expand(2, 3, 9))


def test_what_needs_the_past_is_unknown_after_a_masked_transition() -> None:
    window = glider_window()
    window.mask[0, 1, 4] = 0.0
    assert GLIDER.features(window)[1][0, 1].tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1]
    assert (GLIDER.features(window)[1][0, 0, 2:] == 1.0).all()


def test_what_needs_no_past_is_known_from_the_first_transition_on() -> None:
    spec = replace(
        SPEC, features=(Feature("near", "", term=Term("error", ("x", "x_wanted"), "square", -1.0)),)
    )
    window = glider_window(masked=0.3)
    phi, known = term_features(spec, window)
    assert (known == 1.0).all()
    error = column(window, "x") - column(window, "x_wanted")
    assert_close(phi[..., 0], -error[:, :, 1:].square())


def test_without_terms_there_is_nothing_to_be_rewarded_for() -> None:
    class Opinion(GliderFamily):
        spec = replace(SPEC, features=(*SPEC.features, Feature("pretty", "only its own code knows")))

    assert not HOMING.featured
    assert not Complete.of(Opinion()).featured

    class Judged(Opinion):
        def features(self, window: Window) -> tuple[Tensor, Tensor]:
            return window.action, window.mask

    judged, window = Complete.of(Judged()), glider_window()
    assert judged.featured
    assert judged.features(window)[0] is window.action


# Parameters.


@pytest.mark.parametrize("family", [GLIDER, SERVO])
def test_parameters_are_perceived_by_their_scale_and_back(family: Complete[Any]) -> None:
    told = family.parameters(family.sample(50, np.random.default_rng(0)))
    perceived = family.perceived(told)
    for i, parameter in enumerate(family.spec.parameters):
        expected = torch.log(told[:, i]) if parameter.scale == "log" else told[:, i]
        assert_close(perceived[:, i], expected)
    assert_close(family.physical(perceived), told, rtol=1e-5, atol=1e-6)
    assert_close(family.perceived(told.view(5, 10, -1)), perceived.view(5, 10, -1))


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e3), st.sampled_from([-1.0, 1.0]), st.floats(-50, 50)), min_size=1)
)
def test_perceived_and_physical_are_each_others_inverse(rows: list[tuple[float, float, float]]) -> None:
    told = torch.tensor(rows)
    assert_close(GLIDER.physical(GLIDER.perceived(told)), told, rtol=1e-4, atol=1e-5)
    seen = torch.tensor([[math.log(gain), side, weight] for gain, side, weight in rows])
    assert_close(GLIDER.perceived(GLIDER.physical(seen)), seen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", [GLIDER, SERVO])
def test_what_is_typical_is_the_mean_and_the_spread_over_the_family(family: Complete[Any]) -> None:
    told = family.perceived(family.parameters(family.sample(8000, np.random.default_rng(1))))
    mean, spread = family.typical
    assert_close(mean, told.mean(0), rtol=0, atol=0.1 * float(told.std(0).max()))
    assert_close(spread, told.std(0).clamp_min(1e-3), rtol=0.1, atol=0)


# What may happen, and what a device takes.


@pytest.mark.parametrize("family", [GliderFamily(), FAMILY, OpaqueFamily()])
def test_what_happens_is_what_the_family_says_or_nothing(family: TaskFamily[Any]) -> None:
    complete = Complete.of(family)
    tasks = complete.sample(4, np.random.default_rng(0))
    after = complete.change(tasks, np.random.default_rng(1))
    if isinstance(family, OpaqueFamily):
        assert not complete.changes
        assert after is tasks
    else:
        assert complete.changes
        expected = family.change(tasks, np.random.default_rng(1), 1.0)  # type: ignore[attr-defined]
        assert all(map(torch.equal, after, expected))


@pytest.mark.parametrize("spec", [SPEC, FAMILY.spec])
def test_a_device_takes_actions_within_its_limits(spec: Any) -> None:
    action = 4.0 * torch.randn(50, spec.n_act, generator=torch.Generator().manual_seed(0))
    expected = np.clip(action.numpy(), *(np.array(ends, np.float32) for ends in spec.limits()))
    assert torch.equal(limited(spec, action), torch.from_numpy(expected))
