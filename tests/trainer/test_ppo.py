"""PPO on trials: its terms by hand, and that it learns what can be learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.rl2.ppo import (
    Ppo,
    PpoConfig,
    advantages,
    believed_reward,
    clipped_surrogate,
)
from acclimate_trainer.baselines.bandit_optimum import BanditOptimum
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.outer_loop.training import Progress, TrainingConfig, start, train
from acclimate_trainer.play.discrete import Inputs, RecurrentAgent, Trials, play
from acclimate_trainer.tasks.bandit import BanditFamily
from acclimate_trainer.tasks.tabular import TabularFamily
from torch import Tensor
from torch.testing import assert_close


def test_advantages_go_through_episode_ends_and_stop_at_the_trials() -> None:
    reward, value = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0.5], [1.0], [3.0]])
    last = 4.0 - 3.0
    middle = 2.0 + 0.9 * 3.0 - 1.0 + 0.9 * 0.8 * last
    first = 1.0 + 0.9 * 1.0 - 0.5 + 0.9 * 0.8 * middle
    assert_close(advantages(reward, value, 0.9, 0.8), torch.tensor([[first], [middle], [last]]))


def test_with_lambda_one_an_advantage_is_the_return_less_the_value() -> None:
    rng = np.random.default_rng(0)
    reward, value = (torch.tensor(rng.normal(size=(7, 3)), dtype=torch.float32) for _ in range(2))
    ahead = torch.flip(torch.cumsum(torch.flip(reward, [0]), 0), [0])
    assert_close(advantages(reward, value, 1.0, 1.0), ahead - value)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.5, 1.0, 1.2), (0.5, 1.0, 0.5), (1.5, -1.0, -1.5), (0.5, -1.0, -0.8), (1.1, 2.0, 2.2)],
)
def test_the_surrogate_is_clipped_where_it_would_pay(ratio: float, advantage: float, expected: float) -> None:
    found = clipped_surrogate(torch.tensor([ratio]).log(), torch.tensor([advantage]), 0.2)
    assert float(found) == pytest.approx(expected)


def test_a_reward_is_believed_to_be_what_earlier_ones_were() -> None:
    """A bandit's arm after w wins and l losses: (1 + w)/(2 + w + l); a tabular MDP's: (1 + Σ r)/(1 + n)."""
    pair, reward = torch.tensor([[0], [1], [0], [0]]), torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    blank = torch.zeros(4, 1)
    trials = Trials(Inputs(blank, pair), blank, pair, blank, reward, blank, blank)
    found = believed_reward(trials, pair, BanditFamily(2, 4))
    assert_close(found.squeeze(1), torch.tensor([1 / 2, 1 / 2, 2 / 3, 2 / 4]))
    found = believed_reward(trials, pair, TabularFamily(1))
    assert_close(found.squeeze(1), torch.tensor([1.0, 1.0, (1 + 1) / 2, (1 + 1) / 3]))


@pytest.mark.parametrize("family", [BanditFamily(3, 20), TabularFamily(2)])
def test_what_is_believed_is_right_on_average(family: BanditFamily | TabularFamily) -> None:
    """The reward less what was believed has mean zero, whatever was believed; and it is less noisy than the reward."""
    rng, n = np.random.default_rng(0), 4000
    agent: RecurrentAgent = RecurrentAgent(family, 4)
    trials = play(agent, agent.initial(rng), family, family.sample(n, rng), rng)  # type: ignore[misc]
    believed = believed_reward(trials, agent.pair(trials), family)  # type: ignore[misc]
    surprise = (trials.reward - believed).flatten()
    standard_error = float(surprise.std()) / len(surprise) ** 0.5
    assert abs(float(surprise.mean())) < 4 * standard_error
    assert abs(float((surprise * believed.flatten()).mean())) < 8 * standard_error
    assert believed.sum(0).std() < trials.reward.sum(0).std()


def trained(algorithm: Ppo, config: TrainingConfig, seed: int = 0) -> tuple[Tensors, list[float]]:  # type: ignore[type-arg]
    last: Progress = start(algorithm, seed)
    returns: list[float] = []

    def report(progress: Progress, figures: Mapping[str, float]) -> None:
        nonlocal last
        last = progress
        returns.append(figures["return"])

    train(algorithm, config, seed, last, report)
    return last.meta, returns


def score(algorithm: Ppo, meta: Tensors, tasks: int = 4000) -> Tensor:  # type: ignore[type-arg]
    rng = np.random.default_rng(7)
    return play(algorithm.agent, meta, algorithm.family, algorithm.family.sample(tasks, rng), rng,
                greedy=True).mean_reward.sum(0)  # fmt: skip


def test_a_bandit_of_one_step_episodes_is_learned() -> None:
    """A memory that is cleared at the ends of episodes stays at what chance gives, half a reward per pull."""
    pulls, optimum = 5, BanditOptimum(2, 5).value
    algorithm = Ppo(BanditFamily(2, pulls), PpoConfig(hidden=16))
    config = TrainingConfig(iterations=60, meta_batch_size=128, outer_lr=0.01, clip=0.5)
    meta, _ = trained(algorithm, config)
    assert float(score(algorithm, meta).mean()) > 0.5 * pulls + 0.8 * (optimum - 0.5 * pulls)


def test_where_to_go_is_learned_too() -> None:
    """In a tabular MDP the return of a trial rises beyond what chance gives, which is 1 per step."""
    algorithm = Ppo(TabularFamily(4, states=3, actions=3, horizon=4), PpoConfig(hidden=24, gae_lambda=0.8))
    config = TrainingConfig(iterations=80, meta_batch_size=128, outer_lr=0.01, clip=0.5)
    meta, _ = trained(algorithm, config)
    assert float(score(algorithm, meta, 2000).mean()) > 1.25 * 16


def test_what_only_training_knows_does_not_reach_the_player() -> None:
    """Other values of critic and inference, and another task unseen so far, change no action of the first step."""
    algorithm = Ppo(TabularFamily(1), PpoConfig(hidden=8))
    meta = algorithm.initial(np.random.default_rng(0))
    other = {k: v + 1.0 if k.startswith(("critic", "infer")) else v for k, v in meta.items()}
    tasks = algorithm.family.sample(50, np.random.default_rng(1))
    one, two = (
        play(algorithm.agent, m, algorithm.family, tasks, np.random.default_rng(2)) for m in (meta, other)
    )
    assert torch.equal(one.action, two.action)
    elsewhere = play(algorithm.agent, meta, algorithm.family,
                     algorithm.family.sample(50, np.random.default_rng(5)), np.random.default_rng(2))  # fmt: skip
    assert torch.equal(one.action[0], elsewhere.action[0])


def test_every_parameter_gets_a_gradient() -> None:
    algorithm = Ppo(
        TabularFamily(2, states=3, actions=2, horizon=3), PpoConfig(hidden=5, minibatches=1, epochs=1)
    )
    meta = {k: v.requires_grad_() for k, v in algorithm.initial(np.random.default_rng(0)).items()}
    config = TrainingConfig(meta_batch_size=8)
    steps = list(algorithm.updates(meta, config, np.random.default_rng(1), 0.0))
    assert len(steps) == 1
    for name, value in meta.items():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name


def test_an_iteration_takes_epochs_times_minibatches_steps() -> None:
    algorithm = Ppo(BanditFamily(2, 3), PpoConfig(hidden=4, minibatches=3, epochs=2))
    meta = {k: v.requires_grad_() for k, v in algorithm.initial(np.random.default_rng(0)).items()}
    steps = list(algorithm.updates(meta, TrainingConfig(meta_batch_size=9), np.random.default_rng(1), 0.0))
    assert len(steps) == 6
    assert all(step["grad_norm"] > 0 for step in steps)


def test_a_resumed_run_is_the_uninterrupted_one() -> None:
    algorithm = Ppo(BanditFamily(2, 3), PpoConfig(hidden=4))
    config = TrainingConfig(iterations=4, meta_batch_size=8)
    whole, returns = trained(algorithm, config)
    kept: list[Progress] = []
    train(algorithm, config, 0, start(algorithm, 0), lambda progress, _: kept.append(progress))
    rest: list[float] = []
    last: list[Progress] = []

    def report(progress: Progress, figures: Mapping[str, float]) -> None:
        last.append(progress)
        rest.append(figures["return"])

    train(algorithm, config, 0, kept[1], report)
    assert rest == returns[2:]
    assert all(torch.equal(last[-1].meta[name], value) for name, value in whole.items())
