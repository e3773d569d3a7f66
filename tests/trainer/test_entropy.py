"""Maximum entropy: the exact ground of soft values, draws from them, what fine-tuning does, and that runs resume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.entropy.entropy import Entropy, EntropyConfig
from acclimate_trainer.algorithms.entropy.policy import EntropyPolicy, rewards
from acclimate_trainer.algorithms.entropy.soft import probabilities, sampled, soft_value, undecided
from acclimate_trainer.contract.policy import Act, Policy, Tensors, Window
from acclimate_trainer.networks.action_values import values_of_all
from acclimate_trainer.networks.candidates import Candidates
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Progress, TrainingConfig, start, train
from acclimate_trainer.tasks.dash import PointDashFamily
from acclimate_trainer.tasks.reacher import ReacherFamily
from acclimate_trainer.tasks.tabular import TabularFamily, TabularTasks
from torch import Tensor
from torch.testing import assert_close

from tests.trainer.policy_conformance import EPISODES, AdaptivePolicyConformance

SMALL = EntropyConfig(hidden=12, window_episodes=2, window_steps=20, batch=16, steps=3, replay=600)


def untrained(family: object, config: EntropyConfig = SMALL, seed: int = 0) -> EntropyPolicy:
    algorithm = Entropy(family, config)  # type: ignore[arg-type]
    return algorithm.policy(algorithm.initial(np.random.default_rng(seed)))


class TestContinuous(AdaptivePolicyConformance):
    bounded = True

    @pytest.fixture
    def policy(self) -> Policy:
        return untrained(PointDashFamily())


class TestChoices(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return untrained(ReacherFamily())

    def window(self, policy: Policy, tasks: int, *, seed: int) -> Window:
        """Of actions that there are, and not just any."""
        window = super().window(policy, tasks, seed=seed)
        choices = torch.tensor(policy.spec.choices)
        rng = torch.Generator().manual_seed(seed)
        return window._replace(action=choices[torch.randint(len(choices), window.mask.shape, generator=rng)])

    def _act(self, policy: Policy, state: Tensors, *, seed: int) -> Act:
        """On as many tasks as the state is of: nothing of it is written by `act`."""
        axes = (len(state["w2"]), EPISODES)
        return policy.act(state, self.obs(policy, *axes, seed=seed), self.noise(policy, *axes, seed=seed))


# The exact ground: soft values of a table, and what is drawn from them.


def soft_iteration(reward: Tensor, transition: Tensor, alpha: float, discount: float) -> Tensor:
    """Soft value iteration in numpy's own words: Q (S, A) for `reward` (S, A) and `transition` (S, A, S)."""
    r, p = reward.double().numpy(), transition.double().numpy()
    q = np.zeros_like(r)
    for _ in range(600):
        v = alpha * (np.logaddexp.reduce(q / alpha, axis=1) - np.log(q.shape[1]))
        q = r + discount * p @ v
    return torch.from_numpy(q)


def table(states: int = 6, actions: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), (states, actions))
    return torch.from_numpy(rng.normal(size=(states, actions))), torch.from_numpy(transition)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 5.0])
def test_backing_up_soft_values_ends_where_soft_value_iteration_does(alpha: float) -> None:
    reward, transition = table()
    q = torch.zeros_like(reward)
    for _ in range(600):
        q = reward + 0.9 * transition @ soft_value(q, torch.tensor(alpha, dtype=torch.float64))
    assert_close(q, soft_iteration(reward, transition, alpha, 0.9), rtol=1e-9, atol=1e-9)


def test_the_policy_of_soft_values_is_the_best_there_is_for_reward_and_openness() -> None:
    """Evaluated exactly, π = softmax(Q/α) earns V of every state, and every other policy earns less."""
    reward, transition = table()
    alpha, rng = torch.tensor(0.4, dtype=torch.float64), np.random.default_rng(1)
    q = soft_iteration(reward, transition, 0.4, 0.9)
    best, states = probabilities(q, alpha), torch.eye(len(q)).double()

    def worth(policy: Tensor) -> Tensor:
        kept_open = (policy * torch.log(policy * policy.shape[-1])).sum(
            -1
        )  # KL from the uniform distribution
        earned = (policy * reward).sum(-1) - alpha * kept_open
        moves = torch.einsum("sa,sap->sp", policy, transition)
        return torch.linalg.solve(states - 0.9 * moves, earned)

    assert_close(worth(best), soft_value(q, alpha), rtol=1e-9, atol=1e-9)
    for _ in range(50):
        other = probabilities(
            torch.log(best) + 0.3 * torch.from_numpy(rng.normal(size=best.shape)), torch.ones(())
        )
        assert (worth(other) < worth(best)).all()


