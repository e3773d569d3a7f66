"""The classical algorithms for tabular MDPs: what they believe, what they plan, what they earn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate.stats import mean_interval
from acclimate_trainer.baselines.mdp_players import (
    BASELINES,
    TUNED,
    Player,
    Seen,
    optimistic_value,
    play,
    score,
    tune,
)
from acclimate_trainer.contract.family import Step
from acclimate_trainer.tasks.tabular import TabularFamily, TabularSession, TabularTasks, oracle_value
from torch import Tensor
from torch.testing import assert_close

FAMILY = TabularFamily(episodes=10)
SMALL = TabularFamily(episodes=4, states=3, actions=2, horizon=3)
# RL², Table 2, n = 10; 1,000 tasks each, a standard error of about 0.8.
PAPER = {
    "random": 100.1, "psrl": 138.1, "opsrl": 144.1, "ucrl2": 146.6, "beb": 150.2, "epsilon_greedy": 132.8,
    "greedy": 134.8,
}  # fmt: skip


def known(tries: int, reward: Tensor, transition: Tensor) -> Seen:
    """What `tries` tries of every action would have shown on average, for (S, A) and (S, A, S), as one task."""
    visits = torch.full((1, *reward.shape), float(tries))
    return Seen(tries * reward.unsqueeze(0), visits, tries * transition.unsqueeze(0))


@pytest.mark.parametrize("name", PAPER)
def test_it_earns_what_the_paper_prints(name: str) -> None:
    found = score(name, FAMILY, 250, np.random.default_rng(0))
    standard_error = np.hypot(found.std() / found.size**0.5, 0.8)
    assert abs(found.mean() - PAPER[name]) < 3.0 * standard_error


def test_bayesian_bonuses_with_the_true_prior_are_the_strongest() -> None:
    informed, plain = (score(n, FAMILY, 500, np.random.default_rng(0)) for n in ("beb_informed", "beb"))
    assert mean_interval(informed - plain).low > 0.0


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_earns_more_than_the_oracle_or_less_than_chance(name: str) -> None:
    rng = np.random.default_rng(1)
    found = mean_interval(score(name, FAMILY, 60, rng), 0.999)
    assert found.low < float(oracle_value(FAMILY.sample(2000, rng), 10).mean())
    assert found.high > 100.0


@pytest.mark.parametrize("name", [n for n in BASELINES if n != "random"])
def test_who_has_seen_enough_plans_what_is_optimal(name: str) -> None:
    rng = np.random.default_rng(2)
    tasks = SMALL.sample(1, rng)
    q = BASELINES[name].make(SMALL, 1e-4 if name in ("ucrl2", "beb", "beb_informed") else 1.0)
    plan = q.plan(known(10**7, tasks.reward[0], tasks.transition[0]), 3, rng)
    assert_close(plan, tasks.q, atol=0.01, rtol=0)


def test_prior_and_experience_are_weighed_by_their_counts() -> None:
    seen = Seen(torch.tensor([[[6.0]]]), torch.tensor([[[2.0]]]), torch.tensor([[[[1.0, 0.0]]]]))
    assert seen.reward_mean(0.0, 1.0).item() == pytest.approx(2.0)
    assert seen.reward_mean(3.0, 4.0).item() == pytest.approx(3.0)
    assert_close(seen.transition(1.0), torch.tensor([[[[2 / 3, 1 / 3]]]]))


def test_a_posterior_sample_spreads_as_the_posterior() -> None:
    """One state, one action, one step: the value drawn is the reward, Normal(n·mean/(n + 1), 1/(n + 1))."""
    family, n = TabularFamily(1, states=1, actions=1, horizon=1), 20_000
    seen = known(3, torch.tensor([[2.0]]), torch.ones(1, 1, 1))
    seen = Seen(*(x.expand(n, *x.shape[1:]) for x in seen))
    for name, mean in (("psrl", 1.5), ("psrl_informed", 1.75)):
        drawn = BASELINES[name].make(family, 1.0).plan(seen, 0, np.random.default_rng(0))
        assert drawn.mean().item() == pytest.approx(mean, abs=0.015)
        assert drawn.std().item() == pytest.approx(0.5, abs=0.01)


def test_bonuses_by_hand() -> None:
    """BEB, one state, two steps: reward + 1/(n + 2), and 2·scale·H³/(1 + S + n) for a step that is left."""
    family = TabularFamily(1, states=1, actions=1, horizon=2)
    plan = BASELINES["beb"].make(family, 0.5).plan(known(2, torch.tensor([[3.0]]), torch.ones(1, 1, 1)), 0,
                                                   np.random.default_rng(0))  # fmt: skip
    last = 2.0 + 1 / 4
    assert_close(plan.flatten(), torch.tensor([last + last + 8 / 4, last]))


def test_optimism_moves_probability_from_the_worst_states_to_the_best() -> None:
    transition = torch.tensor([[[[0.5, 0.2, 0.3]], [[0.5, 0.2, 0.3]], [[0.0, 1.0, 0.0]]]])
    value = torch.tensor([[1.0, 10.0, 100.0]])
    slack = torch.tensor([[[0.2], [1.2], [9.0]]])
    found = optimistic_value(transition, slack, value)
    by_hand = torch.tensor([[[0.4 * 1 + 0.2 * 10 + 0.4 * 100], [0.1 * 10 + 0.9 * 100], [100.0]]])
    assert_close(found, by_hand)
    plain = torch.einsum("nsap,np->nsa", transition, value)
    assert_close(optimistic_value(transition, torch.zeros_like(slack), value), plain)


class WatchedSession(TabularSession):
    """Remembers what was done."""

    taken: Tensor

    def step(self, action: Tensor) -> Step:
        self.taken = action.flatten().long()
        return super().step(action)


class Watched(TabularFamily):
    """Remembers the last session that it opened."""

    def open(
        self, tasks: TabularTasks, episodes: int, steps: int, rng: np.random.Generator
    ) -> TabularSession:
        del steps
        session = WatchedSession(tasks, episodes, self.horizon, rng)
        self.__dict__["session"] = session
        return session


def test_ties_are_broken_at_random_and_epsilon_of_the_time_anything_is_done() -> None:
    family, n = Watched(1, states=1, actions=3, horizon=1), 6000
    values = torch.tensor([1.0, 2.0, 2.0]).expand(n, 1, 1, 3)
    for epsilon, expected in ((0.0, [0.0, 0.5, 0.5]), (0.3, [0.1, 0.45, 0.45])):
        play(Player(lambda *_: values, epsilon), family, n, np.random.default_rng(0))
        shares = torch.bincount(family.__dict__["session"].taken, minlength=3) / n
        assert_close(shares, torch.tensor(expected), atol=0.02, rtol=0)


def test_what_is_seen_is_what_happened_but_for_the_last_step_of_an_episode() -> None:
    shown: list[Seen] = []

    def plan(seen: Seen, _: int, __: np.random.Generator) -> Tensor:
        shown.append(Seen(*(x.clone() for x in seen)))
        return torch.zeros(5, 3, 3, 2)

    total = play(Player(plan), SMALL, 5, np.random.default_rng(0))
    assert len(shown) == SMALL.episodes
    for episode, seen in enumerate(shown):
        assert_close(seen.visits.sum((1, 2)), torch.full((5,), 3.0 * episode))
        assert_close(seen.arrivals.sum((1, 2, 3)), torch.full((5,), 2.0 * episode))
    assert shown[-1].visits[:, 0].sum() >= 5 * 3
    assert np.isfinite(total).all()


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_scores_the_same(name: str) -> None:
    one, same, other = (score(name, SMALL, 20, np.random.default_rng(s), 1.0) for s in (1, 1, 2))
    assert one.shape == (20,)
    assert (one == same).all()
    assert (one != other).any()


def test_tuning_finds_the_best_of_the_grid() -> None:
    assert tune("epsilon_greedy", FAMILY, np.random.default_rng(0), tasks=60) <= 0.4
    assert tune("psrl", FAMILY, np.random.default_rng(0)) == 1.0


def test_what_is_tuned_is_in_the_grid() -> None:
    for name, table in TUNED.items():
        for setting in table.values():
            assert min(abs(setting / x - 1.0) for x in BASELINES[name].grid) < 0.01


def test_a_size_that_was_never_tuned_is_tuned_first() -> None:
    assert score("epsilon_greedy", SMALL, 50, np.random.default_rng(0)).shape == (50,)


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        score("ucrl", FAMILY, 10, np.random.default_rng(0))
    assert str(caught.value) == (
        "no MDP baseline is called 'ucrl'; there are random, psrl, opsrl, ucrl2, beb, epsilon_greedy, greedy, "
        "psrl_informed, beb_informed"
    )
