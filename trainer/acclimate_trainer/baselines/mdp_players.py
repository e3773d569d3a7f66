"""The classical algorithms for tabular MDPs of RL²'s Table 2, on all tasks at once.

All plan once per episode, by value iteration over what they believe then, and follow that plan. They are defined as
in Osband's TabulaRL, which the paper scored: `psrl` and `opsrl` (Osband et al. 2013; Osband and Van Roy 2017), `ucrl2`
(Jaksch, Ortner and Auer 2010), `beb` (Kolter and Ng 2009), `epsilon_greedy` and `greedy`. An episode's last
transition, whose state nobody acts in, teaches nothing. What can be tuned is tuned per number of episodes, for the
highest mean return; `TUNED` has our choices, from 2,000 tasks for 10 episodes and 1,000 for 25,
apart from those that are scored.

Only with a prior mean reward of 0 do they score what the paper prints, although rewards have mean 1. `psrl_informed`
and `beb_informed` have the true prior, and the latter is by far the strongest of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.tasks.tabular import REWARD_MEAN, TabularFamily, optimal_q

FLAT = 1e-4  # weight of a prior that is hardly one
DELTA = 0.05  # UCRL2's chance of failure


class Seen(NamedTuple):
    """What has happened on N tasks."""

    reward: Tensor  # sum of the rewards (N, S, A)
    visits: Tensor  # (N, S, A)
    arrivals: Tensor  # how often each state followed (N, S, A, S)

    def reward_mean(self, prior_mean: float, weight: float) -> Tensor:
        """Posterior mean for a prior worth `weight` rewards of `prior_mean`, (N, S, A)."""
        return (self.reward + weight * prior_mean) / (self.visits + weight)

    def transition(self, weight: float) -> Tensor:
        """Posterior mean for a Dirichlet prior of `weight` per state, (N, S, A, S)."""
        alpha = self.arrivals + weight
        return alpha / alpha.sum(-1, keepdim=True)


Plan = Callable[
    [Seen, int, np.random.Generator], Tensor
]  # at the start of an episode: values to be greedy for


class Player(NamedTuple):
    """How to plan, and how often to ignore the plan."""

    plan: Plan
    epsilon: float = 0.0


class Baseline(NamedTuple):
    """An algorithm, and what its setting may be; a grid of one value has nothing to tune."""

    make: Callable[[TabularFamily, float], Player]
    grid: tuple[float, ...] = (0.0,)


def score(
    name: str, family: TabularFamily, tasks: int, rng: np.random.Generator, setting: float | None = None
) -> NDArray[np.float64]:
    """Total reward of baseline `name` on each of `tasks` new MDPs, (tasks,).

    setting: epsilon, draws, or the scale of the bonus; by default the tuned one, found first where the table has none.
    Raises UsageError for an unknown name.
    """
    baseline = _find(name)
    if setting is None:
        setting = TUNED.get(name, {}).get(family.episodes)
    if setting is None:
        setting = tune(name, family, rng)
    return play(baseline.make(family, setting), family, tasks, rng)


def tune(name: str, family: TabularFamily, rng: np.random.Generator, tasks: int = 500) -> float:
    """The setting of the highest mean return, each scored on `tasks` MDPs of the same seed."""
    baseline, seed = _find(name), int(rng.integers(2**31))
    if len(baseline.grid) == 1:
        return baseline.grid[0]

    def mean(setting: float) -> float:
        player = baseline.make(family, setting)
        return float(play(player, family, tasks, np.random.default_rng(seed)).mean())

    return max(baseline.grid, key=mean)


def play(player: Player, family: TabularFamily, tasks: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Total reward on each of `tasks` new MDPs, (tasks,)."""
    session = family.open(family.sample(tasks, rng), 1, family.episodes * family.horizon, rng)
    seen = _nothing(tasks, family.states, family.actions)
    total = torch.zeros(tasks, dtype=torch.float64)
    for episode in range(family.episodes):
        q = player.plan(seen, episode, rng)
        for step in range(family.horizon):
            state = session.s.squeeze(1)
            action = _act(q[:, step], state, player.epsilon, rng)
            reward = session.step(action.float().view(-1, 1, 1)).reward.squeeze(1)
            total += reward
            last = step == family.horizon - 1
            _learn(seen, state, action, reward, None if last else session.s.squeeze(1))
    return total.numpy()


def _find(name: str) -> Baseline:
    if name not in BASELINES:
        raise UsageError(f"no MDP baseline is called '{name}'; there are {', '.join(BASELINES)}")
    return BASELINES[name]


def _nothing(n: int, states: int, actions: int) -> Seen:
    shape = (n, states, actions)
    return Seen(torch.zeros(shape), torch.zeros(shape), torch.zeros(*shape, states))


def _learn(seen: Seen, state: Tensor, action: Tensor, reward: Tensor, arrived: Tensor | None) -> None:
    """Count one transition of each task, in place; None: of an episode's last step one sees no more."""
    row = torch.arange(len(action))
    seen.reward[row, state, action] += reward
    seen.visits[row, state, action] += 1.0
    if arrived is not None:
        seen.arrivals[row, state, action, arrived] += 1.0


def _act(q: Tensor, state: Tensor, epsilon: float, rng: np.random.Generator) -> Tensor:
    """The best action in states (N,) by q (N, S, A), any of these that tie, but with probability epsilon any at all."""
    here = q[torch.arange(len(q)), state]  # (N, A)
    order = torch.from_numpy(rng.random(here.shape, dtype=np.float32)) + 1.0
    best = order * (here == here.amax(-1, keepdim=True))
    if epsilon == 0.0:
        return best.argmax(-1)
    astray = torch.from_numpy(rng.random(len(q)) < epsilon)
    return torch.where(astray.unsqueeze(-1), order, best).argmax(-1)


