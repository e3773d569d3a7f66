"""Tabular MDPs: drawn as RL²'s Table 2 has them, moved as their transitions say, solved exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate.stats import mean_interval
from acclimate_trainer.tasks.tabular import (
    REWARD_NOISE,
    TabularFamily,
    TabularSession,
    TabularTasks,
    optimal_q,
    oracle_value,
    solved,
)
from acclimate_trainer.testing import FamilyConformance
from torch import Tensor
from torch.testing import assert_close

FAMILY = TabularFamily(episodes=10)
MANY = 20_000


class TestTabularConformance(FamilyConformance):
    def family(self) -> TabularFamily:
        return FAMILY


class TestOddSizes(FamilyConformance):
    def family(self) -> TabularFamily:
        return TabularFamily(episodes=3, states=4, actions=2, horizon=7)


def at(tasks: TabularTasks, s: Tensor, t: int, family: TabularFamily = FAMILY) -> TabularSession:
    """Walks that are in states s (T, E) at step t of their episode."""
    session = family.open(tasks, s.shape[1], 100, np.random.default_rng(2))
    session.s, session.t = s, t
    return session


def act(number: int, session: TabularSession) -> Tensor:
    return torch.full((*session.s.shape, 1), float(number))


def by_hand() -> TabularTasks:
    """Two states, two actions, two steps: "go" (1) costs 1 and leads to state 1, where "stay" (0) pays 5."""
    reward = torch.tensor([[[2.0, -1.0], [5.0, 0.0]]])
    transition = torch.tensor([[[[1.0, 0.0], [0.25, 0.75]], [[0.0, 1.0], [1.0, 0.0]]]])
    return solved(reward, transition, 2)


def test_it_is_drawn_as_in_the_paper() -> None:
    tasks = FAMILY.sample(2000, np.random.default_rng(0))
    assert tasks.reward.shape == (2000, 10, 5)
    assert tasks.transition.shape == (2000, 10, 5, 10)
    assert tasks.reward.mean().item() == pytest.approx(1.0, abs=0.02)
    assert tasks.reward.std().item() == pytest.approx(1.0, abs=0.02)
    assert_close(tasks.transition.sum(-1), torch.ones(2000, 10, 5))
    # A Dirichlet(1, …, 1) over 10: mean 1/10, variance 9/(100·11), and no entry is below 0.
    assert tasks.transition.min() >= 0.0
    assert_close(tasks.transition.mean((0, 1, 2)), torch.full((10,), 0.1), atol=0.002, rtol=0)
    assert tasks.transition.var().item() == pytest.approx(9 / 1100, rel=0.02)


def test_states_follow_as_often_as_the_transition_says() -> None:
    tasks = FAMILY.sample(1, np.random.default_rng(1))
    session = at(tasks, torch.full((1, MANY), 3), 0)
    session.step(act(2, session))
    expected, found = tasks.transition[0, 3, 2], session.obs[0, :, :10].mean(0)
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / MANY).sqrt() + 1e-4).all()
    assert torch.equal(session.obs[..., :10].argmax(-1), session.s)
    assert session.t == 1


def test_rewards_spread_around_their_mean() -> None:
    tasks = FAMILY.sample(MANY, np.random.default_rng(1))
    session = FAMILY.open(tasks, 1, 10, np.random.default_rng(2))
    step = session.step(act(1, session))
    noise = step.reward - tasks.reward[:, :1, 1]
    assert noise.mean().item() == pytest.approx(0.0, abs=0.03)
    assert noise.std().item() == pytest.approx(REWARD_NOISE, abs=0.02)
    assert torch.equal(session.obs[..., -1], step.reward)


def test_the_last_step_of_an_episode_leads_to_the_start_state_whatever_was_done() -> None:
    tasks = FAMILY.sample(50, np.random.default_rng(1))
    session = at(tasks, torch.arange(200).view(50, 4) % 10, 8)
    assert not session.step(act(1, session)).truncated.any()
    step = session.step(act(1, session))
    assert step.truncated.all()
    assert not step.terminated.any()
    assert (session.s == 0).all()
    assert session.t == 0


def test_an_mdp_that_becomes_another_moves_as_that() -> None:
    still, moving = (torch.tensor(m) for m in ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]))
    family = TabularFamily(episodes=1, states=2, actions=1, horizon=10)

    def mdps(transition: Tensor) -> TabularTasks:
        return solved(torch.zeros(2, 2, 1), transition.view(1, 2, 1, 2).expand(2, -1, -1, -1), 10)

    session = family.open(mdps(still), 3, 10, np.random.default_rng(0))
    session.become(mdps(moving), torch.tensor([False, True]))
    session.step(act(0, session))
    assert session.s.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_small_mdp_solved_by_hand() -> None:
    """With one step left state 0 is worth 2 and state 1 5; so going costs 1 for 0.25·2 + 0.75·5 = 4.25."""
    q = by_hand().q
    assert_close(q[0, 1], torch.tensor([[2.0, -1.0], [5.0, 0.0]]))
    assert_close(q[0, 0], torch.tensor([[2.0 + 2.0, -1.0 + 4.25], [5.0 + 5.0, 0.0 + 2.0]]))
    assert_close(oracle_value(by_hand(), episodes=3), torch.tensor([12.0]))


def test_optimal_values_axioms() -> None:
    """Bellman's equation; less time is a later step; a constant reward adds itself H times."""
    tasks = FAMILY.sample(50, np.random.default_rng(3))
    q, best = tasks.q, tasks.q.amax(-1)
    ahead = torch.einsum("nsap,nhp->nhsa", tasks.transition, best[:, 1:])
    assert_close(q[:, :-1], tasks.reward.unsqueeze(1) + ahead)
    assert_close(q[:, -1], tasks.reward)
    assert_close(optimal_q(tasks.reward, tasks.transition, 4), q[:, 6:])
    assert_close(
        optimal_q(tasks.reward + 2.0, tasks.transition, 10)[:, 0], q[:, 0] + 20.0, rtol=1e-4, atol=1e-4
    )


