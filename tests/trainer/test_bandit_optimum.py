"""Bandits solved exactly: by hand, against plain recursion, against what playing earns, against every baseline."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.stats import mean_interval
from acclimate_trainer.baselines import bandit_players
from acclimate_trainer.baselines.bandit_optimum import BanditOptimum
from acclimate_trainer.tasks.bandit import BanditFamily


@cache
def recursion(pulls: int, arms: tuple[tuple[int, int], ...]) -> float:
    """Bellman's equation as it stands, arms as (wins, losses) in their places."""
    if pulls == 0:
        return 0.0
    values = []
    for i, (wins, losses) in enumerate(arms):
        p = (1 + wins) / (2 + wins + losses)
        won, lost = ((*arms[:i], a, *arms[i + 1 :]) for a in ((wins + 1, losses), (wins, losses + 1)))
        values.append(p * (1 + recursion(pulls - 1, won)) + (1 - p) * recursion(pulls - 1, lost))
    return max(values)


@pytest.mark.parametrize(("arms", "expected"), [(5, 6.660), (10, 6.714), (50, 6.714)], ids=lambda x: str(x))
def test_ten_pulls_earn_what_the_yardstick_says(arms: int, expected: float) -> None:
    assert BanditOptimum(arms, 10).value == pytest.approx(expected, abs=5e-4)


def test_cases_by_hand() -> None:
    """One arm pays 1/2 a pull. Two pulls of two arms: stay at 2/3 after a win, else try the other: 13/12."""
    assert BanditOptimum(1, 7).value == pytest.approx(3.5)
    assert BanditOptimum(4, 1).value == pytest.approx(0.5)
    assert BanditOptimum(2, 2).value == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 0.5)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 6), (3, 5), (4, 4), (5, 3)])
def test_leaving_out_symmetries_changes_nothing(arms: int, pulls: int) -> None:
    assert BanditOptimum(arms, pulls).value == pytest.approx(recursion(pulls, ((0, 0),) * arms), abs=1e-12)


def test_the_optimum_axioms() -> None:
    """More arms never hurt, arms beyond the pulls never help, and a pull is worth 1/2 to 1 (the last one not less)."""
    value = {(k, n): BanditOptimum(k, n).value for k in (1, 2, 3, 6, 9) for n in (1, 2, 3, 6)}
    for n in (1, 2, 3, 6):
        row = [value[k, n] for k in (1, 2, 3, 6, 9)]
        assert row == sorted(row)
        assert value[9, n] == pytest.approx(value[6, n], abs=1e-12)
        assert 0.5 * n - 1e-12 <= value[1, n]
        assert value[9, n] < n
    for k in (2, 3, 6, 9):
        per_pull = [value[k, n] / n for n in (1, 2, 3, 6)]
        assert per_pull == sorted(per_pull)


@pytest.mark.parametrize(("arms", "pulls"), [(5, 10), (10, 10), (2, 20), (12, 4)])
def test_playing_the_optimal_policy_earns_its_value(arms: int, pulls: int) -> None:
    family = BanditFamily(arms, pulls)
    found = mean_interval(bandit_players.score("optimum", family, 20_000, np.random.default_rng(0)), 0.999)
    assert found.low < BanditOptimum(arms, pulls).value < found.high
    assert found.high - found.low < 0.3


@pytest.mark.parametrize("name", [n for n in bandit_players.BASELINES if n != "optimum"])
def test_no_baseline_earns_more_than_the_optimum(name: str) -> None:
    found = bandit_players.score(name, BanditFamily(5, 10), 3000, np.random.default_rng(1))
    assert mean_interval(found, 0.999).low < BanditOptimum(5, 10).value


def test_it_stays_with_what_pays_and_leaves_what_does_not() -> None:
    solved = BanditOptimum(3, 10)
    wins, losses = np.array([[0, 3, 0], [0, 0, 0]]), np.array([[0, 0, 0], [1, 1, 1]])
    assert solved.choose(wins[:1], losses[:1])[0] == 1
    assert solved.choose(np.array([[1, 0, 0]]), np.array([[0, 2, 0]]))[0] == 0
    assert solved.choose(wins[1:], np.array([[2, 1, 0]]))[0] == 2


@pytest.mark.parametrize(("arms", "pulls"), [(11, 11), (5, 100)])
def test_a_bandit_too_large_is_refused(arms: int, pulls: int) -> None:
    with pytest.raises(UsageError, match=f"{arms} arms and {pulls} pulls has too many states"):
        BanditOptimum(arms, pulls)


@pytest.mark.parametrize(("arms", "pulls"), [(0, 10), (3, 0)])
def test_no_arms_or_no_pulls_are_refused(arms: int, pulls: int) -> None:
    with pytest.raises(UsageError, match=f"at least one arm and one pull, found {arms} and {pulls}"):
        BanditOptimum(arms, pulls)
