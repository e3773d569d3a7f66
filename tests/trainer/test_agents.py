"""What reaches the network of RL² at the boundaries of episodes and trials, and what it remembers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from acclimate_trainer.play.discrete import RecurrentAgent, play
from acclimate_trainer.tasks.bandit import BanditFamily
from acclimate_trainer.tasks.tabular import TabularFamily
from acclimate_trainer.tasks.trials import Step
from torch import Tensor
from torch.testing import assert_close

HIDDEN = 6


class Clock(NamedTuple):
    """Tasks and state of `Bell`."""

    prize: Tensor  # reward of an episode's last step (N,)
    t: Tensor  # step in the trial, int64 (N,)


class Bell:
    """Two episodes of three steps; only the last step of an episode pays, and that is the task."""

    n_obs, n_actions, n_privileged, n_facts = 2, 2, 1, 1
    episodes, horizon = 2, 3
    typical_reward, reward_prior = (0.0, 1.0), 1.0

    def __init__(self, *, terminates: bool = False) -> None:
        self._terminates = terminates

    def sample(self, n: int, rng: np.random.Generator) -> Clock:
        return Clock(
            torch.from_numpy(rng.normal(size=n).astype(np.float32)), torch.zeros(n, dtype=torch.long)
        )

    def reset(self, tasks: Clock) -> tuple[Clock, Tensor]:
        return tasks, self._seen(tasks.t)

    def step(self, tasks: Clock, state: Clock, action: Tensor, rng: np.random.Generator) -> Step[Clock]:
        del action, rng
        t = state.t + 1
        ended = t % self.horizon == 0
        reward = torch.where(ended, tasks.prize, 0.0)
        no = torch.zeros_like(ended)
        ends = (ended, no) if self._terminates else (no, ended)
        return Step(Clock(tasks.prize, t), self._seen(t), reward, reward, *ends)

    def facts(self, tasks: Clock) -> Tensor:
        return tasks.prize.unsqueeze(1)

    def critic_features(self, tasks: Clock, state: Clock) -> Tensor:
        del state
        return tasks.prize.unsqueeze(1)

    def _seen(self, t: Tensor) -> Tensor:
        return torch.eye(2)[(t % self.horizon == 0).long()]


def played(family: Bell, prizes: list[float], seed: int = 0):  # type: ignore[no-untyped-def]
    agent = RecurrentAgent(family, HIDDEN)
    params = agent.initial(np.random.default_rng(1))
    tasks = Clock(torch.tensor(prizes), torch.zeros(len(prizes), dtype=torch.long))
    return agent, params, play(agent, params, family, tasks, np.random.default_rng(seed))


@pytest.mark.parametrize("terminates", [False, True])
def test_the_last_reward_of_an_episode_and_its_end_reach_the_network(terminates: bool) -> None:
    agent, _, trials = played(Bell(terminates=terminates), [2.0, -3.0])
    ended = trials.inputs.x[:, :, -1]
    assert_close(ended, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]).unsqueeze(1).expand(6, 2))
    rewards = trials.inputs.x[:, :, agent.n_obs + 4 : agent.n_obs + 8].sum(-1)
    assert_close(rewards[3], torch.tensor([2.0, -3.0]))
    assert not rewards[[0, 1, 2, 4, 5]].any()


def test_the_previous_observation_and_action_reach_the_network() -> None:
    agent, _, trials = played(Bell(), [1.0])
    pairs = trials.inputs.x[:, 0, agent.n_obs : agent.n_obs + 4]
    assert not pairs[0].any()
    expected = trials.inputs.seen[:-1, 0] * agent.n_actions + trials.action[:-1, 0]
    assert torch.equal(pairs[1:].argmax(-1), expected)
    assert_close(pairs[1:].sum(-1), torch.ones(5))


def test_the_memory_lives_through_episodes_and_is_cleared_between_trials() -> None:
    """The prize of the first episode can still be told in the second; nothing of it is left in another trial."""
    agent, params, trials = played(Bell(), [2.0, -3.0])
    assert (trials.hidden[4, 0] - trials.hidden[4, 1]).abs().max() > 1e-3
    again = play(agent, params, Bell(), Clock(torch.tensor([5.0, 5.0]), torch.zeros(2, dtype=torch.long)),
                 np.random.default_rng(0))  # fmt: skip
    assert_close(again.hidden[0], trials.hidden[0])


def test_what_is_played_is_what_is_learned_from() -> None:
    """Step by step, and over whole trials at once: the same hidden states and the same chances."""
    family = TabularFamily(2, states=3, actions=2, horizon=4)
    agent, rng = RecurrentAgent(family, HIDDEN), np.random.default_rng(0)
    params = agent.initial(rng)
    trials = play(agent, params, family, family.sample(5, rng), rng)
    hidden = agent.remember(params, trials.inputs.x)
    assert_close(hidden, trials.hidden)
    chances = agent.log_chances(params, hidden, trials.inputs.seen)
    assert_close(chances.gather(2, trials.action.unsqueeze(2)).squeeze(2), trials.log_chance)
    assert_close(chances.exp().sum(-1), torch.ones(8, 5))


def test_the_gradient_goes_through_the_memory() -> None:
    """The chance of the second episode's actions depends on weights by way of what the first brought."""
    agent, params, trials = played(Bell(), [2.0, -3.0])
    x = trials.inputs.x.clone().requires_grad_()
    agent.log_chances(params, agent.remember(params, x), trials.inputs.seen)[5].square().sum().backward()
    assert x.grad is not None
    assert x.grad[3].abs().max() > 0


def test_actions_come_as_often_as_their_chance_says() -> None:
    family = BanditFamily(3, 1)
    agent, rng = RecurrentAgent(family, HIDDEN), np.random.default_rng(0)
    params = agent.initial(rng) | {"head_bias": torch.log(torch.tensor([[0.7, 0.2, 0.1]]))}
    params["head"] = torch.zeros_like(params["head"])
    n = 20_000
    trials = play(agent, params, family, family.sample(n, rng), rng)
    found = torch.bincount(trials.action[0], minlength=3) / n
    assert_close(found, torch.tensor([0.7, 0.2, 0.1]), rtol=0, atol=4 * 0.5 / n**0.5)
    greedy = play(agent, params, family, family.sample(50, rng), rng, greedy=True)
    assert not greedy.action.any()


def test_a_seed_plays_one_trial_and_another_another() -> None:
    first, again, other = (played(Bell(), [1.0] * 20, seed)[2] for seed in (3, 3, 4))
    assert torch.equal(first.action, again.action)
    assert not torch.equal(first.action, other.action)
