"""Maximum entropy: the exact ground of soft values, draws from them, what fine-tuning does, and that runs resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.entropy.entropy import Entropy, EntropyConfig
from acclimate_trainer.algorithms.entropy.policy import EntropyPolicy
from acclimate_trainer.contract.policy import Act, Policy, Tensors, Window
from acclimate_trainer.tasks.dash import PointDashFamily
from acclimate_trainer.tasks.reacher import ReacherFamily

from tests.trainer.policy_conformance import EPISODES, AdaptivePolicyConformance

SMALL = EntropyConfig(hidden=12, window_episodes=2, window_steps=20, batch=16, steps=3, replay=600)


def untrained(family: object, config: EntropyConfig = SMALL, seed: int = 0) -> EntropyPolicy:
    algorithm = Entropy(family, config)  # type: ignore[arg-type]
    return algorithm.policy(algorithm.initial(np.random.default_rng(seed)))


class TestContinuous(AdaptivePolicyConformance):
    bounded = True

    @pytest.fixture
    def policy(self) -> Policy:
        return untrained(PointDashFamily())


class TestChoices(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return untrained(ReacherFamily())

    def window(self, policy: Policy, tasks: int, *, seed: int) -> Window:
        """Of actions that there are, and not just any."""
        window = super().window(policy, tasks, seed=seed)
        choices = torch.tensor(policy.spec.choices)
        rng = torch.Generator().manual_seed(seed)
        return window._replace(action=choices[torch.randint(len(choices), window.mask.shape, generator=rng)])

    def _act(self, policy: Policy, state: Tensors, *, seed: int) -> Act:
        """On as many tasks as the state is of: nothing of it is written by `act`."""
        axes = (len(state["w2"]), EPISODES)
        return policy.act(state, self.obs(policy, *axes, seed=seed), self.noise(policy, *axes, seed=seed))