def test_playing_the_optimal_policy_earns_its_value() -> None:
    rng = np.random.default_rng(4)
    tasks = FAMILY.sample(4000, rng)
    session, total = FAMILY.open(tasks, 1, 10, rng), torch.zeros(4000)
    for _ in range(FAMILY.horizon):
        action = tasks.q[torch.arange(4000), session.t, session.s[:, 0]].argmax(-1)
        total += session.step(action.float().view(-1, 1, 1)).reward[:, 0]
    surplus = mean_interval((total - oracle_value(tasks, 1)).tolist(), confidence=0.999)
    assert surplus.low < 0.0 < surplus.high


def test_the_oracle_earns_what_the_yardstick_says() -> None:
    found = mean_interval(oracle_value(FAMILY.sample(4000, np.random.default_rng(5)), 10).tolist())
    assert found.low < 218.7 < found.high
    assert found.high - found.low < 3.0


def test_a_critic_is_told_the_optimal_values_from_here_and_from_the_start_per_step() -> None:
    tasks = by_hand()
    family = TabularFamily(episodes=1, states=2, actions=2, horizon=2)
    told = family.critic(tasks, at(tasks, torch.tensor([[1, 0]]), 0, family))
    assert_close(told, torch.tensor([[[5.0, 1.0, 5.0, 2.0], [2.0, 1.625, 2.0, 2.0]]]))
    told = family.critic(tasks, at(tasks, torch.tensor([[0]]), 1, family))
    assert_close(told, torch.tensor([[[1.0, -0.5, 1.0, 2.0]]]))


@pytest.mark.parametrize("name", ["episodes", "states", "actions", "horizon"])
def test_none_of_something_is_refused(name: str) -> None:
    sizes = {"episodes": 10, name: 0}
    with pytest.raises(UsageError, match=f"{name} 0"):
        TabularFamily(**sizes)
