"""Tabular MDPs, drawn at random: 10 states, 5 actions, episodes of 10 steps that begin in state 0.

RL² (Duan et al. 2016), section 3.2, after Osband et al., "(More) Efficient Reinforcement Learning via Posterior
Sampling" (2013): per state and action the mean reward ~ N(1, 1), the reward ~ N(mean, 1), and the next state's
distribution ~ Dirichlet(1, …, 1). The ceiling is the policy that knows the MDP, by value iteration.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, Parameter, TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Session, Step

CONTROL_DT = 0.1  # s; a step takes no time, but on a wire everything does
START = 0
REWARD_MEAN, REWARD_SPREAD = 1.0, 1.0  # of the mean rewards
REWARD_NOISE = 1.0  # standard deviation of a reward around its mean
_FAR = 6.0  # standard deviations at which normal numbers are cut off, so that channels have limits


class TabularTasks(NamedTuple):
    """T MDPs of S states, A actions and horizon H."""

    reward: Tensor  # mean reward (T, S, A)
    transition: Tensor  # P(next state | state, action) (T, S, A, S)
    q: Tensor  # optimal return from step h on (T, H, S, A)


class TabularSession:
    """E walks through each of T MDPs. What is observed is the state, one-hot, and the reward of the step before."""

    def __init__(self, tasks: TabularTasks, episodes: int, horizon: int, rng: np.random.Generator) -> None:
        shape = (len(tasks.reward), episodes)
        self.s = torch.full(shape, START)  # state, int64 (T, E)
        self.t = 0  # step in the episode
        self._tasks, self._horizon = tasks, horizon
        self._row = torch.arange(shape[0]).unsqueeze(1)  # (T, 1)
        self._rng = np.random.default_rng(rng.integers(2**63))  # its own, whatever else is drawn meanwhile
        self.obs = self._seen(torch.zeros(shape))

    def step(self, action: Tensor) -> Step:
        """Take the actions whose numbers are nearest to `action` (T, E, 1)."""
        reward, transition, _ = self._tasks
        chosen = action.squeeze(-1).round().clamp(0, reward.shape[-1] - 1).long()
        row = (self._row, self.s, chosen)
        earned = reward[row] + REWARD_NOISE * _normal(self._rng, tuple(chosen.shape))
        luck = torch.from_numpy(self._rng.random((*chosen.shape, 1), dtype=np.float32))
        arrived = (luck >= transition[row].cumsum(-1)).sum(-1)
        arrived = arrived.clamp_max(reward.shape[1] - 1)  # the sum of float32 may fall short of 1
        ended = self.t + 1 == self._horizon
        self.t = 0 if ended else self.t + 1
        self.s = torch.full_like(arrived, START) if ended else arrived
        self.obs = self._seen(earned)
        never = torch.zeros_like(arrived, dtype=torch.bool)
        return Step(earned, never, torch.full_like(never, ended))

    def become(self, tasks: TabularTasks, where: Tensor) -> None:
        pairs = zip(tasks, self._tasks, strict=True)
        chosen = (torch.where(where.view(-1, *[1] * (new.dim() - 1)), new, old) for new, old in pairs)
        self._tasks = TabularTasks(*chosen)

    def _seen(self, reward: Tensor) -> Tensor:
        state = F.one_hot(self.s, self._tasks.reward.shape[1]).to(reward.dtype)
        return torch.cat([state, reward.unsqueeze(-1)], dim=-1)


@dataclass(frozen=True)
class TabularFamily:
    """Section [family.options] of a config: random MDPs, `episodes` episodes each."""

    episodes: int = 10
    """Episodes of a trial."""
    states: int = 10
    """States of an MDP."""
    actions: int = 5
    """Actions that there are in each state."""
    horizon: int = 10
    """Steps of an episode."""

    def __post_init__(self) -> None:
        """Raises UsageError for a size below 1."""
        sizes = {field.name: getattr(self, field.name) for field in fields(self)}
        if min(sizes.values()) < 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise UsageError(f"a tabular MDP needs at least one of each, found {found}")

    @cached_property
    def spec(self) -> TaskSpec:
        """An oracle is told the mean rewards; of the transitions there are ten times as many."""
        spread = _FAR * REWARD_SPREAD
        widest = spread + _FAR * REWARD_NOISE
        return TaskSpec(
            name="tabular",
            control_dt=CONTROL_DT,
            observation=(
                ObservationChannel("state", "1", 0.0, 1.0, shape=(self.states,)),
                ObservationChannel(
                    "reward", "1", REWARD_MEAN - widest, REWARD_MEAN + widest, source="reward"
                ),
            ),
            action=(ActionChannel("action", "1", 0.0, float(max(self.actions - 1, 1))),),
            parameters=tuple(
                Parameter(f"reward_{s}_{a}", "1", REWARD_MEAN - spread, REWARD_MEAN + spread)
                for s, a in product(range(self.states), range(self.actions))
            ),
            metrics=(Metric("reward", "reward"),),
            choices=tuple((float(action),) for action in range(self.actions)),
            horizon=self.horizon,
            episodes=self.episodes,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> TabularTasks:
        """Draw n MDPs, and solve them."""
        del progress  # no MDP is harder than another
        shape = (n, self.states, self.actions)
        reward = REWARD_MEAN + REWARD_SPREAD * _normal(rng, shape)
        transition = rng.standard_exponential((*shape, self.states), dtype=np.float32)
        transition /= transition.sum(-1, keepdims=True)  # normalised exponentials are Dirichlet(1, …, 1)
        return solved(reward, torch.from_numpy(transition), self.horizon)

    def parameters(self, tasks: TabularTasks) -> Tensor:
        return tasks.reward.flatten(1)

    def open(
        self, tasks: TabularTasks, episodes: int, steps: int, rng: np.random.Generator
    ) -> TabularSession:
        del steps  # an MDP has no end
        return TabularSession(tasks, episodes, self.horizon, rng)

    def inputs(self, obs: Tensor) -> Tensor:
        """The state, one-hot."""
        return obs[..., : self.states]

    @property
    def reward_prior(self) -> tuple[float, float]:
        """Normal means under normal noise: the prior is worth as many rewards as its variance is smaller."""
        return REWARD_MEAN, (REWARD_NOISE / REWARD_SPREAD) ** 2

    @property
    def n_critic(self) -> int:
        return self.actions + 2

    def critic(self, tasks: TabularTasks, session: Session[TabularTasks]) -> Tensor:
        """Optimal returns of the episode, per step: each action's from here, the best, from the start (T, E, A + 2)."""
        assert isinstance(session, TabularSession)
        row = torch.arange(len(tasks.q)).unsqueeze(1)
        here = tasks.q[row, session.t, session.s]  # (T, E, A)
        best = here.amax(-1, keepdim=True)
        begin = tasks.q[:, 0, START].amax(-1)[:, None, None].expand_as(best)
        return torch.cat([here, best, begin], -1) / self.horizon


def optimal_q(reward: Tensor, transition: Tensor, horizon: int) -> Tensor:
    """Value iteration over a finite horizon: Q_h(s, a) for `reward` (T, S, A), `transition` (T, S, A, S): (T, H, S, A).

    Q_h(s, a) = r(s, a) + Σ_s' P(s' | s, a)·max_a' Q_{h+1}(s', a'), with Q_H = 0.
    """
    q = [reward]
    for _ in range(horizon - 1):
        best = q[-1].amax(-1)  # (T, S)
        q.append(reward + torch.einsum("nsap,np->nsa", transition, best))
    return torch.stack(q[::-1], 1)


def solved(reward: Tensor, transition: Tensor, horizon: int) -> TabularTasks:
    """MDPs of mean rewards (T, S, A) and transitions (T, S, A, S), with their optimal returns."""
    return TabularTasks(reward, transition, optimal_q(reward, transition, horizon))


def oracle_value(tasks: TabularTasks, episodes: int) -> Tensor:
    """Expected return of a trial of the best policy that knows the MDP: (T,)."""
    return episodes * tasks.q[:, 0, START].amax(-1)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32).clip(-_FAR, _FAR))
