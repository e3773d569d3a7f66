"""The classical bandit algorithms: what they choose, what they earn, how they are tuned."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.stats import mean_interval
from acclimate_trainer.baselines.bandit_players import BASELINES, TUNED, Seen, score, tune
from acclimate_trainer.tasks.bandit import BanditFamily

FAMILY = BanditFamily(5, 10)
# RL², Table 1, n = 10, k = 5 of 1,000 tasks each: a standard error of 0.07, and one digit printed.
PAPER = {
    "random": 5.0, "gittins": 6.6, "ts": 5.7, "ots": 6.5, "ucb1": 6.7, "epsilon_greedy": 6.6, "greedy": 6.6,
}  # fmt: skip


def seen(wins: list[int], losses: list[int], n: int = 1) -> Seen:
    return Seen(np.tile(wins, (n, 1)), np.tile(losses, (n, 1)), sum(wins) + sum(losses))


def shares(name: str, setting: float, what: Seen, n_arms: int) -> list[float]:
    """How often each arm is chosen."""
    choose = BASELINES[name].make(BanditFamily(n_arms, 20), setting)
    arms = choose(what, np.random.default_rng(0))
    return [float((arms == i).mean()) for i in range(n_arms)]


@pytest.mark.parametrize("name", PAPER)
def test_it_earns_what_the_paper_prints(name: str) -> None:
    found = mean_interval(score(name, FAMILY, 2500, np.random.default_rng(0)))
    assert found.mean == pytest.approx(PAPER[name], abs=0.05 + 2.5 * 0.07)


def test_what_knows_the_pulls_left_earns_more_than_what_does_not() -> None:
    """On the same seed; the exact optimum earns 0.3 % more at most, at this size."""
    finite, discounted = (
        score(name, FAMILY, 20_000, np.random.default_rng(3)) for name in ("finite_gittins", "greedy")
    )
    assert mean_interval(finite - discounted).low > -0.05
    assert mean_interval(finite, 0.999).high > 6.64


def test_greedy_pulls_the_best_mean_and_epsilon_of_the_time_anything() -> None:
    what = seen([1, 3, 0], [1, 0, 0], n=6000)
    assert shares("greedy", 0.0, what, 3) == [0.0, 1.0, 0.0]
    assert shares("epsilon_greedy", 0.3, what, 3) == pytest.approx([0.1, 0.8, 0.1], abs=0.02)
    assert shares("random", 0.0, what, 3) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_ucb_tries_what_it_knows_least() -> None:
    what = seen([6, 1], [3, 1])
    assert shares("ucb1", 0.0, what, 2) == [1.0, 0.0]
    assert shares("ucb1", 1.0, what, 2) == [0.0, 1.0]


def test_thompson_pulls_an_arm_as_often_as_it_is_the_best() -> None:
    """P(U < Beta(2, 1)) = E[Beta(2, 1)] = 2/3; the most likely of many draws is the mode, which is 1."""
    what = seen([1, 0], [0, 0], n=20_000)
    assert shares("ts", 1.0, what, 2) == pytest.approx([2 / 3, 1 / 3], abs=0.015)
    assert shares("ots", 40.0, seen([1, 0], [0, 1], n=2000), 2)[0] > 0.98


def test_an_index_prefers_the_untried_to_the_equally_good() -> None:
    for name, setting in (("gittins", 0.99), ("finite_gittins", 0.0)):
        assert shares(name, setting, seen([3, 0], [3, 0]), 2) == [0.0, 1.0]


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_scores_the_same(name: str) -> None:
    one, same, other = (score(name, FAMILY, 50, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.shape == (50,)
    assert (one == same).all()
    assert (one != other).any()


def test_tuning_finds_the_best_of_the_grid() -> None:
    rng = np.random.default_rng(0)
    assert tune("epsilon_greedy", FAMILY, rng, tasks=1000) <= 0.2
    assert tune("greedy", FAMILY, rng) == 0.0


def test_what_is_tuned_is_in_the_grid() -> None:
    for name, table in TUNED.items():
        assert set(table.values()) <= set(BASELINES[name].grid)


def test_a_size_that_was_never_tuned_is_tuned_first() -> None:
    assert score("ucb1", BanditFamily(2, 3), 100, np.random.default_rng(0)).mean() > 1.5


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        score("ucb2", FAMILY, 10, np.random.default_rng(0))
    assert str(caught.value) == (
        "no bandit baseline is called 'ucb2'; there are random, gittins, finite_gittins, ts, ots, ucb1, "
        "epsilon_greedy, greedy, optimum"
    )
