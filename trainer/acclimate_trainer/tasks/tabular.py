"""Tabular MDPs, drawn at random: 10 states, 5 actions, episodes of 10 steps that begin in state 0.

RL² (Duan et al. 2016), section 3.2, after Osband et al., "(More) Efficient Reinforcement Learning via Posterior
Sampling" (2013): per state and action the mean reward ~ N(1, 1), the reward ~ N(mean, 1), and the next state's
distribution ~ Dirichlet(1, …, 1). The ceiling is the policy that knows the MDP, by value iteration.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.tasks.trials import Step

START = 0
REWARD_MEAN, REWARD_SPREAD, REWARD_NOISE = (
    1.0,
    1.0,
    1.0,
)  # of the mean rewards; standard deviation of a reward


class TabularTasks(NamedTuple):
    """n MDPs of S states, A actions and horizon H."""

    reward: Tensor  # mean reward, float32 (N, S, A)
    transition: Tensor  # P(next state | state, action), float32 (N, S, A, S)
    q: Tensor  # optimal return from step h on, float32 (N, H, S, A)


class TabularState(NamedTuple):
    """Where n MDPs are."""

    s: Tensor  # state, int64 (N,)
    t: Tensor  # step in the episode, int64 (N,)


class TabularFamily:
    """Random MDPs, `episodes` episodes each; a `trials.TrialFamily`."""

    def __init__(self, episodes: int, states: int = 10, actions: int = 5, horizon: int = 10) -> None:
        """Raises UsageError for a size below 1."""
        if min(episodes, states, actions, horizon) < 1:
            raise UsageError(
                "a tabular MDP needs at least one of each, found "
                f"episodes {episodes}, states {states}, actions {actions}, horizon {horizon}"
            )
        self.episodes, self.horizon = episodes, horizon
        self.n_obs, self.n_actions, self.n_privileged = states, actions, actions + 2
        self.n_facts = states * actions
        self.typical_reward = (REWARD_MEAN, math.hypot(REWARD_SPREAD, REWARD_NOISE))
        self.reward_prior = (REWARD_NOISE / REWARD_SPREAD) ** 2  # of normal means under normal noise
        self._one_hot = torch.eye(states)

    def sample(self, n: int, rng: np.random.Generator) -> TabularTasks:
        """Draw n MDPs, and solve them."""
        shape = (n, self.n_obs, self.n_actions)
        reward = REWARD_MEAN + REWARD_SPREAD * rng.standard_normal(shape, dtype=np.float32)
        transition = rng.standard_exponential((*shape, self.n_obs), dtype=np.float32)
        transition /= transition.sum(-1, keepdims=True)  # normalised exponentials are Dirichlet(1, …, 1)
        return solved(torch.from_numpy(reward), torch.from_numpy(transition), self.horizon)

    def reset(self, tasks: TabularTasks) -> tuple[TabularState, Tensor]:
        """All in the start state, seen as one-hot (N, S)."""
        begin = torch.full((len(tasks.reward),), START)
        return TabularState(begin, torch.zeros_like(begin)), self._one_hot[begin]

    def step(
        self, tasks: TabularTasks, state: TabularState, action: Tensor, rng: np.random.Generator
    ) -> Step[TabularState]:
        """Take `action` (N,); after the last step of an episode, the next begins."""
        n = len(action)
        row = (torch.arange(n), state.s, action)
        mean = tasks.reward[row]
        noise = torch.from_numpy(rng.standard_normal(n, dtype=np.float32))
        reached = torch.from_numpy(rng.random((n, 1), dtype=np.float32)) >= tasks.transition[row].cumsum(-1)
        arrived = reached.sum(-1).clamp_max(self.n_obs - 1)  # the sum of float32 may fall short of 1
        truncated = state.t + 1 == self.horizon
        s = torch.where(truncated, START, arrived)
        t = torch.where(truncated, 0, state.t + 1)
        never = torch.zeros(n, dtype=torch.bool)
        reward = mean + REWARD_NOISE * noise
        return Step(TabularState(s, t), self._one_hot[s], reward, mean, never, truncated)

    def facts(self, tasks: TabularTasks) -> Tensor:
        """Every mean reward, standardised, (N, S·A)."""
        return (tasks.reward.flatten(1) - REWARD_MEAN) / REWARD_SPREAD

    def critic_features(self, tasks: TabularTasks, state: TabularState) -> Tensor:
        """Optimal returns of the episode, per step: each action's from here, the best, from the start (N, A + 2)."""
        here = tasks.q[torch.arange(len(state.s)), state.t, state.s]
        begin = tasks.q[:, 0, START].amax(-1)
        return torch.cat([here, torch.stack([here.amax(-1), begin], -1)], -1) / self.horizon


def optimal_q(reward: Tensor, transition: Tensor, horizon: int) -> Tensor:
    """Value iteration over a finite horizon: Q_h(s, a) for `reward` (N, S, A), `transition` (N, S, A, S): (N, H, S, A).

    Q_h(s, a) = r(s, a) + Σ_s' P(s' | s, a)·max_a' Q_{h+1}(s', a'), with Q_H = 0.
    """
    q = [reward]
    for _ in range(horizon - 1):
        best = q[-1].amax(-1)  # (N, S)
        q.append(reward + torch.einsum("nsap,np->nsa", transition, best))
    return torch.stack(q[::-1], 1)


def solved(reward: Tensor, transition: Tensor, horizon: int) -> TabularTasks:
    """MDPs of mean rewards (N, S, A) and transitions (N, S, A, S), with their optimal returns."""
    return TabularTasks(reward, transition, optimal_q(reward, transition, horizon))


def oracle_value(tasks: TabularTasks, episodes: int) -> Tensor:
    """Expected return of a trial of the best policy that knows the MDP: (N,)."""
    return episodes * tasks.q[:, 0, START].amax(-1)
