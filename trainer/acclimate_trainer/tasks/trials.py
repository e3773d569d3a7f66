"""Discrete families in trials: what a task family gives to an algorithm that adapts in its memory (RL²).

A trial is `episodes` episodes of `horizon` steps each on one task; the task is the hidden part of the state
(Duan et al., "RL²: Fast Reinforcement Learning via Slow Reinforcement Learning", 2016, section 2.2). A family
resets itself at the end of an episode; whoever plays counts the steps of a trial. All N tasks are one batch.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor

Tasks = TypeVar("Tasks")
State = TypeVar("State")


class Step(NamedTuple, Generic[State]):
    """What one action led to, on N tasks at once. After an episode's last step, state and obs are the next one's."""

    state: State
    obs: Tensor  # before the next action, one-hot float32 (N, n_obs)
    reward: Tensor  # float32 (N,)
    mean_reward: Tensor  # its expectation given task, state and action; for returns without that noise (N,)
    terminated: Tensor  # the episode ended in itself, bool (N,)
    truncated: Tensor  # the episode ended at its time limit, bool (N,)


class TrialFamily(Protocol[Tasks, State]):
    """Samples tasks and steps them. Pure: state is passed in and out, and randomness passed in.

    Every family passes `tests/trainer/trial_conformance.py`.
    """

    @property
    def n_obs(self) -> int:
        """Entries of an observation."""

    @property
    def n_actions(self) -> int:
        """Actions are 0 … n_actions − 1."""

    @property
    def n_privileged(self) -> int:
        """Entries of `critic_features`."""

    @property
    def n_facts(self) -> int:
        """Entries of `facts`."""

    @property
    def typical_reward(self) -> tuple[float, float]:
        """Mean and standard deviation of a reward over all tasks, for scaling."""

    @property
    def reward_prior(self) -> float:
        """How many rewards the prior on an observation's and action's mean reward is worth (its mean is typical)."""

    @property
    def episodes(self) -> int:
        """Episodes of a trial."""

    @property
    def horizon(self) -> int:
        """Steps of an episode."""

    def sample(self, n: int, rng: np.random.Generator) -> Tasks:
        """Draw n tasks."""

    def reset(self, tasks: Tasks) -> tuple[State, Tensor]:
        """State and observation (N, n_obs) at the beginning of a trial."""

    def step(self, tasks: Tasks, state: State, action: Tensor, rng: np.random.Generator) -> Step[State]:
        """One action (N,) int64 on every task."""

    def facts(self, tasks: Tasks) -> Tensor:
        """What there is to infer about each task, about 1 in size, float32 (N, n_facts); training only."""

    def critic_features(self, tasks: Tasks, state: State) -> Tensor:
        """True facts about task and state, float32 (N, n_privileged), for the value function in training.

        The policy never sees them, so what is trained with them plays without them.
        """


def trial_steps(family: TrialFamily[Tasks, State]) -> int:
    """Steps of a whole trial."""
    return family.episodes * family.horizon
