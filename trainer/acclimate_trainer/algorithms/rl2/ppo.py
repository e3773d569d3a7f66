"""RL² trained by proximal policy optimisation: for simulators that nobody can differentiate, and for choices.

Duan et al. 2016 pose meta-learning as a POMDP whose hidden part is the task; a recurrent policy that maximises the
return of whole trials has learned to explore. PPO is Schulman et al. 2017 (equation 7), and advantages are generalised
(Schulman et al. 2016, equation 16). What only training knows makes the gradient less noisy:

- The task is known. The critic is told facts about machine and state (an asymmetric critic, Pinto et al. 2018).
- So is where the reference is going to be. It goes there whatever the actions are, and so may enter a baseline without
  bias (Mao et al. 2018, "Variance Reduction for Reinforcement Learning in Input-Driven Environments").
- So is the prior, in some families. Returns take, in place of each reward, its expectation given all that the trial has
  shown before; by the law of total expectation that changes no return's mean.
- The hidden state has also to say what the machine is (Humplik et al. 2019): a linear layer infers it from the memory.

None of it reaches the policy, which plays from what a device observes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.reactive import risen
from acclimate_trainer.algorithms.rl2.actors import Actor, CategoricalActor, GaussianActor, Lived
from acclimate_trainer.algorithms.rl2.categorical import Scene
from acclimate_trainer.algorithms.rl2.critic import Critic
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Believing, Cost, TaskFamily, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig, clip_gradient
from acclimate_trainer.play.rollouts import Episodes, headline, joined
from acclimate_trainer.play.trials import Trial, draw_trial
from acclimate_trainer.play.watched import Played, over_time, play
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_DECIDED = 0.8  # of training, after which nothing rewards being undecided any more
_LEAST_SPREAD = 1e-3  # of one task's advantages
_TINY = 1e-8
_AT_ONCE = 1000  # tasks that are scored at once
_TRIED, _TRIED_SEED = 64, 20261123  # tasks from which the scale of rewards is taken


@dataclass(frozen=True)
class PpoConfig:
    """Section [ppo] of a config."""

    hidden: int = 32
    """Width of the GRU."""
    episodes: int = 0
    """Episodes of a trial; 0: as many as the family says."""
    episode_steps: int = 0
    """Ticks of an episode; 0: as many as the family says."""
    side_by_side: int = 6
    """Trials on each task in every iteration. Where they are several, advantages are normalised task by task."""
    change: float = 0.7
    """Share of trials in the middle of which something happens to the machine, in a family where anything does."""
    curriculum: tuple[float, float] = (0.0, 0.5)
    """Shares of training between which the family's harder machines become as frequent as in the family."""
    stretch: int = 50
    """Ticks in a row, at least, that are learned from as one, in whole episodes: as far as the gradient goes back."""
    epochs: int = 4
    """Passes over the trials of one iteration."""
    minibatches: int = 4
    """Steps of the optimizer in one pass."""
    clip_ratio: float = 0.2
    """How far the likelihood of an action may move in one iteration, as a share, before it no longer pays."""
    discount: float = 0.97
    """Of the return, per tick, through the whole trial."""
    gae_lambda: float = 0.9
    """0 trusts the critic alone, 1 the return alone."""
    entropy: float = 0.003
    """Reward for being undecided, at the start; it falls to nothing."""
    value_weight: float = 0.5
    """Of the critic's squared error."""
    inference_weight: float = 0.1
    """Of the squared error in inferring the machine's parameters from the hidden state."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = dict.fromkeys(("hidden", "side_by_side", "stretch", "epochs", "minibatches"), COUNT)
        shares = dict.fromkeys(("change", "discount", "gae_lambda"), SHARE)
        others = ("episodes", "episode_steps", "entropy", "value_weight", "inference_weight")
        require(self, {**counts, **shares, **dict.fromkeys(others, NOT_NEGATIVE), "clip_ratio": POSITIVE})


class Batch(NamedTuple):
    """What an update learns from: N stretches of L ticks. What was remembered at their begin is taken as it was."""

    lived: Lived
    memory: Tensor  # at the begin (1, N, H)
    log_likelihood: Tensor  # of the action when it was done (L, N)
    advantage: Tensor  # normalised (L, N)
    value: Tensor  # what the critic should say, in its own units (L, N)
    told: Tensor  # what only the critic sees (L, N, n_told)
    parameters: Tensor  # what there is to infer (L, N, P)

    def rows(self, index: Tensor) -> Batch:
        """Some of the stretches."""
        rest = (column[:, index] for column in self[1:])
        return Batch(self.lived.rows(index), *rest)

    def cut(self, stretches: int) -> Batch:
        """Trials, each of which is cut into that many; `memory` before is that at every tick, (L, N, H)."""
        lived = Lived(*(_cut(column, stretches) for column in self.lived))
        memory, *rest = (_cut(column, stretches) for column in self[1:])
        return Batch(lived, memory[:1], *rest)


class Ppo(Generic[Tasks]):
    """Trains a recurrent policy; see the module."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: PpoConfig) -> None:
        self._family = Complete.of(family)
        self._config = config
        spec = self._family.spec
        self._episodes, self._steps = config.episodes or spec.episodes, config.episode_steps or spec.horizon
        self.ticks = self._episodes * self._steps  # of a trial
        self.stretches = _stretches(self._episodes, self._steps, config.stretch)

    @cached_property
    def actor(self) -> Actor:
        """What is trained. Where it sees rewards, they are scaled by those that one gets at first."""
        if self._family.spec.discrete:
            return self._categorical(self._scales.reward)
        return GaussianActor(View.of(self._family), self._config.hidden)

    @cached_property
    def critic(self) -> Critic:
        return Critic(self._family, self._config.hidden + self.actor.n_seen)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The policy's parameters, and, under names of their own, those that only training has.

        Raises UsageError for a family that pays nothing, whatever is done.
        """
        _ = self._scales
        hidden, parameters = self._config.hidden, len(self._family.spec.parameters)
        weights = rng.standard_normal((hidden, parameters)) / hidden**0.5
        inference = {
            FOR_TRAINING + "infer_w": torch.tensor(weights, dtype=torch.float32),
            FOR_TRAINING + "infer_b": torch.zeros(parameters),
        }
        return self.actor.initial(rng) | self.critic.initial(rng) | inference

    def policy(self, meta: Tensors) -> Policy:
        return self.actor.policy(meta)

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[dict[str, float]]:
        """One iteration: play, then several steps of the optimizer. Writes `.grad`; yields figures per step."""
        c = self._config
        trial = self.trial(config.meta_batch_size, rng, progress)
        played = self.play(meta, trial)
        batch = self.batch(meta, trial, played)
        undecided = c.entropy * max(0.0, 1.0 - progress / _DECIDED)
        figures = self.figures(played) | self.actor.figures(meta)
        for _ in range(c.epochs):
            order = torch.from_numpy(rng.permutation(batch.value.shape[1]))
            for index in order.chunk(c.minibatches):
                loss, found = self.loss(meta, batch.rows(index), undecided)
                norm = clip_gradient(loss, meta, config.clip)
                yield figures | found | {"grad_norm": norm}

    def trial(
        self, tasks: int, rng: np.random.Generator, progress: float, *, explores: bool = True
    ) -> Trial[Tasks]:
        """A trial on newly drawn machines, as they come at that share of training."""
        beside = self._config.side_by_side
        return self._drawn(tasks, rng, progress, beside, beside if explores else 0, self.actor.n_noise)

    def _drawn(
        self, tasks: int, rng: np.random.Generator, progress: float, beside: int, explore: int, n_noise: int
    ) -> Trial[Tasks]:
        c = self._config
        return draw_trial(
            self._family,
            tasks,
            rng,
            side_by_side=beside,
            episodes=self._episodes,
            steps=self._steps,
            change=c.change,
            progress=risen(progress, c.curriculum),
            explore=explore,
            n_noise=n_noise,
        )

    def play(self, meta: Tensors, trial: Trial[Tasks]) -> Played:
        """Drive a trial, exploring as the actor does in training."""
        return play(self.policy(meta), self._family, trial, self.actor.exploration(meta))

    @torch.no_grad()
    def batch(self, meta: Tensors, trial: Trial[Tasks], played: Played) -> Batch:
        """Advantages and targets of a played trial, in stretches."""
        c, actor = self._config, self.actor
        lived, told = actor.lived(played.episodes), self.critic.told(played)
        blank = lived.x.new_zeros(1, lived.x.shape[1], c.hidden)
        hidden = actor.remember(meta, lived, blank)
        value = self.critic.value(meta, hidden, lived.seen, told)
        reward = self._believed(lived, self.rewards(played.episodes))
        advantage = advantages(reward / self._scales.value, value, c.discount, c.gae_lambda)
        whole = Batch(
            lived,
            torch.cat([blank, hidden[:-1]]),
            actor.judge(meta, lived, hidden).log_likelihood,
            self._normalised(advantage),
            advantage + value,
            told,
            self._parameters(trial),
        )
        return whole.cut(self.stretches)

    def loss(self, meta: Tensors, batch: Batch, undecided: float) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate, critic, entropy and inference: a scalar, and figures to report."""
        c = self._config
        hidden = self.actor.remember(meta, batch.lived, batch.memory)
        judged = self.actor.judge(meta, batch.lived, hidden)
        surrogate = clipped_surrogate(
            judged.log_likelihood - batch.log_likelihood, batch.advantage, c.clip_ratio
        )
        said = self.critic.value(meta, hidden.detach(), batch.lived.seen, batch.told)
        value = F.mse_loss(said, batch.value)
        inferred = hidden @ meta[FOR_TRAINING + "infer_w"] + meta[FOR_TRAINING + "infer_b"]
        inference = (inferred - batch.parameters).square().sum() / max(batch.parameters.numel(), 1)
        entropy = judged.entropy.mean()
        loss = c.value_weight * value - surrogate - undecided * entropy + c.inference_weight * inference
        report = {"entropy": entropy, "value_loss": value, "inference_loss": inference}
        return loss, {name: float(figure.detach()) for name, figure in report.items()}

    def rewards(self, episodes: Sequence[Episodes]) -> Tensor:
        """Of every tick of a trial, (L, N): minus what the family says that it costs, all terms of it."""
        return -over_time([per_tick(self._costs(part)) for part in episodes])

    def _costs(self, part: Episodes) -> tuple[Cost, ...]:
        window, family = part.window(), self._family
        return family.costs(window, family.reward(window) if family.rewarded else part.reward)

    def returns(self, meta: Tensors, tasks: int, rng: np.random.Generator, *, greedy: bool = True) -> Tensor:
        """What whole trials on newly drawn tasks bring in all, (tasks,); `greedy`: without noise."""
        counts = [min(_AT_ONCE, tasks - begin) for begin in range(0, tasks, _AT_ONCE)]
        parts = []
        for n in counts:
            played = self.play(meta, self.trial(n, rng, 1.0, explores=not greedy))
            total = self.rewards(played.episodes).sum(0)
            parts.append(total.view(n, -1).mean(1))
        return torch.cat(parts)

    def figures(self, played: Played) -> dict[str, float]:
        """Of a played trial: what it brought, and the headline where that is something else."""
        found = {"return": float(self.rewards(played.episodes).sum(0).mean())}
        if self._family.spec.headline.pairs:
            cost = joined([self._costs(part) for part in played.episodes])[0]
            rows = cost.values.view(-1, self._config.side_by_side, cost.values.shape[-1])
            found[cost.name] = float(headline(cost._replace(values=rows)).mean())
        return found

    def _believed(self, lived: Lived, reward: Tensor) -> Tensor:
        family = self._family.family
        if not isinstance(family, Believing):
            return reward
        state, choice = lived.seen.argmax(-1), lived.action.argmax(-1)
        choices = lived.action.shape[-1]
        return believed_reward(
            reward, state * choices + choice, lived.seen.shape[-1] * choices, family.reward_prior
        )

    def _parameters(self, trial: Trial[Tasks]) -> Tensor:
        """What an oracle is told at every tick, in typical units, (L, T·E, P)."""
        told = trial.course.told(self._family, torch.arange(trial.ticks).unsqueeze(1))  # (L, T, P)
        return self._family.standard(told).repeat_interleave(self._config.side_by_side, dim=1)

    def _normalised(self, advantage: Tensor) -> Tensor:
        """Advantages (L, T·E) of zero mean and unit variance, on each task: a hard one must not drown the others."""
        beside = self._config.side_by_side
        if beside == 1:
            return (advantage - advantage.mean()) / (advantage.std() + _TINY)
        by_task = advantage.view(len(advantage), -1, beside)
        centred = by_task - by_task.mean(dim=(0, 2), keepdim=True)
        return (centred / (by_task.std(dim=(0, 2), keepdim=True) + _LEAST_SPREAD)).view_as(advantage)

    def _categorical(self, typical: tuple[float, float]) -> Actor:
        return CategoricalActor(Scene.of(self._family, typical), self._config.hidden)

    @cached_property
    def _scales(self) -> Scales:
        """Of what an actor gets that has learned nothing."""
        rng, spec = np.random.default_rng(_TRIED_SEED), self._family.spec
        beginner = self._categorical((0.0, 1.0)) if spec.discrete else self.actor
        policy = beginner.policy(beginner.initial(rng))
        trial = self._drawn(_TRIED, rng, 1.0, 1, 1, policy.n_noise)
        reward = self.rewards(play(policy, self._family, trial).episodes)
        if not reward.any():
            raise UsageError(
                f"[ppo] learns from rewards, and {spec.name} gave none in {len(reward)} ticks on {_TRIED} machines; "
                "let the step of its sessions return some, or give the family a method `reward`"
            )
        returns = advantages(reward, torch.zeros_like(reward), self._config.discount, 1.0)
        typical = float(reward.mean()), float(reward.std().clamp_min(_TINY))
        return Scales(typical, float(returns.std().clamp_min(_TINY)))


