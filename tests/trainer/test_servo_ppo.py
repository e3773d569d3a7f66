"""PPO on servos: what it learns from is what was played, what only training knows stays there, and it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.maml.policy_gradient import tracking_reward
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.algorithms.rl2.servo_ppo import Batch, ServoPpo, ServoPpoConfig, seen
from acclimate_trainer.contract.policy import Act, Tensors
from acclimate_trainer.outer_loop.training import FOR_TRAINING, Progress, TrainingConfig, start, train
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.trials import Trial, run_trial, squared_errors
from acclimate_trainer.tasks.servo import PRESETS, PRIVILEGED, ServoFamily
from torch.testing import assert_close

from .servo_tasks import FAMILY
from .test_rl2 import TWO_GAINS

TASKS, SIDE_BY_SIDE, EPISODES, STEPS = 3, 2, 2, 12
SMALL = ServoPpoConfig(
    hidden=6,
    episodes=EPISODES,
    episode_steps=STEPS,
    side_by_side=SIDE_BY_SIDE,
    change=1.0,
    epochs=2,
    minibatches=2,
)
FEW = TrainingConfig(iterations=4, meta_batch_size=TASKS, outer_lr=0.01)


def driven(config: ServoPpoConfig = SMALL) -> tuple[ServoPpo, dict[str, torch.Tensor], Trial, list[Episodes]]:
    """A trial of a policy that has not been trained, in which something happens to every servo."""
    algorithm = ServoPpo(FAMILY, config)
    meta = algorithm.initial(np.random.default_rng(0))
    meta["offset"] *= 20.0  # so that what is remembered matters
    meta["gain"] += 0.5
    trial = algorithm.trial(TASKS, np.random.default_rng(1), 0.0)
    return algorithm, meta, trial, algorithm.play(meta, trial)


def row(device: int, beside: int, episode: int) -> int:
    """Of one episode in a batch."""
    return (episode * TASKS + device) * SIDE_BY_SIDE + beside


def test_what_is_learned_from_is_as_likely_as_what_was_played() -> None:
    """The network runs over the whole episode at once and gives what `act` gave tick by tick, in later ones too."""
    algorithm, meta, trial, episodes = driven()
    batch = algorithm.batch(meta, trial, episodes)
    assert batch.action.shape == (STEPS, TASKS * SIDE_BY_SIDE * EPISODES)
    assert_close(algorithm.log_likelihood(meta, batch), batch.log_likelihood, rtol=1e-4, atol=1e-4)


def test_a_policy_that_has_moved_finds_other_actions_likely() -> None:
    algorithm, meta, trial, episodes = driven()
    batch = algorithm.batch(meta, trial, episodes)
    moved = {**meta, "offset_bias": meta["offset_bias"] + 0.3}
    assert (algorithm.log_likelihood(moved, batch) - batch.log_likelihood).abs().mean() > 0.1


def test_the_likelihood_is_a_normal_distributions() -> None:
    """On one tick, against torch's own, of the action that `act` gives without noise."""
    algorithm, meta, trial, episodes = driven()
    batch = algorithm.batch(meta, trial, episodes)
    state = {**algorithm.policy(meta).initial()}
    state = {n: v.unsqueeze(0) if n in meta else v.view(1, 1, -1) for n, v in state.items()}
    first = episodes[0].obs[1:2, 1:2, 0]
    mean = algorithm.policy(meta).act(state, first, torch.zeros(1, 1, 1)).action
    normal = torch.distributions.Normal(mean.item(), 0.3)
    found = batch.log_likelihood[0, row(1, 1, 0)] - 0.5 * np.log(2.0 * np.pi)
    assert_close(found, normal.log_prob(episodes[0].action[1, 1, 0, 0]), rtol=1e-4, atol=1e-4)


def test_everybody_explores_and_the_memory_lives_through_episodes() -> None:
    algorithm, meta, trial, episodes = driven()
    assert all((part.noise != 0.0).all() for part in trial.episodes)
    batch = algorithm.batch(meta, trial, episodes)
    for episode in range(EPISODES):
        remembers = bool((batch.hidden[0, row(0, 0, episode)] != 0.0).any())
        assert remembers is (episode > 0)