def test_at_a_temperature_near_none_the_soft_value_is_the_largest() -> None:
    q = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert_close(soft_value(q, torch.tensor(1e-4)), q.amax(-1), rtol=0, atol=1e-3)


def test_draws_are_distributed_as_the_policy_is() -> None:
    q, draws = torch.tensor([0.0, 0.3, -0.5, 1.0, 0.9]), 200_000
    noise = torch.randn(draws, 10, generator=torch.Generator().manual_seed(0))
    found = torch.bincount(sampled(q.expand(draws, 5), torch.tensor([0.4]), noise), minlength=5) / draws
    expected = probabilities(q, torch.tensor(0.4))
    assert_close(found, expected, rtol=0, atol=4 * 0.5 / draws**0.5)


def test_without_noise_or_without_temperature_the_best_is_done() -> None:
    q = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(200, 10, generator=torch.Generator().manual_seed(1))
    for given, alpha in ((torch.zeros_like(noise), 1.0), (noise, 0.0)):
        assert torch.equal(sampled(q, torch.tensor([alpha]), given), q.argmax(-1))


def test_how_undecided_is_from_none_to_one() -> None:
    assert undecided(torch.full((9,), 1.0 / 9.0)).item() == pytest.approx(1.0)
    assert undecided(torch.eye(9)[2]).item() == pytest.approx(0.0, abs=1e-6)


# Candidates where actions are continuous.


def test_the_grid_spans_the_range_with_both_of_its_ends() -> None:
    candidates = Candidates.of(PointDashFamily().spec, 3)
    assert candidates.table.tolist() == [[x, y] for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)]


def test_between_grid_points_the_best_of_a_parabola_is_found_whatever_point_was_drawn() -> None:
    candidates = Candidates.of(PointDashFamily().spec, 5)
    best = torch.tensor([0.37, -0.62])
    q = -(candidates.codes - best).square().sum(-1)
    nearest = q.argmax()
    found = candidates.refined(nearest, q, torch.tensor(1e-6))
    assert_close(found, best, rtol=0, atol=1e-5)


def test_what_is_done_never_lies_farther_than_half_a_step_from_what_was_drawn_nor_beyond_the_range() -> None:
    candidates = Candidates.of(PointDashFamily().spec, 5)
    q = torch.randn(300, 25, generator=torch.Generator().manual_seed(0))
    drawn = torch.randint(25, (300,), generator=torch.Generator().manual_seed(1))
    found = candidates.refined(drawn, q, torch.full((300,), 1e-3))
    assert (found - candidates.codes[drawn]).abs().max() <= 0.5 * candidates.step + 1e-6
    assert found.abs().max() <= 1.0


def test_too_many_candidates_are_refused_with_what_would_do() -> None:
    with pytest.raises(
        UsageError, match=r"levels = 17 makes 289 candidates of 2 actions; .* levels from 2 to 16"
    ):
        Entropy(PointDashFamily(), EntropyConfig(levels=17))


# Training.


class OneMdp(TabularFamily):
    """The same MDP for every task, with rewards that are as expected."""

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> TabularTasks:
        del rng
        one = super().sample(1, np.random.default_rng(7), progress)
        return TabularTasks(*(column.expand(n, *column.shape[1:]) for column in one))


def trained(
    algorithm: Entropy[TabularTasks], config: TrainingConfig, begin: Progress | None = None
) -> list[Progress]:
    kept: list[Progress] = []
    train(algorithm, config, 0, begin or start(algorithm, 0), lambda progress, _: kept.append(progress))
    return kept


