"""RL² trained by proximal policy optimisation, on discrete families in trials of several episodes.

Duan et al. 2016 pose meta-learning as a POMDP whose hidden part is the task; a recurrent policy that maximises the
return of whole trials has learned to explore. PPO is Schulman et al. 2017 (equation 7), advantages are generalised
(Schulman et al. 2016, equation 16), and three things that only training knows make the gradient less noisy:

- The task is known. The critic sees facts about it (an asymmetric critic, Pinto et al. 2018).
- Its prior is known. Returns take, in place of each reward, its expectation given all that the trial has shown
  before; by the law of total expectation that changes no return's mean.
- The hidden state has also to say what the task is (Humplik et al. 2019): a linear layer infers it from the memory.

None of it reaches the policy, which plays from observations, actions and rewards alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.outer_loop.training import TrainingConfig, clip_gradient
from acclimate_trainer.play.discrete import Inputs, RecurrentAgent, Trials, play
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require
from acclimate_trainer.tasks.trials import State, Tasks, TrialFamily, trial_steps

_CRITIC_WIDTH = 64
_AT_ONCE = 1000  # trials played at once
_DECIDED = 0.8  # of training, after which nothing rewards being undecided any more


@dataclass(frozen=True)
class PpoConfig:
    """Section [ppo] of a config."""

    hidden: int = 64
    """Width of the GRU."""
    epochs: int = 2
    """Passes over the trials of one iteration."""
    minibatches: int = 4
    """Steps of the optimizer in one pass."""
    clip_ratio: float = 0.2
    """How far the chance of an action may move in one iteration, as a share, before it no longer pays."""
    discount: float = 0.99
    """Of the return, per step, through the whole trial."""
    gae_lambda: float = 0.95
    """0 trusts the critic alone, 1 the return alone."""
    entropy: float = 0.005
    """Reward for being undecided, at the start; it falls to nothing."""
    value_weight: float = 0.5
    """Of the critic's squared error."""
    inference_weight: float = 1.0
    """Of the squared error in inferring the task from the hidden state."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = dict.fromkeys(("hidden", "epochs", "minibatches"), COUNT)
        shares = dict.fromkeys(("discount", "gae_lambda"), SHARE)
        weights = dict.fromkeys(("entropy", "value_weight", "inference_weight"), NOT_NEGATIVE)
        require(self, {**counts, **shares, **weights, "clip_ratio": POSITIVE})


class Batch(NamedTuple):
    """What an update learns from: N trials of L steps."""

    inputs: Inputs
    action: Tensor  # (L, N)
    log_chance: Tensor  # when it was played (L, N)
    advantage: Tensor  # normalised (L, N)
    value: Tensor  # what the critic should say, in its own units (L, N)
    critic: Tensor  # (L, N, n_critic)
    facts: Tensor  # what there is to infer (N, n_facts)

    def trials(self, index: Tensor) -> Batch:
        """Some of them."""
        return Batch(
            Inputs(self.inputs.x[:, index], self.inputs.seen[:, index]),
            self.action[:, index],
            self.log_chance[:, index],
            self.advantage[:, index],
            self.value[:, index],
            self.critic[:, index],
            self.facts[index],
        )


class Ppo(Generic[Tasks, State]):
    """Trains a `RecurrentAgent`; see the module."""

    def __init__(self, family: TrialFamily[Tasks, State], config: PpoConfig) -> None:
        self.family, self.config = family, config
        self.agent = RecurrentAgent(family, config.hidden)
        far = min(trial_steps(family), 1.0 / max(1.0 - config.discount, 1e-9))
        self._unit = far**0.5 * family.typical_reward[1]  # of the critic: about how far returns differ

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The agent's parameters, and those of critic and inference, which only training has."""
        hidden, seen = self.config.hidden, 2 * self.family.n_privileged + 1
        shapes = {
            "critic_w0": (hidden + seen, _CRITIC_WIDTH),
            "critic_b0": (_CRITIC_WIDTH,),
            "critic_w1": (_CRITIC_WIDTH, 1),
            "critic_b1": (1,),
            "infer_w": (hidden, self.family.n_facts),
            "infer_b": (self.family.n_facts,),
        }
        return self.agent.initial(rng) | {
            name: torch.tensor(rng.standard_normal(s) / s[0] ** 0.5, dtype=torch.float32)
            if "w" in name
            else torch.zeros(s)
            for name, s in shapes.items()
        }

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[dict[str, float]]:
        """One iteration: play, then several steps of the optimizer. Writes `.grad`; yields figures per step."""
        c = self.config
        tasks = self.family.sample(config.meta_batch_size, rng)
        trials = play(self.agent, meta, self.family, tasks, rng)
        batch = self.batch(meta, trials, self.family.facts(tasks))
        undecided = c.entropy * max(0.0, 1.0 - progress / _DECIDED)
        figures = {"return": float(trials.mean_reward.sum(0).mean())}
        for _ in range(c.epochs):
            order = torch.from_numpy(rng.permutation(config.meta_batch_size))
            for index in order.chunk(c.minibatches):
                loss, found = self.loss(meta, batch.trials(index), undecided)
                norm = clip_gradient(loss, meta, config.clip)
                yield figures | found | {"grad_norm": norm}

    def returns(self, meta: Tensors, tasks: int, rng: np.random.Generator, *, greedy: bool = True) -> Tensor:
        """What whole trials on newly drawn tasks bring, (tasks,): the sum of each action's expected reward.

        Its mean is that of the rewards themselves, without the noise of drawing them. `greedy`: see `play`.
        """
        counts = [min(_AT_ONCE, tasks - begin) for begin in range(0, tasks, _AT_ONCE)]
        parts = (
            play(self.agent, meta, self.family, self.family.sample(n, rng), rng, greedy=greedy)
            for n in counts
        )
        return torch.cat([trials.mean_reward.sum(0) for trials in parts])

    def batch(self, meta: Tensors, trials: Trials, facts: Tensor) -> Batch:
        """Advantages and targets of played trials."""
        c = self.config
        with torch.no_grad():
            value = self._value(meta, trials.hidden, trials.critic)
            reward = believed_reward(trials, self.agent.pair(trials), self.family) / self._unit
            advantage = advantages(reward, value, c.discount, c.gae_lambda)
        normal = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        return Batch(trials.inputs, trials.action, trials.log_chance, normal, advantage + value,
                     trials.critic, facts)  # fmt: skip

    def loss(self, meta: Tensors, batch: Batch, undecided: float) -> tuple[Tensor, dict[str, float]]:
        """Clipped surrogate, critic, entropy and inference: a scalar, and figures to report."""
        c = self.config
        hidden = self.agent.remember(meta, batch.inputs.x)
        log_chances = self.agent.log_chances(meta, hidden, batch.inputs.seen)
        log_chance = log_chances.gather(2, batch.action.unsqueeze(2)).squeeze(2)
        surrogate = clipped_surrogate(log_chance - batch.log_chance, batch.advantage, c.clip_ratio)
        entropy = -(log_chances.exp() * log_chances).sum(-1).mean()
        value = F.mse_loss(self._value(meta, hidden, batch.critic), batch.value)
        inferred = hidden @ meta["infer_w"] + meta["infer_b"]
        inference = F.mse_loss(inferred, batch.facts.expand_as(inferred))
        loss = c.value_weight * value - surrogate - undecided * entropy + c.inference_weight * inference
        report = {"entropy": entropy, "value_loss": value, "inference_loss": inference}
        return loss, {name: float(figure.detach()) for name, figure in report.items()}

    def _value(self, meta: Tensors, hidden: Tensor, critic: Tensor) -> Tensor:
        x = torch.cat([hidden, critic], dim=-1)
        h = torch.tanh(x @ meta["critic_w0"] + meta["critic_b0"])
        return (h @ meta["critic_w1"] + meta["critic_b1"]).squeeze(-1)


def believed_reward(trials: Trials, pair: Tensor, family: TrialFamily[Tasks, State]) -> Tensor:
    """Each reward's expectation given what its trial has shown before it, (L, N).

    The posterior mean of a conjugate prior: (k·m + Σ r)/(k + n), over the n earlier rewards r of the same observation
    and action, `pair` (L, N), where the prior of mean m is worth k rewards.
    """
    prior, mean = family.reward_prior, family.typical_reward[0]
    total = trials.reward.new_full((pair.shape[1], family.n_obs * family.n_actions), prior * mean)
    count = torch.full_like(total, prior)
    out = torch.empty_like(trials.reward)
    one = torch.ones_like(out[0]).unsqueeze(1)
    for t, reward in enumerate(trials.reward):
        index = pair[t].unsqueeze(1)
        out[t] = (total.gather(1, index) / count.gather(1, index)).squeeze(1)
        total.scatter_add_(1, index, reward.unsqueeze(1))
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