def test_the_network_sees_the_previous_action_and_where_an_episode_begins() -> None:
    """As `act` saw it: the columns of the previous action and of the begin, tick by tick."""
    *_, episodes = driven()
    x = seen(episodes[1])
    assert (x[:, :, 0, -2] == 0.0).all()
    held = episodes[1].action[:, :, :-1, 0].clamp(-1.0, 1.0)
    assert_close(x[:, :, 1:, -2], torch.tanh(0.7 * held))
    assert (x[:, :, 0, -1] > 0.7).all()
    assert (x[:, :, 1:, -1] == 0.0).all()


def test_the_critic_is_told_of_a_change_when_it_happens() -> None:
    algorithm, meta, trial, episodes = driven()
    batch = algorithm.batch(meta, trial, episodes)
    told = torch.cat([batch.told[:, row(2, 0, e), : len(PRIVILEGED)] for e in range(EPISODES)])
    at = int(trial.course.at[2])
    assert 0 < at < EPISODES * STEPS
    assert all(torch.equal(told[t], told[0 if t < at else -1]) for t in range(len(told)))
    assert not torch.equal(told[at - 1], told[at])


def test_values_are_discounted_returns_of_the_whole_trial() -> None:
    """With λ = 1 the critic's target is the return itself, through the end of the first episode."""
    algorithm, meta, trial, episodes = driven(replace(SMALL, gae_lambda=1.0, discount=0.9))
    batch = algorithm.batch(meta, trial, episodes)
    reward = torch.cat([tracking_reward(part.window(SIDE_BY_SIDE))[1, 1] for part in episodes])
    expected = sum(0.9**t * float(r) for t, r in enumerate(reward))
    assert float(batch.value[0, row(1, 1, 0)]) == pytest.approx(0.1 * expected, rel=1e-4)


def test_advantages_are_normal_on_every_servo() -> None:
    algorithm, meta, trial, episodes = driven()
    advantage = algorithm.batch(meta, trial, episodes).advantage
    for device in range(TASKS):
        mine = [row(device, beside, e) for beside in range(SIDE_BY_SIDE) for e in range(EPISODES)]
        assert advantage[:, mine].mean().item() == pytest.approx(0.0, abs=1e-4)
        assert advantage[:, mine].std().item() == pytest.approx(1.0, abs=0.05)


def test_what_only_training_knows_does_not_reach_the_policy() -> None:
    """Other values of it change no action, and the policy's state has no tensor of it."""
    algorithm, meta, trial, episodes = driven()
    other = {n: v + 1.0 if n.startswith(FOR_TRAINING) else v for n, v in meta.items()}
    for one, two in zip(episodes, algorithm.play(other, trial), strict=True):
        assert torch.equal(one.action, two.action)
    policy = Rl2(FAMILY, Rl2Config(hidden=6)).policy(
        Rl2(FAMILY, Rl2Config(hidden=6)).initial(np.random.default_rng(0))
    )
    assert algorithm.policy(meta).state == policy.state
    assert algorithm.policy(meta).initial().keys() == policy.initial().keys()


def test_every_parameter_gets_a_gradient() -> None:
    algorithm, meta, trial, episodes = driven()
    meta = {name: value.requires_grad_() for name, value in meta.items()}
    loss, _ = algorithm.loss(meta, algorithm.batch(meta, trial, episodes))
    gradients = torch.autograd.grad(loss, list(meta.values()))
    for name, gradient in zip(meta, gradients, strict=True):
        assert (gradient != 0.0).any(), name


def test_an_update_takes_every_episode_once_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, taken = ServoPpo(FAMILY, SMALL), []

    def watched(self: Batch, index: torch.Tensor) -> Batch:
        taken.append(index.tolist())
        return Batch(*(column[:, index] for column in self))

    monkeypatch.setattr(Batch, "episodes", watched)
    meta = {n: v.requires_grad_() for n, v in algorithm.initial(np.random.default_rng(0)).items()}
    figures = list(algorithm.updates(meta, FEW, np.random.default_rng(0), 0.0))
    assert len(figures) == SMALL.epochs * SMALL.minibatches
    assert {"error", "sigma", "value_loss", "inference_loss", "grad_norm"} == figures[0].keys()
    everything = list(range(TASKS * SIDE_BY_SIDE * EPISODES))
    for one, two in zip(taken[::2], taken[1::2], strict=True):
        assert sorted(one + two) == everything


