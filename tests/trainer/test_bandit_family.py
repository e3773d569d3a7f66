"""Bernoulli bandits: arms drawn uniformly, paid as their p says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.tasks.bandit import BanditFamily, BanditState, BanditTasks
from torch.testing import assert_close

from .trial_conformance import TrialConformance


class TestBanditConformance(TrialConformance[BanditTasks, BanditState]):
    def family(self) -> BanditFamily:
        return BanditFamily(arms=5, episodes=10)


class TestOneArm(TrialConformance[BanditTasks, BanditState]):
    def family(self) -> BanditFamily:
        return BanditFamily(arms=1, episodes=1)


def test_arms_are_drawn_uniformly_and_apart() -> None:
    p = BanditFamily(3, 1).sample(20_000, np.random.default_rng(0)).p
    assert p.min() >= 0.0
    assert p.max() <= 1.0
    assert_close(p.mean(0), torch.full((3,), 0.5), atol=0.01, rtol=0)
    assert_close(p.T.cov(), torch.eye(3) / 12, atol=0.002, rtol=0)


def test_an_arm_pays_one_or_nothing_as_often_as_its_p_says() -> None:
    family, rng, n = BanditFamily(3, 1), np.random.default_rng(0), 20_000
    tasks = BanditTasks(torch.tensor([[0.0, 0.3, 1.0]]).expand(n, 3))
    for arm, p in enumerate((0.0, 0.3, 1.0)):
        step = family.step(tasks, BanditState(), torch.full((n,), arm), rng)
        assert set(step.reward.tolist()) <= {0.0, 1.0}
        assert abs(step.reward.mean().item() - p) < 4 * (p * (1 - p) / n) ** 0.5 + 1e-9
        assert_close(step.mean_reward, torch.full((n,), p))


def test_a_critic_is_told_the_arms() -> None:
    family = BanditFamily(4, 10)
    tasks = family.sample(7, np.random.default_rng(0))
    assert torch.equal(family.critic_features(tasks, family.reset(tasks)[0]), tasks.p)


@pytest.mark.parametrize(("arms", "episodes"), [(0, 10), (5, 0)])
def test_no_arms_or_no_pulls_are_refused(arms: int, episodes: int) -> None:
    with pytest.raises(UsageError, match=f"found arms {arms}, episodes {episodes}"):
        BanditFamily(arms, episodes)