@pytest.mark.slow
def test_what_is_learned_of_an_mdp_is_its_soft_values() -> None:
    """A network, from noisy rewards alone, off-policy: Q and π = exp(Q/α) are near those of soft value iteration."""
    family = OneMdp(states=4, actions=3, horizon=20)
    config = EntropyConfig(temperature=0.5, entropy=0.0, discount=0.8, hidden=32, batch=128, steps=100)
    training = TrainingConfig(iterations=30, meta_batch_size=64, outer_lr=0.004, final_lr=0.02, clip=10.0)
    algorithm = Entropy(family, config)
    meta = trained(algorithm, training)[-1].meta
    mdp = family.sample(1, np.random.default_rng(0))
    exact = soft_iteration(mdp.reward[0], mdp.transition[0], 0.5, 0.8)
    states = torch.tanh(torch.eye(4)).unsqueeze(0)
    found = values_of_all(meta, states, algorithm.candidates.codes)[0].double().detach()
    assert (found - exact).abs().max() < 0.1 * (exact.max() - exact.min())
    policies = [probabilities(q, torch.tensor(0.5, dtype=torch.float64)) for q in (found, exact)]
    assert (policies[0] - policies[1]).abs().max() < 0.1


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened() -> None:
    algorithm = Entropy(TabularFamily(), SMALL)
    training = TrainingConfig(iterations=4, meta_batch_size=3, outer_lr=0.003, clip=10.0)
    whole = trained(algorithm, training)
    resumed = trained(algorithm, training, whole[1])[-1]
    assert all(torch.equal(resumed.meta[name], value) for name, value in whole[-1].meta.items())


def test_the_temperature_rises_where_a_policy_is_too_decided_and_falls_where_it_is_not() -> None:
    found = []
    for wanted in (1.0, 0.01):
        algorithm = Entropy(TabularFamily(), replace(SMALL, entropy=wanted))
        training = TrainingConfig(iterations=3, meta_batch_size=3, outer_lr=0.01, clip=10.0)
        found.append(float(algorithm.policy(trained(algorithm, training)[-1].meta).initial()["alpha"]))
    assert found[0] > SMALL.temperature > found[1]


def test_one_window_of_rewards_turns_a_policy_towards_them() -> None:
    """Whoever has learned nothing yet goes where a window's rewards were."""
    family = PointDashFamily()
    policy = untrained(family, replace(SMALL, window_episodes=4, window_steps=40, refine_ridge=1e-3))
    state = {name: value.unsqueeze(0) for name, value in policy.initial().items()}
    rng = torch.Generator().manual_seed(0)
    action = 2.0 * torch.rand(1, 4, 40, 2, generator=rng) - 1.0
    obs = torch.zeros(1, 4, 41, 5)
    obs[:, :, 1:, 4] = action[..., 0]  # the reward is for pushing along x
    adapted = policy.adapt(state, Window(obs, action, torch.ones(1, 4, 40)))
    after = policy.act(
        {**state, **adapted.next, **_quiet(policy)}, torch.zeros(1, 1, 5), torch.zeros(1, 1, policy.n_noise)
    )
    assert adapted.info["left"] < 0.7 * adapted.info["loss"]
    assert after.action[0, 0, 0] > 0.4


def _quiet(policy: EntropyPolicy) -> Tensors:
    return {"previous_action": policy.initial()["previous_action"].expand(1, 1, -1)}


def test_a_change_of_the_action_costs_its_price() -> None:
    """Transition by transition: less by the price times the mean square change, of half of full scale, from 0 on."""
    view, rng = View.of(PointDashFamily()), torch.Generator().manual_seed(0)
    obs = torch.randn(2, 3, 7, view.n_obs, generator=rng)
    action = view.physical(2.0 * torch.randn(2, 3, 6, view.n_act, generator=rng))
    window = Window(obs, action, torch.ones(2, 3, 6))
    free, priced = rewards(view, window, 0.0), rewards(view, window, 0.7)
    taken = view.normal(action).clamp(-1.0, 1.0)
    for t in range(6):
        change = taken[:, :, t] - (taken[:, :, t - 1] if t else 0.0)
        assert_close(priced[:, :, t], free[:, :, t] - 0.7 * change.square().mean(-1))
