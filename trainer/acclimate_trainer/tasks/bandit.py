"""Bernoulli bandits: k arms that pay 1 with probability p ~ U(0, 1) each; an episode is one pull.

RL² (Duan et al. 2016), section 3.1, with n = `episodes` pulls. There is nothing to observe: all that an agent can
know is in its previous actions and rewards. `classical.bandit_optimum` is the exact ceiling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.tasks.trials import Step


class BanditTasks(NamedTuple):
    """n bandits."""

    p: Tensor  # chance that an arm pays, float32 (N, k)


class BanditState(NamedTuple):
    """A bandit has no state."""


class BanditFamily:
    """Bandits of `arms` arms, `episodes` pulls each; a `trials.TrialFamily`."""

    n_obs = 1
    horizon = 1
    typical_reward = (0.5, 0.5)
    reward_prior = 2.0  # Beta(1, 1): the posterior mean is (1 + wins)/(2 + pulls)

    def __init__(self, arms: int, episodes: int) -> None:
        """Raises UsageError for no arms or no pulls."""
        if arms < 1 or episodes < 1:
            raise UsageError(
                f"a bandit needs at least one arm and one pull, found arms {arms}, episodes {episodes}"
            )
        self.arms = self.n_actions = self.n_privileged = self.n_facts = arms
        self.episodes = episodes

    def sample(self, n: int, rng: np.random.Generator) -> BanditTasks:
        """Draw n bandits."""
        return BanditTasks(torch.from_numpy(rng.random((n, self.arms), dtype=np.float32)))

    def reset(self, tasks: BanditTasks) -> tuple[BanditState, Tensor]:
        """The state that is none, and the observation that is always 1."""
        return BanditState(), torch.ones(len(tasks.p), 1)

    def step(
        self, tasks: BanditTasks, state: BanditState, action: Tensor, rng: np.random.Generator
    ) -> Step[BanditState]:
        """Pull arm `action` (N,)."""
        n = len(tasks.p)
        mean = tasks.p.gather(1, action.unsqueeze(1)).squeeze(1)
        reward = (torch.from_numpy(rng.random(n, dtype=np.float32)) < mean).float()
        never, always = torch.zeros(n, dtype=torch.bool), torch.ones(n, dtype=torch.bool)
        return Step(state, torch.ones(n, 1), reward, mean, never, always)

    def facts(self, tasks: BanditTasks) -> Tensor:
        """The arms' p, from −1 to 1."""
        return 2.0 * tasks.p - 1.0

    def critic_features(self, tasks: BanditTasks, state: BanditState) -> Tensor:
        """The arms' p, (N, k)."""
        del state
        return tasks.p