def per_tick(costs: Sequence[Cost]) -> Tensor:
    """What each tick costs, (T, K, S): its terms by their weights, with the root of those that count by it."""
    terms = [cost.weight * (cost.values.sqrt() if cost.root else cost.values) for cost in costs]
    return torch.stack(terms).sum(0)


class Scales(NamedTuple):
    """Mean and standard deviation of a reward, and the critic's unit: standard deviation of returns."""

    reward: tuple[float, float]
    value: float


def _stretches(episodes: int, steps: int, least: int) -> int:
    """Into how many equal stretches of whole episodes a trial can be cut, so that none has fewer ticks than that."""
    together = (k for k in range(1, episodes + 1) if episodes % k == 0 and k * steps >= least)
    return episodes // next(together, episodes)


def _cut(column: Tensor, stretches: int) -> Tensor:
    """(L, N, …) as (L / stretches, N·stretches, …)."""
    return torch.cat(column.chunk(stretches), dim=1)


def believed_reward(reward: Tensor, pair: Tensor, pairs: int, prior: tuple[float, float]) -> Tensor:
    """Each reward's expectation given what its trial has shown before it, (L, N).

    The posterior mean of a conjugate prior: (k·m + Σ r)/(k + n), over the n earlier rewards r of the same observation
    and action, `pair` (L, N) of as many as there are, where the prior of mean m is worth k rewards.
    """
    mean, worth = prior
    total = reward.new_full((pair.shape[1], pairs), worth * mean)
    count = torch.full_like(total, worth)
    out = torch.empty_like(reward)
    one = torch.ones_like(out[0]).unsqueeze(1)
    for t, now in enumerate(reward):
        index = pair[t].unsqueeze(1)
        out[t] = (total.gather(1, index) / count.gather(1, index)).squeeze(1)
        total.scatter_add_(1, index, now.unsqueeze(1))
        count.scatter_add_(1, index, one)
    return out


def advantages(reward: Tensor, value: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Generalised advantages (L, N) over whole trials: an episode's end is no end (Schulman 2016, equation 16).

    A_t = δ_t + γλ·A_{t+1},  δ_t = r_t + γ·V_{t+1} − V_t,  and nothing comes after the trial.
    """
    following = torch.cat([value[1:], torch.zeros_like(value[:1])])
    delta = reward + discount * following - value
    out, ahead = torch.empty_like(delta), torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        ahead = delta[t] + discount * gae_lambda * ahead
        out[t] = ahead
    return out


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """L^CLIP, Schulman et al. 2017, equation 7, averaged: a scalar to maximise."""
    ratio = torch.exp(log_ratio)
    return torch.min(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage).mean()
