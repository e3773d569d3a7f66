"""What PPO needs of a recurrent policy: to play by it, and to say again how likely its actions were, and are now.

Two kinds: a Gaussian around the action of an `Rl2Policy`, and the choices of a `CategoricalPolicy`. Both look at whole
trials at once, time first: L ticks in N rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.algorithms.rl2 import categorical, rl2
from acclimate_trainer.algorithms.rl2.categorical import CategoricalPolicy, Scene
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Policy
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.networks.feedforward import SIGMA_START, sigma
from acclimate_trainer.networks.recurrent import gru_over_time
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.watched import over_time

_SPREAD = "spread"  # of the Gaussian, before a sigmoid puts it between its limits
_NARROWEST, _WIDEST = 0.02, 1.0  # standard deviations of the Gaussian that explores, of actions within ±1
_PACE = 5.0  # of what says the standard deviation: at its start that moves about as fast as this


class Lived(NamedTuple):
    """What a policy saw and did, N times side by side."""

    x: Tensor  # its network's inputs (L, N, n_in)
    seen: Tensor  # what its head looks at beside the memory (L, N, n_seen)
    action: Tensor  # within ±1 (L, N, n_act), or one-hot (L, N, A)

    def rows(self, index: Tensor) -> Lived:
        """Some of them."""
        return Lived(*(column[:, index] for column in self))


class Judged(NamedTuple):
    """What a policy says of what was done: how likely it is, and how undecided the policy is, both (L, N)."""

    log_likelihood: Tensor
    entropy: Tensor


class Actor(Protocol):
    """See the module."""

    @property
    def n_seen(self) -> int:
        """Entries of what its head looks at beside the memory."""
        ...

    @property
    def n_noise(self) -> int:
        """Of its policy."""
        ...

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Its parameters, and those that only training has."""
        ...

    def policy(self, meta: Tensors) -> Policy: ...

    def exploration(self, meta: Tensors) -> Tensor | None:
        """Factor on the policy's noise in training, (n_noise,), where it is not what the policy itself makes of it."""
        ...

    def lived(self, episodes: Sequence[Episodes]) -> Lived:
        """Of the episodes of a trial, in their order, each (1, N, S, …)."""
        ...

    def remember(self, meta: Tensors, lived: Lived, memory: Tensor) -> Tensor:
        """Hidden states after each input, (L, N, H), from what is remembered at the begin, (1, N, H)."""
        ...

    def judge(self, meta: Tensors, lived: Lived, hidden: Tensor) -> Judged: ...

    def figures(self, meta: Tensors) -> dict[str, float]:
        """What to report of how it explores."""
        ...


class GaussianActor:
    """Trains an `Rl2Policy`. In training its noise may become smaller than a device's exploration ever is."""

    def __init__(self, view: View, hidden: int) -> None:
        self._view, self._hidden = view, hidden
        self.n_seen, self.n_noise = rl2.n_inputs(view), view.n_act

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        params = rl2.initial_parameters(self.n_seen, self._view.n_act, self._hidden, rng)
        del params["sigma"]
        share = (SIGMA_START - _NARROWEST) / (_WIDEST - _NARROWEST)
        return params | {_SPREAD: torch.full((1, self._view.n_act), math.log(share / (1.0 - share)) / _PACE)}

    def policy(self, meta: Tensors) -> Rl2Policy:
        return Rl2Policy({**_own(meta), "sigma": _spread(meta)}, self._view)

    def exploration(self, meta: Tensors) -> Tensor:
        own = _spread(meta)
        return (own / sigma({"sigma": own}))[0]

    def lived(self, episodes: Sequence[Episodes]) -> Lived:
        parts = [self._lived(part) for part in episodes]
        return Lived(*(over_time(column) for column in zip(*parts, strict=True)))

    def _lived(self, part: Episodes) -> Lived:
        obs, follows = part.obs[:, :, :-1], _follows(part)
        taken = self._view.taken(part.action)
        previous = torch.cat([torch.zeros_like(taken[:, :, :1]), taken[:, :, :-1]], dim=2) * follows
        x = rl2.inputs(self._view, obs, previous, 1.0 - follows)
        return Lived(x, x, self._view.normal(part.action))

    def remember(self, meta: Tensors, lived: Lived, memory: Tensor) -> Tensor:
        return gru_over_time(meta, lived.x, memory)

    def judge(self, meta: Tensors, lived: Lived, hidden: Tensor) -> Judged:
        stacked = {name: value.unsqueeze(0) for name, value in _own(meta).items()}
        rows = (x.flatten(0, 1).unsqueeze(0) for x in (lived.x, hidden))
        mean = rl2.mean_action(stacked, *rows).view_as(lived.action)
        spread = _spread(meta)
        z, log_spread = (lived.action - mean) / spread, torch.log(spread).sum()
        constant = 0.5 * math.log(2.0 * math.pi) * z.shape[-1]
        likelihood = -0.5 * z.square().sum(-1) - log_spread - constant
        return Judged(likelihood, (log_spread + constant + 0.5 * z.shape[-1]).expand(z.shape[:2]))

    def figures(self, meta: Tensors) -> dict[str, float]:
        return {"sigma": float(_spread(meta).detach().mean())}


