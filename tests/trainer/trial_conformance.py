"""What every family of trials must do. A test module subclasses the mixin and gives one family.

class TestMyFamily(TrialConformance[MyTasks, MyState]):
    def family(self) -> TrialFamily[MyTasks, MyState]: ...

A family that fulfils this can train and score any agent that reads observation, action, reward and done.
"""

from __future__ import annotations

from typing import Generic

import numpy as np
import pytest
import torch
from acclimate_trainer.tasks.trials import State, Step, Tasks, TrialFamily, trial_steps
from torch import Tensor

N = 64
MANY = 20_000


class TrialConformance(Generic[Tasks, State]):
    """Subclasses override `family`."""

    def family(self) -> TrialFamily[Tasks, State]:
        raise NotImplementedError

    def actions(self, n: int, rng: np.random.Generator) -> Tensor:
        return torch.from_numpy(rng.integers(0, self.family().n_actions, n))

    def play(self, n: int, steps: int, seed: int) -> list[Step[State]]:
        """A random trial of n tasks."""
        family, rng = self.family(), np.random.default_rng(seed)
        tasks = family.sample(n, rng)
        state, _ = family.reset(tasks)
        out: list[Step[State]] = []
        for _ in range(steps):
            out.append(family.step(tasks, state, self.actions(n, rng), rng))
            state = out[-1].state
        return out

    def test_shapes_and_types(self) -> None:
        family, rng = self.family(), np.random.default_rng(0)
        tasks = family.sample(N, rng)
        state, obs = family.reset(tasks)
        step = family.step(tasks, state, self.actions(N, rng), rng)
        for seen in (obs, step.obs):
            assert (seen.shape, seen.dtype) == ((N, family.n_obs), torch.float32)
        for number in (step.reward, step.mean_reward):
            assert (number.shape, number.dtype) == ((N,), torch.float32)
        for flag in (step.terminated, step.truncated):
            assert (flag.shape, flag.dtype) == ((N,), torch.bool)
        told = family.critic_features(tasks, step.state)
        assert (told.shape, told.dtype) == ((N, family.n_privileged), torch.float32)
        assert told.isfinite().all()
        facts = family.facts(tasks)
        assert (facts.shape, facts.dtype) == ((N, family.n_facts), torch.float32)

    def test_an_observation_is_one_hot(self) -> None:
        for step in self.play(N, 20, seed=0):
            assert torch.equal(step.obs.sum(-1), torch.ones(N))
            assert torch.equal(step.obs, (step.obs == 1.0).float())

    def test_every_episode_ends_at_its_time_limit_and_nowhere_else(self) -> None:
        family = self.family()
        steps = self.play(N, trial_steps(family), seed=1)
        assert len(steps) == family.episodes * family.horizon
        for k, step in enumerate(steps):
            last = (k + 1) % family.horizon == 0
            assert torch.equal(step.truncated, torch.full((N,), last)), k
            assert not step.terminated.any()

    def test_after_an_episode_the_next_begins_as_the_first_did(self) -> None:
        family = self.family()
        _, first = family.reset(family.sample(N, np.random.default_rng(1)))
        ends = [step for step in self.play(N, 3 * family.horizon, seed=1) if step.truncated.all()]
        assert len(ends) == 3
        assert all(torch.equal(step.obs, first) for step in ends)

    def test_the_mean_reward_is_the_expectation_of_the_reward(self) -> None:
        steps = self.play(MANY, 2, seed=2)
        noise = torch.stack([step.reward - step.mean_reward for step in steps])
        standard_error = noise.std() / noise.numel() ** 0.5
        assert noise.std() > 0.1
        assert abs(noise.mean()) < 4 * standard_error
        assert abs((noise * torch.stack([s.mean_reward for s in steps])).mean()) < 8 * standard_error

    def test_facts_are_about_one_in_size_and_rewards_as_they_are_said_to_be(self) -> None:
        family, rng = self.family(), np.random.default_rng(7)
        facts = family.facts(family.sample(4000, rng))
        assert 0.3 < facts.std() < 3.0
        assert abs(facts.mean()) < 0.3
        reward = torch.cat([step.reward for step in self.play(4000, 3, seed=7)])
        mean, deviation = family.typical_reward
        assert reward.mean().item() == pytest.approx(mean, abs=0.1 * deviation)
        assert reward.std().item() == pytest.approx(deviation, rel=0.1)

    def test_the_same_seed_plays_the_same_and_another_seed_does_not(self) -> None:
        one, same, other = (torch.stack([s.reward for s in self.play(N, 4, seed)]) for seed in (3, 3, 4))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_stepping_changes_nothing_that_was_passed_in(self) -> None:
        family = self.family()
        tasks = family.sample(N, np.random.default_rng(5))
        state, _ = family.reset(tasks)
        action = torch.zeros(N, dtype=torch.int64)
        one, again = (family.step(tasks, state, action, np.random.default_rng(6)) for _ in range(2))
        assert torch.equal(one.reward, again.reward)
        assert torch.equal(one.obs, again.obs)
