"""The classical bandit algorithms of RL²'s Table 1, on all tasks at once.

Each follows the paper and its authors' scoring code: arms begin with the prior Beta(1, 1), ties go to the arm of
lowest number, and whatever can be tuned is tuned per number of arms and pulls, for the highest mean return. `TUNED`
has our choices from the same grids, made by `tune` on tasks apart from those that are scored: 4,000 for 10 pulls,
2,000 for 100, 400 for 100 pulls of 50 arms. For other sizes `score` tunes first, which takes `ots` some minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from numpy.typing import NDArray

from acclimate_trainer.baselines.bandit_optimum import BanditOptimum
from acclimate_trainer.baselines.gittins import discounted_gittins, finite_gittins
from acclimate_trainer.tasks.bandit import BanditFamily

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


class Seen(NamedTuple):
    """What has happened in N trials before a pull."""

    wins: Counts  # (N, k)
    losses: Counts  # (N, k)
    pull: int  # pulls before this one


Choose = Callable[[Seen, np.random.Generator], Counts]  # the arm to pull on each task (N,)


class Baseline(NamedTuple):
    """An algorithm, and what its setting may be; a grid of one value has nothing to tune."""

    make: Callable[[BanditFamily, float], Choose]
    grid: tuple[float, ...] = (0.0,)


def score(
    name: str, family: BanditFamily, tasks: int, rng: np.random.Generator, setting: float | None = None
) -> Scores:
    """Total reward of baseline `name` on each of `tasks` new bandits, (tasks,).

    setting: epsilon, UCB's c, draws, or discount; by default the tuned one, found first where the table has none.
    Raises UsageError for an unknown name.
    """
    baseline = _find(name)
    if setting is None:
        setting = TUNED.get(name, {}).get((family.episodes, family.arms))
    if setting is None:
        setting = tune(name, family, rng)
    return play(baseline.make(family, setting), family, tasks, rng)


def tune(name: str, family: BanditFamily, rng: np.random.Generator, tasks: int = 2000) -> float:
    """The setting of the highest mean return, each scored on `tasks` bandits of the same seed."""
    baseline, seed = _find(name), int(rng.integers(2**31))
    if len(baseline.grid) == 1:
        return baseline.grid[0]

    def mean(setting: float) -> float:
        player = baseline.make(family, setting)
        return float(play(player, family, tasks, np.random.default_rng(seed)).mean())

    return max(baseline.grid, key=mean)


def play(choose: Choose, family: BanditFamily, tasks: int, rng: np.random.Generator) -> Scores:
    """Total reward on each of `tasks` new bandits, (tasks,)."""
    session = family.open(family.sample(tasks, rng), 1, family.episodes, rng)
    wins, losses = np.zeros((2, tasks, family.arms), np.int64)
    row = np.arange(tasks)
    for pull in range(family.episodes):
        arm = choose(Seen(wins, losses, pull), rng)
        reward = session.step(torch.from_numpy(arm).float().view(-1, 1, 1)).reward
        won = reward.view(-1).numpy() > 0.0
        wins[row, arm] += won
        losses[row, arm] += ~won
    total: Scores = wins.sum(1).astype(np.float64)
    return total


def _find(name: str) -> Baseline:
    if name not in BASELINES:
        raise UsageError(f"no bandit baseline is called '{name}'; there are {', '.join(BASELINES)}")
    return BASELINES[name]


def _mean(seen: Seen) -> Scores:
    """Posterior mean of each arm (N, k)."""
    mean: Scores = (1.0 + seen.wins) / (2.0 + seen.wins + seen.losses)
    return mean


def _best(index: Scores) -> Counts:
    """The arm of highest index (N, k), the first of several."""
    arm: Counts = index.argmax(1)
    return arm


def _random(family: BanditFamily, _: float) -> Choose:
    return lambda seen, rng: rng.integers(0, family.arms, len(seen.wins))


def _greedy(_: BanditFamily, __: float) -> Choose:
    return lambda seen, _: _best(_mean(seen))


def _epsilon_greedy(_: BanditFamily, epsilon: float) -> Choose:
    """The best mean, but with probability epsilon any arm."""

    def choose(seen: Seen, rng: np.random.Generator) -> Counts:
        n, arms = seen.wins.shape
        astray = rng.random(n) < epsilon
        return np.where(astray, rng.integers(0, arms, n), _best(_mean(seen)))

    return choose


def _ucb1(_: BanditFamily, c: float) -> Choose:
    """Auer, Cesa-Bianchi and Fischer 2002, with the width times c, and counts that include the prior's two."""

    def choose(seen: Seen, _: np.random.Generator) -> Counts:
        trials = 2.0 + seen.wins + seen.losses
        return _best(_mean(seen) + c * np.sqrt(2.0 * np.log(max(seen.pull, 1)) / trials))

    return choose


