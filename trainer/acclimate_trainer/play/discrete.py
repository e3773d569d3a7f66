"""A recurrent agent on discrete families: what it sees, how it remembers, how it chooses.

RL² (Duan et al. 2016, section 2.2; Wang et al. 2016): besides the observation, each step brings the previous
transition, its reward and whether an episode ended with it, and the hidden state lives through the whole trial. With S
observations and A actions, an input is

    observation (S) | previous observation and action, as one of S·A | that times the reward | episode ended (1)

The previous observation and action come as one entry of S·A, so that what a reward says of them can be written into
the memory by a sum; and the head has weights of its own for each observation, so that it can be read again by one.
Both hold nothing that previous observation, previous action and reward do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.recurrent import gru, gru_over_time, gru_shapes
from acclimate_trainer.tasks.trials import State, Step, Tasks, TrialFamily, trial_steps

_REMEMBER = 2.5  # initial bias of the update gate: a fresh memory keeps most of what it holds
_INPUT_SCALE, _HEAD_SCALE = 0.5, 0.1


class Inputs(NamedTuple):
    """What the network gets at one step, or at all steps of a trial with L in front."""

    x: Tensor  # (N, n_in)
    seen: Tensor  # which observation, int64 (N,)


class RecurrentAgent:
    """A GRU and a linear head on a `TrialFamily`; functions of named parameters. Stochastic, or greedy."""

    def __init__(self, family: TrialFamily[Tasks, State], hidden: int) -> None:
        self.n_obs, self.n_actions, self.hidden = family.n_obs, family.n_actions, hidden
        self._pairs = family.n_obs * family.n_actions
        self._typical, self._spread = family.typical_reward
        self.n_in = self.n_obs + 2 * self._pairs + 1

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A memory that keeps, and nearly uniform actions."""
        h = self.hidden
        shapes = gru_shapes(self.n_in, h)
        out = {name: torch.zeros(shape) for name, shape in shapes.items()}
        out["input"] = _normal(rng, shapes["input"], _INPUT_SCALE)
        out["recurrent"] = torch.cat([_orthogonal(rng, h) for _ in range(3)], dim=1)
        out["input_bias"][:, h : 2 * h] = _REMEMBER
        out["head"] = _normal(rng, (h, self._pairs), _HEAD_SCALE / math.sqrt(h))
        out["head_bias"] = torch.zeros(1, self._pairs)
        return out

    def begin(self, obs: Tensor) -> Inputs:
        """Input of a trial's first step, from obs (N, n_obs): nothing has happened yet."""
        return Inputs(F.pad(obs, (0, 2 * self._pairs + 1)), obs.argmax(-1))

    def after(self, step: Step[State], seen: Tensor, action: Tensor) -> Inputs:
        """Input after `action` (N,) on observation `seen` (N,), also where an episode ended with it."""
        pair = F.one_hot(seen * self.n_actions + action, self._pairs).to(step.obs.dtype)
        worth = ((step.reward - self._typical) / self._spread).unsqueeze(-1)
        ended = (step.terminated | step.truncated).to(step.obs.dtype).unsqueeze(-1)
        return Inputs(torch.cat([step.obs, pair, pair * worth, ended], dim=-1), step.obs.argmax(-1))

    def pair(self, trials: Trials) -> Tensor:
        """Observation and action of each step as one number below S·A, int64 (L, N)."""
        return trials.inputs.seen * self.n_actions + trials.action

    def remember(self, params: Tensors, x: Tensor) -> Tensor:
        """Hidden states (L, N, H) over whole trials of inputs x (L, N, n_in)."""
        return gru_over_time(params, x, x.new_zeros(1, x.shape[1], self.hidden))

    def log_chances(self, params: Tensors, hidden: Tensor, seen: Tensor) -> Tensor:
        """Logarithm of each action's chance, (…, A), from hidden states (…, H) and observations (…)."""
        every = hidden @ params["head"] + params["head_bias"][0]
        rows = every.view(*every.shape[:-1], self.n_obs, self.n_actions)
        mine = seen[..., None, None].expand(*seen.shape, 1, self.n_actions)
        return F.log_softmax(torch.take_along_dim(rows, mine, dim=-2).squeeze(-2), dim=-1)


class Trials(NamedTuple):
    """N played trials of L steps."""

    inputs: Inputs  # (L, N, …)
    hidden: Tensor  # after each input (L, N, H)
    action: Tensor  # int64 (L, N)
    log_chance: Tensor  # of the action (L, N)
    reward: Tensor  # (L, N)
    mean_reward: Tensor  # see `Step` (L, N)
    critic: Tensor  # features that only a critic may see (L, N, n_critic)


@torch.no_grad()
def play(
    agent: RecurrentAgent,
    params: Mapping[str, Tensor],
    family: TrialFamily[Tasks, State],
    tasks: Tasks,
    rng: np.random.Generator,
    *,
    greedy: bool = False,
) -> Trials:
    """Play one trial on every task; `greedy` takes the likeliest action instead of a sampled one."""
    state, obs = family.reset(tasks)
    inputs = agent.begin(obs)
    stacked = {name: params[name].detach().unsqueeze(0) for name in gru_shapes(agent.n_in, agent.hidden)}
    hidden = torch.zeros(1, len(obs), agent.hidden)
    length, steps = trial_steps(family), []
    for tick in range(length):
        hidden = gru(stacked, inputs.x.unsqueeze(0), hidden)
        log_chances = agent.log_chances(params, hidden[0], inputs.seen)
        action = log_chances.argmax(-1) if greedy else _sample(log_chances, rng)
        log_chance = log_chances.gather(1, action.unsqueeze(1)).squeeze(1)
        critic = critic_features(family.critic_features(tasks, state), 1.0 - tick / length)
        step = family.step(tasks, state, action, rng)
        steps.append((*inputs, hidden[0], action, log_chance, step.reward, step.mean_reward, critic))
        state, inputs = step.state, agent.after(step, inputs.seen, action)
    x, seen, *rest = (torch.stack(column) for column in zip(*steps, strict=True))
    return Trials(Inputs(x, seen), *rest)


def critic_features(facts: Tensor, left: float) -> Tensor:
    """Facts (N, n), the same times the share of the trial that is left, and that share: (N, 2n + 1)."""
    return torch.cat([facts, facts * left, facts.new_full((len(facts), 1), left)], dim=-1)


def _sample(log_chances: Tensor, rng: np.random.Generator) -> Tensor:
    """One action per row, by the largest of log p + Gumbel noise (Gumbel 1954)."""
    uniform = torch.from_numpy(rng.random(log_chances.shape, dtype=np.float32)).clamp_min(1e-9)
    return (log_chances - torch.log(-torch.log(uniform.clamp_max(1.0 - 1e-7)))).argmax(-1)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Tensor:
    return torch.tensor(scale * rng.standard_normal(shape), dtype=torch.float32)


def _orthogonal(rng: np.random.Generator, n: int) -> Tensor:
    return torch.tensor(np.linalg.qr(rng.standard_normal((n, n)))[0], dtype=torch.float32)
