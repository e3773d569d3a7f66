"""Bernoulli bandits: arms drawn uniformly, paid as their p says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.play.world import SessionWorld
from acclimate_trainer.tasks.bandit import BanditFamily, BanditTasks
from acclimate_trainer.testing import FamilyConformance
from torch.testing import assert_close


class TestBanditConformance(FamilyConformance):
    def family(self) -> BanditFamily:
        return BanditFamily(arms=5, episodes=10)


class TestOneArm(FamilyConformance):
    def family(self) -> BanditFamily:
        return BanditFamily(arms=1, episodes=1)


def test_arms_are_drawn_uniformly_and_apart() -> None:
    p = BanditFamily(3, 1).sample(20_000, np.random.default_rng(0)).p
    assert p.min() >= 0.0
    assert p.max() <= 1.0
    assert_close(p.mean(0), torch.full((3,), 0.5), atol=0.01, rtol=0)
    assert_close(p.T.cov(), torch.eye(3) / 12, atol=0.002, rtol=0)


def test_an_arm_pays_one_or_nothing_as_often_as_its_p_says() -> None:
    family, n = BanditFamily(3, 1), 20_000
    tasks = BanditTasks(torch.tensor([[0.0, 0.3, 1.0]]))
    for arm, p in enumerate((0.0, 0.3, 1.0)):
        session = family.open(tasks, n, 1, np.random.default_rng(0))
        step = session.step(torch.full((1, n, 1), float(arm)))
        assert set(step.reward.unique().tolist()) <= {0.0, 1.0}
        assert abs(step.reward.mean().item() - p) < 4 * (p * (1 - p) / n) ** 0.5 + 1e-9
        assert torch.equal(session.obs.squeeze(-1), step.reward)


def test_every_pull_is_an_episode() -> None:
    family = BanditFamily(2, 5)
    session = family.open(family.sample(3, np.random.default_rng(0)), 2, 5, np.random.default_rng(1))
    for _ in range(5):
        step = session.step(torch.zeros(3, 2, 1))
        assert step.truncated.all()
        assert not step.terminated.any()
    assert (family.spec.horizon, family.spec.episodes) == (1, 5)


def test_an_arm_that_becomes_another_pays_as_that() -> None:
    family = BanditFamily(1, 10)
    session = family.open(BanditTasks(torch.tensor([[0.0], [0.0]])), 4, 10, np.random.default_rng(0))
    session.become(BanditTasks(torch.tensor([[1.0], [1.0]])), torch.tensor([False, True]))
    assert session.step(torch.zeros(2, 4, 1)).reward.mean(1).tolist() == [0.0, 1.0]


def test_a_device_measures_the_last_pull_when_the_next_begins() -> None:
    """An episode is one pull: what it pays would be lost if an episode began with nothing."""
    machine, paid = SessionWorld(BanditFamily(2, 50)).held_out(0, 1), list[float]()
    rng = np.random.default_rng(0)
    assert machine.reset(rng).tolist() == [0.0]
    for _ in range(50):
        (earned,) = machine.step(np.ones(1, np.float32))
        assert machine.reset(rng).tolist() == [earned]
        paid.append(float(earned))
    assert np.mean(paid) == pytest.approx(machine.parameters["p_1"], abs=0.25)


def test_a_critic_and_an_oracle_are_told_the_arms() -> None:
    family = BanditFamily(4, 10)
    tasks = family.sample(7, np.random.default_rng(0))
    session = family.open(tasks, 3, 10, np.random.default_rng(0))
    assert torch.equal(family.critic(tasks, session), tasks.p.unsqueeze(1).expand(7, 3, 4))
    assert torch.equal(family.parameters(tasks), tasks.p)


@pytest.mark.parametrize(("arms", "episodes"), [(0, 10), (5, 0)])
def test_no_arms_or_no_pulls_are_refused(arms: int, episodes: int) -> None:
    with pytest.raises(UsageError, match=f"found arms {arms}, episodes {episodes}"):
        BanditFamily(arms, episodes)
