"""RL² on servos trained by proximal policy optimisation: what a simulator needs that nobody can differentiate.

The policy is that of `rl2`, in the same trials; the surrogate and the advantages are those of `ppo`. Three things only
training knows, and none of them reaches the policy, which explores by its own noise:

- The critic is told the servo's true parameters (an asymmetric critic, Pinto et al. 2018), also after a change.
- It sees where the reference is going to be. That does what it does whatever the actions are, and so may enter a
  baseline without bias (Mao et al. 2018, "Variance Reduction for Reinforcement Learning in Input-Driven Environments").
- The hidden state has also to say what the servo is (Humplik et al. 2019): a linear layer infers it from the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.algorithms.maml import policy_gradient as pg
from acclimate_trainer.algorithms.reactive import perceived, typical_scales
from acclimate_trainer.algorithms.rl2.ppo import advantages, clipped_surrogate
from acclimate_trainer.algorithms.rl2.rl2 import (
    N_IN,
    RecurrentConfig,
    Rl2Policy,
    features,
    initial_parameters,
    mean_action,
    new_trial,
)
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.feedforward import sigma
from acclimate_trainer.networks.recurrent import gru_over_time
from acclimate_trainer.outer_loop.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig, clip_gradient
from acclimate_trainer.play.rollouts import Episodes, Surroundings
from acclimate_trainer.play.trials import Trial, previous_actions, run_trial, squared_errors
from acclimate_trainer.tasks.servo import PRIVILEGED, ServoFamily

_CRITIC_WIDTH = 64
_AHEAD = (5, 10, 20, 40)  # ticks at which the critic sees where the reference is going to be
_AHEAD_SCALE = 4.0  # 1/rad
_LEAST_SPREAD = 1e-3  # of a servo's advantages


@dataclass(frozen=True)
class ServoPpoConfig(RecurrentConfig):
    """Section [ppo] of a config of servos."""

    epochs: int = 4
    """Passes over the episodes of one iteration."""
    minibatches: int = 4
    """Steps of the optimizer in one pass."""
    clip_ratio: float = 0.2
    """How far the likelihood of an action may move in one iteration, as a share, before it no longer pays."""
    discount: float = 0.97
    """Of the return, per tick, through the whole trial."""
    gae_lambda: float = 0.9
    """0 trusts the critic alone, 1 the return alone."""
    value_weight: float = 0.5
    """Of the critic's squared error."""
    inference_weight: float = 0.1
    """Of the squared error in inferring the servo's parameters from the hidden state."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        counts = dict.fromkeys(("epochs", "minibatches"), COUNT)
        shares = dict.fromkeys(("discount", "gae_lambda"), SHARE)
        weights = dict.fromkeys(("value_weight", "inference_weight"), NOT_NEGATIVE)
        require(self, {**counts, **shares, **weights, "clip_ratio": POSITIVE})


class Batch(NamedTuple):
    """What an update learns from: N episodes of S ticks. A trial's episodes are learned from one by one: what was
    remembered from those before is taken as it was."""

    x: Tensor  # what the network saw (S, N, n_in)
    hidden: Tensor  # what it remembered at the episode's begin (1, N, H)
    action: Tensor  # as sampled (S, N)
    log_likelihood: Tensor  # when it was played (S, N)
    advantage: Tensor  # normalised (S, N)
    value: Tensor  # what the critic should say, in its own units (S, N)
    told: Tensor  # what only the critic sees, the servo's parameters first (S, N, n_told)

    def episodes(self, index: Tensor) -> Batch:
        """Some of them."""
        return Batch(*(column[:, index] for column in self))


class ServoPpo:
    """Trains an `Rl2Policy`; see the module."""

    def __init__(self, family: ServoFamily, config: ServoPpoConfig) -> None:
        self._family, self._config = family, config
        self._scales = typical_scales(family)
        self._unit = 1.0 / max(1.0 - config.discount, 1.0 / (config.episodes * config.episode_steps))

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The policy's parameters, and, under names of their own, those that only training has."""
        hidden, wide = self._config.hidden, _CRITIC_WIDTH
        shapes = {
            "w0": (hidden + N_IN + len(PRIVILEGED) + len(_AHEAD) + 2, wide),
            "b0": (wide,),
            "w1": (wide, wide),
            "b1": (wide,),
            "w2": (wide, 1),
            "b2": (1,),
            "infer_w": (hidden, len(PRIVILEGED)),
            "infer_b": (len(PRIVILEGED),),
        }
        return initial_parameters(hidden, rng) | {
            FOR_TRAINING + name: torch.tensor(rng.standard_normal(s) / s[0] ** 0.5, dtype=torch.float32)
            if "w" in name
            else torch.zeros(s)
            for name, s in shapes.items()
        }

    def policy(self, meta: Tensors) -> Rl2Policy:
        return Rl2Policy({name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)})

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[dict[str, float]]:
        """One iteration: drive, then several steps of the optimizer. Writes `.grad`; yields figures per step."""
        c = self._config
        trial = self.trial(config.meta_batch_size, rng, progress)
        episodes = self.play(meta, trial)
        batch = self.batch(meta, trial, episodes)
        error = squared_errors(episodes).mean(dim=(1, 2)).sqrt().mean()
        figures = {"error": float(error), "sigma": float(sigma(meta).detach())}
        for _ in range(c.epochs):
            order = torch.from_numpy(rng.permutation(batch.action.shape[1]))
            for index in order.chunk(c.minibatches):
                loss, found = self.loss(meta, batch.episodes(index))
                norm = clip_gradient(loss, meta, config.clip)
                yield figures | found | {"grad_norm": norm}

    def trial(self, tasks: int, rng: np.random.Generator, progress: float) -> Trial:
        """A trial on newly drawn servos, in all of which the policy explores."""
        c = self._config
        return new_trial(self._family, c, tasks, rng, progress, explore=c.side_by_side)

    @torch.no_grad()
    def play(self, meta: Tensors, trial: Trial) -> list[Episodes]:
        """Drive a trial as a device would: through the policy's `act`, tick by tick."""
        policy, tasks = self.policy(meta), trial.course.at.shape[0]
        initial = policy.initial()
        params = {t.name: initial[t.name] for t in policy.state if t.written_by != "act"}
        stacked = {name: value.expand(tasks, *value.shape) for name, value in params.items()}
        return run_trial(policy, stacked, self._family, trial)

    @torch.no_grad()
    def batch(self, meta: Tensors, trial: Trial, episodes: Sequence[Episodes]) -> Batch:
        """Advantages and targets of a driven trial."""
        c, parts = self._config, list(zip(episodes, trial.episodes, strict=True))
        x = _over_time([seen(part) for part in episodes])  # (L, rows, n_in), rows = T·E
        reward = _over_time([pg.tracking_reward(part.window(c.side_by_side)) for part in episodes])
        action = _over_time([part.action.squeeze(-1) for part in episodes])
        noise = _over_time([around.noise.squeeze(-1) for around in trial.episodes])
        ahead = _over_time([_ahead(part, around) for part, around in parts])
        told = torch.cat([self._parameters(trial), ahead, _clock(c, x.shape[1])], dim=-1)
        blank = x.new_zeros(1, x.shape[1], c.hidden)
        hidden = gru_over_time(meta, x, blank)
        value = self._value(meta, hidden, x, told)
        advantage = advantages(reward / self._unit, value, c.discount, c.gae_lambda)
        before = torch.cat([blank, hidden[:-1]])
        columns = (
            x,
            before,
            action,
            _log_density(noise, meta),
            self._normalised(advantage),
            advantage + value,
            told,
        )
        x, before, *rest = (_by_episode(column, c.episodes) for column in columns)
        return Batch(x, before[:1], *rest)

    def loss(self, meta: Tensors, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate, critic and inference: a scalar, and figures to report."""
        c = self._config
        hidden = gru_over_time(meta, batch.x, batch.hidden)
        surrogate = clipped_surrogate(
            self._log_likelihood(meta, hidden, batch) - batch.log_likelihood, batch.advantage, c.clip_ratio
        )
        value = F.mse_loss(self._value(meta, hidden.detach(), batch.x, batch.told), batch.value)
        inferred = hidden @ meta[FOR_TRAINING + "infer_w"] + meta[FOR_TRAINING + "infer_b"]
        inference = F.mse_loss(inferred, batch.told[..., : len(PRIVILEGED)])
        loss = c.value_weight * value - surrogate + c.inference_weight * inference
        return loss, {"value_loss": float(value.detach()), "inference_loss": float(inference.detach())}

    def log_likelihood(self, meta: Tensors, batch: Batch) -> Tensor:
        """log π of the actions by `meta`, given what had been seen and remembered then, (S, N), up to a constant."""
        return self._log_likelihood(meta, gru_over_time(meta, batch.x, batch.hidden), batch)

    def _log_likelihood(self, meta: Tensors, hidden: Tensor, batch: Batch) -> Tensor:
        stacked = {name: value.unsqueeze(0) for name, value in meta.items()}
        mean = mean_action(stacked, batch.x.flatten(0, 1).unsqueeze(0), hidden.flatten(0, 1).unsqueeze(0))
        return _log_density((batch.action - mean.view_as(batch.action)) / sigma(meta), meta)

    def _value(self, meta: Tensors, hidden: Tensor, x: Tensor, told: Tensor) -> Tensor:
        layers = [(meta[f"{FOR_TRAINING}w{i}"], meta[f"{FOR_TRAINING}b{i}"]) for i in range(3)]
        y = torch.cat([hidden, x, told], dim=-1)
        for weight, bias in layers[:-1]:
            y = torch.tanh(y @ weight + bias)
        return (y @ layers[-1][0] + layers[-1][1]).squeeze(-1)

    def _parameters(self, trial: Trial) -> Tensor:
        """What an oracle is told at every tick, in typical units, (L, T·E, 9)."""
        told = trial.course.told(torch.arange(trial.ticks).unsqueeze(1))  # (L, T, 9)
        scaled = (perceived(told) - self._scales[0]) / self._scales[1]
        return scaled.repeat_interleave(self._config.side_by_side, dim=1)

    def _normalised(self, advantage: Tensor) -> Tensor:
        """Zero mean and unit variance on each servo (L, T·E): one that is hard to drive must not drown the others."""
        by_servo = advantage.view(len(advantage), -1, self._config.side_by_side)
        centred = by_servo - by_servo.mean(dim=(0, 2), keepdim=True)
        normal = centred / (by_servo.std(dim=(0, 2), keepdim=True) + _LEAST_SPREAD)
        return normal.view_as(advantage)


def seen(part: Episodes) -> Tensor:
    """What the network saw in every tick of episodes, (T, E, S, n_in)."""
    previous = previous_actions(part.action)
    begins = torch.zeros_like(previous)
    begins[:, :, 0] = 1.0
    return features(part.obs[:, :, :-1], previous, begins)


def _log_density(z: Tensor, meta: Tensors) -> Tensor:
    """Of actions z standard deviations from their mean, up to a constant."""
    return -0.5 * z * z - torch.log(sigma(meta))


def _ahead(part: Episodes, around: Surroundings) -> Tensor:
    """Where the reference is going to be, seen from where the joint is, (T, E, S, n)."""
    steps = part.action.shape[2]
    ticks = torch.arange(steps).unsqueeze(1) + torch.tensor(_AHEAD)
    target = around.target[..., 0][:, :, ticks.clamp_max(steps)]  # (T, E, S, n)
    return torch.tanh(_AHEAD_SCALE * (target - part.obs[:, :, :-1, :1]))


def _clock(config: ServoPpoConfig, rows: int) -> Tensor:
    """Shares of the episode and of the trial that are over, (L, rows, 2)."""
    tick = torch.arange(config.episodes * config.episode_steps)
    shares = [tick % config.episode_steps / config.episode_steps, tick / len(tick)]
    return torch.stack(shares, dim=-1).unsqueeze(1).expand(-1, rows, -1)


def _over_time(parts: Sequence[Tensor]) -> Tensor:
    """Episodes of a trial, each (T, E, S, …), one after the other, time first: (L, T·E, …)."""
    return torch.cat([part.flatten(0, 1).transpose(0, 1) for part in parts])


def _by_episode(x: Tensor, episodes: int) -> Tensor:
    """Trials (L, rows, …) cut into their episodes, (S, episodes·rows, …)."""
    return torch.cat(x.chunk(episodes), dim=1)