def trained(algorithm: ServoPpo, config: TrainingConfig, begin: Progress | None = None) -> list[Progress]:
    found: list[Progress] = []

    def report(progress: Progress, figures: Mapping[str, float]) -> None:
        assert np.isfinite(list(figures.values())).all()
        found.append(progress)

    train(algorithm, config, 0, begin or start(algorithm, 0), report)
    return found


def test_resumed_it_computes_what_it_would_have_computed() -> None:
    whole = trained(ServoPpo(FAMILY, SMALL), FEW)
    resumed = trained(ServoPpo(FAMILY, SMALL), FEW, whole[1])
    assert [p.iteration for p in resumed] == [3, 4]
    for name, value in whole[-1].meta.items():
        assert torch.equal(value, resumed[-1].meta[name]), name


def error(algorithm: ServoPpo, meta: Tensors) -> float:
    """Of noise-free trials on fresh servos, rad."""
    trial = algorithm.trial(64, np.random.default_rng(7), 0.9)
    trial = trial._replace(
        episodes=tuple(part._replace(noise=torch.zeros_like(part.noise)) for part in trial.episodes)
    )
    return squared_errors(algorithm.play(meta, trial)).mean(dim=(1, 2)).sqrt().mean().item()


def test_it_learns_to_track() -> None:
    config = ServoPpoConfig(hidden=8, episodes=1, episode_steps=60, change=0.0)
    algorithm = ServoPpo(ServoFamily(TWO_GAINS), config)
    meta = trained(algorithm, TrainingConfig(iterations=20, meta_batch_size=32, outer_lr=0.01, clip=0.5))[
        -1
    ].meta
    assert error(algorithm, meta) < 0.5 * error(algorithm, algorithm.initial(np.random.default_rng(3)))


def test_polarity_is_told_to_nobody_but_the_critic() -> None:
    """Two servos that differ in their wiring alone bring the same first action, and another value."""
    family = ServoFamily(PRESETS["miswired"])
    algorithm = ServoPpo(family, SMALL)
    meta = algorithm.initial(np.random.default_rng(0))
    trial = algorithm.trial(TASKS, np.random.default_rng(1), 1.0)
    before = trial.course.before
    swapped = trial._replace(course=trial.course._replace(before=before._replace(polarity=-before.polarity)))
    one, two = (algorithm.play(meta, t) for t in (trial, swapped))
    assert torch.equal(one[0].action[:, :, 0], two[0].action[:, :, 0])
    told = [algorithm.batch(meta, t, e).told[0] for t, e in ((trial, one), (swapped, two))]
    assert (told[0] != told[1]).sum(dim=-1)[: TASKS * SIDE_BY_SIDE].eq(1).all()


def test_its_policy_remembers_what_it_is_asked_to_learn_from() -> None:
    """The hidden states at the begin of later episodes are those that `act` had, not those of another pass."""
    algorithm, meta, trial, episodes = driven()
    states: list[torch.Tensor] = []

    class Watched(type(algorithm.policy(meta))):  # type: ignore[misc]
        def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
            states.append(state["hidden"])
            act: Act = super().act(state, obs, noise)
            return act

    policy = Watched({n: v for n, v in meta.items() if not n.startswith(FOR_TRAINING)})
    stacked = {n: v.expand(TASKS, *v.shape) for n, v in policy.initial().items()}
    run_trial(policy, stacked, FAMILY, trial)
    batch = algorithm.batch(meta, trial, episodes)
    begin = row(0, 0, 1)
    assert_close(
        batch.hidden[0, begin : begin + TASKS * SIDE_BY_SIDE].view(TASKS, SIDE_BY_SIDE, -1), states[STEPS]
    )
