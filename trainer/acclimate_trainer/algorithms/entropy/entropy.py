"""Maximum-entropy reinforcement learning: soft Q-learning, whose policy keeps every way that is worth something open.

Off-policy, from a replay memory, on any family whose rewards a device can know:

    Q(s, a) ← r + γ·V(s'),    V(s') = α·log mean_b exp(Q̄(s', b)/α),    Q̄ the target network

(Haarnoja et al. 2017, "Reinforcement Learning with Deep Energy-Based Policies", equation 11). The policy is exp(Q/α)
itself. Where actions are continuous, their candidates are a grid, and this is soft actor-critic (Haarnoja et al. 2018,
"Soft Actor-Critic Algorithms and Applications") whose actor is not a network but the minimiser of its loss, equation
10: the projection of exp(Q/α) onto one Gaussian, which is what would lose all modes but one, is left out. So is the
second network, of which the smaller value counts: where a policy has seldom been, it would look worse than it is, and
one mode would win. α is that paper's equation 18: what keeps the entropy at `entropy`.

Knowledge is in Q: a policy that has kept every direction open knows what each of them is worth, and fine-tuning to one
(`[training] start`) begins with data from all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.algorithms.entropy.policy import EntropyPolicy, Made, PolicyConfig, inputs, rewards
from acclimate_trainer.algorithms.entropy.soft import probabilities, soft_value, undecided
from acclimate_trainer.compiled.stopwatch import STOPWATCH
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Step, TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.networks.action_values import initial_values, units_of, values_of_all
from acclimate_trainer.networks.candidates import Candidates
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig, clip_gradient
from acclimate_trainer.play import replay
from acclimate_trainer.play.rollouts import composer, draw, initial_of
from acclimate_trainer.play.trials import previous_actions
from acclimate_trainer.settings.limits import COUNT, POSITIVE, SHARE, require

_TARGET = FOR_TRAINING + "target."
_MOMENT = "moment"
_PACE = 0.25  # of log α beside the network, which must be able to follow
_BESIDE = 3  # of a remembered row, after observation and actions: the reward, and whether the episode ended, or in time
_ANY = 1e6  # a temperature at which all actions are alike


@dataclass(frozen=True)
class EntropyConfig(PolicyConfig):
    """Section [entropy] of a config."""

    temperature: float = 0.35
    """α, in units of the reward of a tick: at the start, and for good where `entropy` is 0."""
    entropy: float = 0.85
    """How undecided the policy is to be, from 0 to 1, where 1 is anything: α follows. 0: α stays."""
    exploration: float = 0.0
    """Share of ticks in which a training episode takes any action; what a policy of temperature near 0 needs."""
    hidden: int = 48
    """Width of both hidden layers."""
    replay: int = 100_000
    """Transitions that are remembered, in whole episodes."""
    batch: int = 128
    """Transitions of one step of the optimizer."""
    steps: int = 60
    """Steps of the optimizer in one iteration."""
    following: float = 0.02
    """How far the target network follows in one step."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        counts = dict.fromkeys(("hidden", "replay", "batch", "steps"), COUNT)
        shares = dict.fromkeys(("entropy", "exploration"), SHARE)
        require(self, {**counts, **shares, "temperature": POSITIVE, "following": POSITIVE})


class Batch(NamedTuple):
    """B transitions, and which count."""

    x: Tensor  # what networks see before, (1, B, f)
    code: Tensor  # of the action, (1, B, c)
    reward: Tensor  # (1, B)
    after: Tensor  # what networks see after, (1, B, f)
    goes_on: Tensor  # 0 where the episode ended in itself, (1, B)
    mask: Tensor  # (1, B)