def _greedy(family: TabularFamily, epsilon: float) -> Player:
    """Plans in the MDP that it has counted, where what was never tried pays nothing."""

    def plan(seen: Seen, _: int, __: np.random.Generator) -> Tensor:
        return optimal_q(seen.reward_mean(0.0, FLAT), seen.transition(FLAT), family.horizon)

    return Player(plan, epsilon)


def _psrl(family: TabularFamily, draws: float, prior_mean: float = 0.0) -> Player:
    """Plans in an MDP drawn from the posterior; with several draws, takes the highest value of each."""

    def draw(seen: Seen, rng: np.random.Generator) -> Tensor:
        noise = rng.standard_normal(seen.visits.shape, dtype=np.float32)
        reward = seen.reward_mean(prior_mean, 1.0) + torch.from_numpy(noise) / torch.sqrt(seen.visits + 1.0)
        parts = torch.from_numpy(rng.standard_gamma(seen.arrivals.numpy() + 1.0, dtype=np.float32))
        return optimal_q(reward, parts / parts.sum(-1, keepdim=True), family.horizon)

    def plan(seen: Seen, __: int, rng: np.random.Generator) -> Tensor:
        q = draw(seen, rng)
        for _ in range(1, int(draws)):
            q = torch.maximum(q, draw(seen, rng))
        return q

    return Player(plan)


def _beb(family: TabularFamily, scale: float, prior_mean: float = 0.0) -> Player:
    """Plans in the mean of the posterior, with bonuses that fall as 1/n, times the steps that are left for states."""

    def plan(seen: Seen, _: int, __: np.random.Generator) -> Tensor:
        reward, transition = seen.reward_mean(prior_mean, 1.0), seen.transition(1.0)
        reward = reward + 1.0 / (seen.visits + 2.0)
        width = 2.0 * scale * family.horizon**3 / (1.0 + family.states + seen.arrivals.sum(-1))
        q = [reward]
        for left in range(1, family.horizon):
            q.append(reward + left * width + torch.einsum("nsap,np->nsa", transition, q[-1].amax(-1)))
        return torch.stack(q[::-1], 1)

    return Player(plan)


def _ucrl2(family: TabularFamily, scale: float) -> Player:
    """Plans in the best MDP within confidence sets around what it has counted (extended value iteration)."""

    def plan(seen: Seen, episode: int, __: np.random.Generator) -> Tensor:
        width = 4.0 * math.log(2.0 * family.states * family.actions * (episode + 1) / DELTA)
        moves = seen.arrivals.sum(-1)
        slack = scale * torch.sqrt(family.states * width / moves.clamp_min(1.0))
        reward = seen.reward_mean(0.0, FLAT) + scale * torch.sqrt(width / seen.visits.clamp_min(1.0))
        transition, q = seen.transition(FLAT), [reward]
        for _ in range(1, family.horizon):
            q.append(reward + optimistic_value(transition, slack, q[-1].amax(-1)))
        return torch.stack(q[::-1], 1)

    return Player(plan)


def optimistic_value(transition: Tensor, slack: Tensor, value: Tensor) -> Tensor:
    """Largest expectation of `value` (N, S) over distributions within L1 distance `slack` (N, S, A), (N, S, A).

    Half the slack goes to the best state, and is taken from the worst ones (Jaksch et al. 2010, figure 2).
    """
    ascending, order = value.sort(-1)
    p = transition.gather(-1, order[:, None, None].expand_as(transition))
    added = torch.minimum(slack / 2.0, 1.0 - p[..., -1])
    below = p[..., :-1]
    taken = torch.minimum(below, (added.unsqueeze(-1) - (below.cumsum(-1) - below)).clamp_min(0.0))
    p = torch.cat([below - taken, (p[..., -1] + added).unsqueeze(-1)], -1)
    return torch.einsum("nsap,np->nsa", p, ascending)


_SCALES = tuple(float(x) for x in np.geomspace(1e-4, 1.0, 21))
BASELINES: dict[str, Baseline] = {
    "random": Baseline(_greedy, (1.0,)),
    "psrl": Baseline(_psrl, (1.0,)),
    "opsrl": Baseline(_psrl, tuple(map(float, range(1, 21)))),
    "ucrl2": Baseline(_ucrl2, _SCALES),
    "beb": Baseline(_beb, _SCALES),
    "epsilon_greedy": Baseline(_greedy, tuple(i / 10 for i in range(1, 11))),
    "greedy": Baseline(_greedy),
    "psrl_informed": Baseline(partial(_psrl, prior_mean=REWARD_MEAN), (1.0,)),
    "beb_informed": Baseline(partial(_beb, prior_mean=REWARD_MEAN), _SCALES),
}
"""By the names of Table 2, and two that know the prior. The random policy is one that always ignores its plan."""

TUNED: dict[str, dict[int, float]] = {
    "opsrl": {10: 16.0, 25: 20.0},
    "ucrl2": {10: _SCALES[18], 25: _SCALES[18]},  # 0.40
    "beb": {10: _SCALES[6], 25: _SCALES[6]},  # 0.0016
    "epsilon_greedy": {10: 0.1, 25: 0.1},
    "beb_informed": {10: _SCALES[2], 25: _SCALES[3]},  # 0.00025 and 0.00040
}
"""Setting by name, then by number of episodes."""
