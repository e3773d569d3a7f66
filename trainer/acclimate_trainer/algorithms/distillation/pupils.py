"""What learns from a teacher, or is one: a network with a memory or without, and what goes on in it along a drive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.reactive import ReactiveConfig, ReactivePolicy
from acclimate_trainer.algorithms.rl2 import categorical, rl2
from acclimate_trainer.algorithms.rl2.categorical import CategoricalPolicy, Scene
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.networks import feedforward
from acclimate_trainer.networks.recurrent import gru, gru_over_time
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.trials import previous_actions


class Seen(NamedTuple):
    """What there was to see in L ticks of a trial, in E episodes side by side on each of T machines."""

    obs: Tensor  # (T, E, L, n_obs)
    previous: Tensor  # the action before, within ±1 (T, E, L, n_act)
    begins: Tensor  # 1 in the first tick of an episode (T, E, L, 1)
    done: Tensor  # the action then, in the channels' units (T, E, L, n_act)

    @classmethod
    def of(cls, view: View, episodes: Sequence[Episodes]) -> Seen:
        """Of the episodes of a trial, in their order."""
        parts = [_seen(view, part) for part in episodes]
        return cls(*(torch.cat(column, dim=2) for column in zip(*parts, strict=True)))


def _seen(view: View, part: Episodes) -> Seen:
    ended = part.ended.unsqueeze(-1)
    first = torch.cat([torch.ones_like(ended[:, :, :1]), ended[:, :, :-1]], dim=2)
    begins = first.to(part.action.dtype)
    return Seen(
        part.obs[:, :, :-1], previous_actions(view, part.action) * (1.0 - begins), begins, part.action
    )


class Thought(NamedTuple):
    """What a network makes of what it sees."""

    features: Tensor  # its last hidden layer, or its memory (T, E, L, H)
    action: Tensor  # without noise, within ±1 (T, E, L, n_act); or the score of every choice (T, E, L, A)


class Pupil(Protocol):
    """See the module. Parameters are stacked over T machines, or are those of 1."""

    @property
    def n_features(self) -> int: ...

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]: ...

    def policy(self, params: Tensors) -> Policy: ...

    def thought(self, params: Tensors, seen: Seen) -> Thought: ...


@dataclass(frozen=True)
class RecurrentPupil:
    """As an `Rl2Policy`."""

    view: View
    hidden: int

    @property
    def n_features(self) -> int:
        return self.hidden

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return rl2.initial_parameters(rl2.n_inputs(self.view), self.view.n_act, self.hidden, rng)

    def policy(self, params: Tensors) -> Policy:
        return rl2.Rl2Policy(params, self.view)

    def thought(self, params: Tensors, seen: Seen) -> Thought:
        x = rl2.inputs(self.view, seen.obs, seen.previous, seen.begins)
        memory = _remembered(params, x)
        action = rl2.mean_action(params, x.flatten(1, 2), memory.flatten(1, 2))
        return Thought(memory, action.view(*x.shape[:3], -1))


def _remembered(params: Tensors, x: Tensor) -> Tensor:
    """Hidden states (T, E, L, H) after each of the inputs x (T, E, L, n_in) of a trial."""
    tasks, rows, ticks, _ = x.shape
    h = x.new_zeros(tasks, rows, params["recurrent"].shape[-2])
    if tasks == 1:  # one network: its whole trial in one go
        own = {name: value[0] for name, value in params.items()}
        return gru_over_time(own, x[0].transpose(0, 1), h).transpose(0, 1).unsqueeze(0)
    out = []
    for t in range(ticks):
        h = gru(params, x[:, :, t], h)
        out.append(h)
    return torch.stack(out, dim=2)


@dataclass(frozen=True)
class CategoricalPupil:
    """As a `CategoricalPolicy`."""

    scene: Scene
    hidden: int

    @property
    def n_features(self) -> int:
        return self.hidden

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return categorical.initial_parameters(self.scene, self.hidden, rng)

    def policy(self, params: Tensors) -> Policy:
        return CategoricalPolicy(params, self.scene)

    def thought(self, params: Tensors, seen: Seen) -> Thought:
        """What was seen and chosen before is remembered through the ends of episodes."""
        now = self.scene.seen(seen.obs)
        pair = categorical.pair_of(now, self.scene.choices.taken(seen.done))
        before = torch.cat([torch.zeros_like(pair[:, :, :1]), pair[:, :, :-1]], dim=2)
        memory = _remembered(params, self.scene.inputs(seen.obs, now, before, seen.begins))
        scores = categorical.scores(params, memory.flatten(1, 2), now.flatten(1, 2))
        return Thought(memory, scores.view(*now.shape[:3], -1))


@dataclass(frozen=True)
class ReactivePupil:
    """As a `ReactivePolicy`."""

    view: View
    config: ReactiveConfig

    @property
    def n_features(self) -> int:
        return self.config.hidden

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        c = self.config
        shapes = feedforward.layer_shapes(self.view.n_in, c.hidden, self.view.n_act, c.depth)
        return feedforward.initial_parameters(shapes, rng)

    def policy(self, params: Tensors) -> Policy:
        return ReactivePolicy(params, self.view, self.config)

    def thought(self, params: Tensors, seen: Seen) -> Thought:
        x = self.view.inputs(seen.obs, seen.previous)
        h = feedforward.hidden(params, x.flatten(1, 2), self.config.activation)
        action = feedforward.of_hidden(params, h)
        return Thought(h.view(*x.shape[:3], -1), action.view(*x.shape[:3], -1))