class Entropy(Generic[Tasks]):
    """Trains an `EntropyPolicy`; a `training.Iterative`. See the module."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: EntropyConfig) -> None:
        """Raises UsageError for more candidates than can be compared."""
        self.family: Complete[Tasks] = Complete.of(family)
        self.config, self.view = config, View.of(self.family)
        self.candidates = Candidates.of(self.family.spec, config.levels)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The network and log α; what only training has: a target network and the replay memory."""
        spec, c = self.family.spec, self.config
        n_in = self.family.n_inputs if spec.discrete else self.view.n_in
        params = initial_values(1, n_in, self.candidates.codes.shape[1], c.hidden, rng)
        target = {_TARGET + name: value.clone() for name, value in params.items()}
        memory = replay.empty(
            1, max(1, c.replay // spec.horizon), spec.horizon + 1, spec.n_obs + 2 * spec.n_act + _BESIDE
        )
        numbers = {"log_alpha": torch.tensor([c.temperature]).log() / _PACE, _MOMENT: torch.eye(c.hidden + 1)}
        return params | numbers | target | memory

    def policy(self, meta: Tensors) -> EntropyPolicy:
        """For devices."""
        return EntropyPolicy(self._made(meta), self.candidates, self.view, self.config)

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[Mapping[str, float]]:
        """One iteration: an episode on every machine, then several steps of the optimizer."""
        if not progress:
            self._follow(meta, 1.0)  # also where a run begins with another's parameters
        learned = {name: meta[name] for name in (*self._names(meta), "log_alpha")}
        figures = {"return": self.explore(meta, config.meta_batch_size, rng)}
        for _ in range(self.config.steps):
            loss, found = self.loss(meta, rng)
            norm = clip_gradient(loss, learned, config.clip)
            yield figures | found | {"grad_norm": norm}
            self._follow(meta, self.config.following)

    def loss(self, meta: Tensors, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Squared TD error and the loss of log α; and figures to report."""
        c, batch = self.config, self.batch(replay.draw(meta, self.config.batch, 2, rng))
        alpha, count = _alpha(meta), batch.mask.sum().clamp_min(1.0)
        with torch.no_grad():
            q = values_of_all(_target(meta), batch.after, self.candidates.codes)  # (1, B, A)
            following = soft_value(q, alpha)
            wanted = batch.reward + c.discount * batch.goes_on * following
            spread = (undecided(probabilities(q, alpha)) * batch.mask).sum() / count
        units = units_of(meta, batch.x, batch.code)
        found = torch.baddbmm(meta["b2"], units, meta["w2"]).squeeze(-1)
        self._remember(meta, F.pad(units[0].detach(), (0, 1), value=1.0))
        td = ((found - wanted).square() * batch.mask).sum() / count
        balance = meta["log_alpha"].sum() * (spread - c.entropy if c.entropy else 0.0)
        figures = {"td_loss": td, "entropy": spread, "alpha": alpha.squeeze()}
        return td + balance, {name: float(value.detach()) for name, value in figures.items()}

    def batch(self, rows: Tensor) -> Batch:
        """Two remembered rows each, (1, B, 2, width), as a transition from the first to the second."""
        n_obs, n_act = self.family.spec.n_obs, self.family.spec.n_act
        obs, previous, action, ends = torch.split(rows, [n_obs, n_act, n_act, _BESIDE], -1)
        x = inputs(self.view, obs, previous)
        reward, terminated, truncated = ends[:, :, 0].unbind(-1)
        code = self.candidates.code(action[:, :, 0])
        return Batch(x[:, :, 0], code, reward, x[:, :, 1], 1.0 - terminated, 1.0 - truncated)

    @torch.no_grad()
    def explore(self, meta: Tensors, machines: int, rng: np.random.Generator) -> float:
        """An episode on each of `machines` machines, drawn from the policy; remembered; the mean return."""
        family, policy = self.family, Exploring(self._made(meta), self.candidates, self.view, self.config)
        steps = family.spec.horizon
        around = draw(family, family.sample(machines, rng), rng, explore=1, measure=0, steps=steps,
                      n_noise=policy.n_noise)  # fmt: skip
        STOPWATCH.ticks += machines * steps
        compose, session = composer(family.spec), around.session
        state = {name: value.expand(machines, *value.shape) for name, value in policy.initial().items()}
        state |= initial_of(policy, (machines, 1))
        obs, actions, ends = [compose(session.obs, around.reference[:, :, 0])], list[Tensor](), list[Step]()
        for t in range(steps):
            act = policy.act(state, obs[-1], around.noise[:, :, t])
            state |= act.next
            actions.append(act.action)
            ends.append(session.step(act.action))
            obs.append(compose(session.obs, around.reference[:, :, t + 1]))
        window = Window(torch.stack(obs, 2), torch.stack(actions, 2), torch.ones(machines, 1, steps))
        reward = rewards(self.view, window, self.config.price)
        _, terminated, truncated = (torch.stack(column, 2) for column in zip(*ends, strict=True))
        beside = torch.stack([reward, terminated.to(reward), truncated.to(reward)], -1)
        columns = torch.cat([previous_actions(self.view, window.action), window.action, beside], -1)
        rows = torch.cat([window.obs, F.pad(columns, (0, 0, 0, 1))], -1)
        rows[:, :, -1, window.obs.shape[-1] :][..., : family.spec.n_act] = self.view.taken(
            window.action[:, :, -1]
        )
        replay.write(meta, rows.flatten(0, 1).unsqueeze(0))
        return float(reward.sum(-1).mean())

    def _made(self, meta: Tensors) -> Made:
        """What devices get."""
        params = {name: meta[name][0].detach() for name in self._names(meta)}
        return Made(params, _alpha(meta).detach(), meta[_MOMENT].detach())

    @staticmethod
    def _names(meta: Tensors) -> list[str]:
        """Of the network's parameters."""
        return [n for n in meta if not n.startswith(FOR_TRAINING) and n not in ("log_alpha", _MOMENT)]

    @torch.no_grad()
    def _remember(self, meta: Tensors, units: Tensor) -> None:
        """Second moments of what the last layer sees, (B, h + 1)."""
        meta[_MOMENT].lerp_(units.T @ units / len(units), self.config.following)

    @torch.no_grad()
    def _follow(self, meta: Tensors, share: float) -> None:
        for name, value in meta.items():
            if name.startswith(_TARGET):
                value.lerp_(meta[name.removeprefix(_TARGET)], share)


class Exploring(EntropyPolicy):
    """The policy in training: in a share of the ticks, by two more noise entries, it does anything."""

    _config: EntropyConfig

    @property
    def n_noise(self) -> int:
        return super().n_noise + 2

    def heat(self, state: Tensors, noise: Tensor) -> Tensor:
        """Half of the sum of two squared normal numbers is above −log p with probability p."""
        at_random = 0.5 * noise[..., -2:].square().sum(-1) > -math.log(max(self._config.exploration, 1e-30))
        return torch.where(at_random, _ANY, super().heat(state, noise))


def _alpha(meta: Tensors) -> Tensor:
    """(1,)"""
    return (_PACE * meta["log_alpha"]).exp()


def _target(meta: Tensors) -> dict[str, Tensor]:
    """The target network's parameters, named as the network's."""
    return {name.removeprefix(_TARGET): value for name, value in meta.items() if name.startswith(_TARGET)}