def _thompson(_: BanditFamily, draws: float) -> Choose:
    """Best arm of a draw from the posterior (Thompson 1933); of several draws, of the most likely one.

    The latter is what RL² calls optimistic: more draws are greedier.
    """

    def choose(seen: Seen, rng: np.random.Generator) -> Counts:
        best, likelihood = rng.beta(1 + seen.wins, 1 + seen.losses), np.empty(0)
        for i in range(1, int(draws)):
            if i == 1:
                likelihood = _log_likelihood(best, seen)
            other = rng.beta(1 + seen.wins, 1 + seen.losses)
            found = _log_likelihood(other, seen)
            best = np.where((found > likelihood)[:, None], other, best)
            likelihood = np.maximum(found, likelihood)
        return _best(best)

    return choose


def _log_likelihood(p: Scores, seen: Seen) -> Scores:
    """Log posterior density of p (N, k), up to a constant: (N,)."""
    tiny = np.finfo(np.float64).tiny
    log = seen.wins * np.log(p + tiny) + seen.losses * np.log(1.0 - p + tiny)
    total: Scores = log.sum(axis=1)
    return total


def _gittins(family: BanditFamily, discount: float) -> Choose:
    table = discounted_gittins(family.episodes, discount)
    return lambda seen, _: _best(table[seen.wins, seen.losses])


def _finite_gittins(family: BanditFamily, _: float) -> Choose:
    tables = finite_gittins(family.episodes)
    return lambda seen, _: _best(tables[family.episodes - seen.pull][seen.wins, seen.losses])


def _optimum(family: BanditFamily, _: float) -> Choose:
    solved = BanditOptimum(family.arms, family.episodes)
    return lambda seen, _: solved.choose(seen.wins, seen.losses)


_TENTHS = tuple(i / 10 for i in range(11))
BASELINES: dict[str, Baseline] = {
    "random": Baseline(_random),
    "gittins": Baseline(_gittins, (0.9, 0.99, 0.999, 0.9999)),
    "finite_gittins": Baseline(_finite_gittins),
    "ts": Baseline(_thompson, (1.0,)),
    "ots": Baseline(_thompson, tuple(map(float, range(1, 21)))),
    "ucb1": Baseline(_ucb1, _TENTHS),
    "epsilon_greedy": Baseline(_epsilon_greedy, _TENTHS),
    "greedy": Baseline(_greedy),
    "optimum": Baseline(_optimum),
}
"""By the names of Table 1. Beside them `finite_gittins`, which knows how many pulls are left, and `optimum`, the
Bayes-optimal policy, for bandits of few pulls."""

TUNED: dict[str, dict[tuple[int, int], float]] = {
    "gittins": {
        **{(10, k): 0.9 for k in (5, 10, 50)},
        **{(100, k): 0.99 for k in (5, 10, 50)},
        (500, 5): 0.999,
    },
    "ots": {
        **{(10, 5): 19.0, (10, 10): 17.0, (10, 50): 20.0},
        **{(100, 5): 20.0, (100, 10): 19.0, (100, 50): 20.0},
    },
    "ucb1": {
        **{(10, k): 0.1 for k in (5, 10, 50)},
        **{(100, k): 0.2 for k in (5, 10, 50)},
    },
    "epsilon_greedy": {
        **{(10, k): 0.0 for k in (5, 10, 50)},
        **{(100, k): 0.0 for k in (5, 10, 50)},
    },
}
"""Setting by name, then by (pulls, arms)."""