class CategoricalActor:
    """Trains a `CategoricalPolicy`."""

    def __init__(self, scene: Scene, hidden: int) -> None:
        self._scene, self._hidden = scene, hidden
        self.n_seen, self.n_noise = scene.n_seen, len(scene.choices)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return categorical.initial_parameters(self._scene, self._hidden, rng)

    def policy(self, meta: Tensors) -> CategoricalPolicy:
        return CategoricalPolicy(_own(meta), self._scene)

    def exploration(self, meta: Tensors) -> None:
        del meta  # noise is all that there is

    def lived(self, episodes: Sequence[Episodes]) -> Lived:
        """The pair before is remembered through episodes; the first of a trial has none."""
        obs = over_time([part.obs[:, :, :-1] for part in episodes])
        begins = 1.0 - over_time([_follows(part) for part in episodes])
        choice = self._scene.choices.taken(over_time([part.action for part in episodes]))
        seen = self._scene.seen(obs)
        pair = categorical.pair_of(seen, choice)
        previous = torch.cat([torch.zeros_like(pair[:1]), pair[:-1]])
        return Lived(self._scene.inputs(obs, seen, previous, begins), seen, choice)

    def remember(self, meta: Tensors, lived: Lived, memory: Tensor) -> Tensor:
        return gru_over_time(meta, lived.x, memory)

    def judge(self, meta: Tensors, lived: Lived, hidden: Tensor) -> Judged:
        head = {name: meta[name].unsqueeze(0) for name in ("head", "head_bias")}
        flat = (x.flatten(0, 1).unsqueeze(0) for x in (hidden, lived.seen))
        log_chances = F.log_softmax(categorical.scores(head, *flat), dim=-1).view_as(lived.action)
        likelihood = (log_chances * lived.action).sum(-1)
        return Judged(likelihood, -(log_chances.exp() * log_chances).sum(-1))

    def figures(self, meta: Tensors) -> dict[str, float]:
        del meta
        return {}


def _own(meta: Tensors) -> dict[str, Tensor]:
    """The policy's own parameters."""
    return {n: value for n, value in meta.items() if n != _SPREAD and not n.startswith(FOR_TRAINING)}


def _spread(meta: Tensors) -> Tensor:
    """Standard deviation of a Gaussian actor, (1, n_act), between its limits without ever being stuck at one."""
    return _NARROWEST + (_WIDEST - _NARROWEST) * torch.sigmoid(_PACE * meta[_SPREAD])


def _follows(part: Episodes) -> Tensor:
    """1 where a tick (1, N, S, 1) is not the first of an episode."""
    ended = part.ended.unsqueeze(-1)
    first = torch.ones_like(ended[:, :, :1])
    return (~torch.cat([first, ended[:, :, :-1]], dim=2)).to(part.action.dtype)
