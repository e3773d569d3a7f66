"""Objectives by successor features: what a machine is to be rewarded for may change while it runs.

All objectives share the dynamics and differ in the weights w of the reward wᵀφ (Barreto et al. 2017, equation 2). One
recurrent network is conditioned on the objective that it is to act for, as universal successor features are (Borsa et
al. 2019): an actor π(s, z) and successor features ψ(s, a, z) of what π(·, z) earns in each feature. A library of
objectives z stands for a library of policies. For weights w that nobody trained for, generalised policy improvement
compares all of them, and the network's own guess for w, in every state, and does what the best of them would do:

    a = π(s, z_i)  with  i = argmax wᵀψ(s, π(s, z_i), z_i),  and between nearly equal ones their softmax-weighted mean

Barreto et al. 2017 (equation 7) take the best action by any policy's ψ. Their Theorem 1 needs less: that the action's
value by some policy is at least what each policy promises for itself, which is so here as well. With actions that are
continuous and held for one tick, one tick of another policy's action changes next to nothing, and what the maximum
over all pairs finds is the error of ψ; what following a policy changes is large against it. The softmax keeps the
action continuous where two policies are worth the same: an argmax would chatter between them, which costs reward, and
would turn the last digit in which two engines differ into another action.

What the machine is, the hidden state has to find out, as in `rl2`: it is the belief over the dynamics, and serves all
policies. The actor is trained through the simulator, then ψ by the vector TD loss on what the actors do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from torch import Tensor

from acclimate_trainer.algorithms.reactive import risen
from acclimate_trainer.algorithms.rl2.rl2 import RecurrentConfig, inputs, new_trial
from acclimate_trainer.algorithms.successor.objective_policies import (
    PSI_BIAS,
    ActorPolicy,
    ObjectivesPolicy,
    actions,
    direction,
    initial_parameters,
    last_layer,
)
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.recurrent import gru_over_time
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import (
    FOR_TRAINING,
    Losses,
    TrainingConfig,
    clip_gradient,
    meta_gradient,
)
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.trials import previous_actions, run_trial
from acclimate_trainer.settings.limits import COUNT, SHARE, require


@dataclass(frozen=True)
class ObjectivesConfig(RecurrentConfig):
    """Section [objectives] of a config."""

    hidden: int = 24
    """Width of the GRU."""
    mixing: int = 24
    """Units that turn belief and objective into a controller."""
    critic: int = 48
    """Width of both hidden layers of ψ."""
    adjoint_decay: float = 0.97
    """Factor on the gradient through the simulated state and the hidden one, per tick backwards."""
    discount: float = 0.97
    """Of the features that ψ adds up, per tick."""
    actor_share: float = 0.6
    """Share of training, at its beginning, in which the actor learns; then its successor features are learned."""
    others: int = 3
    """Objectives besides its own that ψ learns from each transition for."""
    epochs: int = 3
    """Passes over the transitions of one iteration."""
    minibatches: int = 4
    """Steps of the optimizer in one pass."""
    default: Mapping[str, float] = field(default_factory=dict)
    """Weights of what is driven for unless somebody says otherwise; empty: the first feature alone."""
    library: tuple[Mapping[str, float], ...] = ()
    """Weights of the objective of each policy of the library; empty: each feature alone, and all of them alike."""
    only: Mapping[str, float] = field(default_factory=dict)
    """Weights of the one objective to train for; empty: for all of them."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        counts = dict.fromkeys(("mixing", "critic", "others", "epochs", "minibatches"), COUNT)
        shares = dict.fromkeys(("adjoint_decay", "discount", "actor_share"), SHARE)
        require(self, {**counts, **shares})
        for key, weights in self._objectives():
            for name, weight in weights.items():
                if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0.0):
                    raise UsageError(f"{key}: {name} must be a finite number, at least 0, found {weight!r}")
            if weights and not any(weights.values()):
                raise UsageError(f"{key}: at least one weight must be above 0")

    def _objectives(self) -> list[tuple[str, Mapping[str, float]]]:
        return [("default", self.default), ("only", self.only), *(("library", each) for each in self.library)]

    def check(self, names: Sequence[str]) -> None:
        """Raises UsageError for an objective that is none of these."""
        for key, weights in self._objectives():
            for name in weights:
                if name not in names:
                    raise UsageError(f"{key}: there is no objective {name!r}{did_you_mean(name, names)}")


class Transitions(NamedTuple):
    """What ψ learns from: N transitions on each of T machines."""

    x: Tensor  # what the network saw (T, N, n_in)
    hidden: Tensor  # what it believed, having seen that (T, N, H)
    action: Tensor  # within ±1 (T, N, n_act)
    phi: Tensor  # (T, N, d)
    next_x: Tensor
    next_hidden: Tensor
    z: Tensor  # objectives to learn ψ for, as the network sees them (T, Z, d)

    def some(self, index: Tensor) -> Transitions:
        """Those of some machines."""
        return Transitions(*(column[index] for column in self))


class Objectives(Generic[Tasks]):
    """Trains an `ObjectivesPolicy`; see the module."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: ObjectivesConfig) -> None:
        """Raises UsageError for an objective that is none of the family's features."""
        self._family: Complete[Tasks] = Complete.of(family)
        self._config = config
        self._view = View.of(self._family)
        self._names = tuple(feature.name for feature in self._family.spec.features)
        config.check(self._names)
        self._usual = self._weights(config.default) if config.default else torch.eye(len(self._names))[0]
        only = self._weights(config.only) if config.only else None
        self._default = self._usual if only is None else only
        self._library = self._listed() if only is None else only.unsqueeze(0)
        self._only = only

    def _weights(self, by_name: Mapping[str, float]) -> Tensor:
        return torch.tensor([float(by_name.get(name, 0.0)) for name in self._names])

    def _listed(self) -> Tensor:
        """The library's objectives, (P, d)."""
        d = len(self._names)
        if not self._config.library:
            return torch.cat([torch.eye(d), torch.full((1, d), 1.0 / d)])
        return torch.stack([self._weights(each) for each in self._config.library])

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        c = self._config
        return initial_parameters(self._view, len(self._names), c.hidden, c.mixing, c.critic, rng)

    def policy(self, meta: Tensors) -> ObjectivesPolicy:
        kept = {name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)}
        return ObjectivesPolicy(kept, self._view, self._library, self._default)

    def actor(self, meta: Tensors) -> ActorPolicy:
        """The policy that has to be told nothing but its objective."""
        return ActorPolicy(meta, self._view, self._library, self._default)

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[Mapping[str, float]]:
        """One iteration: one step of the actor, or later several of ψ."""
        if progress < self._config.actor_share:
            yield meta_gradient(self, meta, config, rng, progress)
        else:
            yield from self._psi_steps(meta, config, rng, progress)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """Minus the reward of each task's objective, averaged over the trial."""
        w = self.objectives(tasks, rng, progress)
        trial = new_trial(self._family, self._config, tasks, rng, progress)
        told = {**meta, "task_vector": w}
        episodes = run_trial(self.actor(meta), told, self._family, trial, self._config.adjoint_decay)
        phi = torch.stack([self._features(part).mean(dim=(1, 2)) for part in episodes]).mean(0)  # (T, d)
        reward = (w * phi).sum(-1)
        return Losses(-reward, {"return": reward, **dict(zip(self._names, phi.unbind(-1), strict=True))})

    def objectives(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Tensor:
        """Weights that add up to 1, (n, d): their roots lie anywhere on the positive part of the sphere.

        Where there is but one, training begins at the usual one and turns to it over the curriculum: a beginner who
        must pay for every move learns not to move.
        """
        if self._only is not None:
            begin, end = (w / w.sum() for w in (self._usual, self._default))
            return torch.lerp(begin, end, risen(progress, self._config.curriculum)).expand(n, -1)
        squares = rng.standard_normal((n, len(self._names))) ** 2
        return torch.tensor(squares / squares.sum(-1, keepdims=True), dtype=torch.float32)

    def _psi_steps(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[Mapping[str, float]]:
        psi = {name: value for name, value in meta.items() if _of_psi(name)}
        for name in meta.keys() - psi.keys():
            meta[name].grad = None  # so that the optimizer leaves the actor as it is
        w = self._half_listed(config.meta_batch_size, rng)
        batch, phi = self.transitions(meta, w, rng, progress)
        wanted = self.targets(meta, batch)
        figures = {"return": float((w * phi).sum(-1).mean())}
        for _ in range(self._config.epochs):
            order = torch.from_numpy(rng.permutation(len(wanted)))
            for index in order.chunk(self._config.minibatches):
                found = successor_features(meta, batch.some(index))
                loss = F.mse_loss(found, wanted[index])
                explained = 1.0 - loss.detach() / wanted[index].var(dim=(0, 1, 2)).mean()
                norm = clip_gradient(loss, psi, config.clip)
                yield figures | {
                    "td_loss": float(loss.detach()),
                    "explained": float(explained),
                    "grad_norm": norm,
                }

    def _features(self, part: Episodes) -> Tensor:
        return self._family.features(part.window())[0]

    def _half_listed(self, n: int, rng: np.random.Generator) -> Tensor:
        """Objectives (n, d), about half of them the library's."""
        listed = self._library[torch.from_numpy(rng.integers(0, len(self._library), n))]
        return torch.where(torch.from_numpy(rng.random((n, 1)) < 0.5), listed, self.objectives(n, rng))

    @torch.no_grad()
    def transitions(
        self, meta: Tensors, w: Tensor, rng: np.random.Generator, progress: float
    ) -> tuple[Transitions, Tensor]:
        """What the actor, exploring, does for objectives w (T, d); and its features per tick, (T, d)."""
        c, tasks = self._config, len(w)
        trial = new_trial(self._family, c, tasks, rng, progress, explore=c.side_by_side)
        told = {**_stacked(meta, tasks), "task_vector": w}
        episodes = run_trial(self.actor(meta), told, self._family, trial)
        x = torch.stack([seen_in(self._view, part) for part in episodes])  # (episodes, T, E, S, n_in)
        hidden = self._believed(meta, x)
        action = torch.stack([self._view.taken(part.action) for part in episodes])
        phi = torch.stack([self._features(part) for part in episodes])
        others = self.objectives(tasks * c.others, rng).view(tasks, c.others, -1)
        z = direction(torch.cat([w.unsqueeze(1), others], dim=1))
        now, following = slice(None, -1), slice(1, None)
        columns = (x[:, :, :, now], hidden[:, :, :, now], action[:, :, :, now], phi[:, :, :, now],
                   x[:, :, :, following], hidden[:, :, :, following])  # fmt: skip
        flat = [column.transpose(0, 1).flatten(1, 3) for column in columns]  # (T, N, …)
        return Transitions._make([*flat, z]), phi.mean(dim=(0, 2, 3))

    def _believed(self, meta: Tensors, x: Tensor) -> Tensor:
        """Hidden states along the episodes of trials, x (episodes, T, E, S, n_in): (episodes, T, E, S, H)."""
        episodes, tasks, rows, steps, n_in = x.shape
        over_time = x.permute(0, 3, 1, 2, 4).reshape(episodes * steps, tasks * rows, n_in)
        start = over_time.new_zeros(1, tasks * rows, self._config.hidden)
        hidden = gru_over_time(meta, over_time, start)
        return hidden.view(episodes, steps, tasks, rows, -1).permute(0, 2, 3, 1, 4)

    @torch.no_grad()
    def targets(self, meta: Tensors, batch: Transitions) -> Tensor:
        """(1 − γ)·φ + γ·ψ(s', π(s', z), z): the vector TD target of ψ, which is in units of φ, (T, N, Z, d)."""
        params = _stacked(meta, len(batch.x))
        action = actions(params, batch.next_x, batch.next_hidden, batch.z)  # (T, N, Z, n_act)
        following = _psi(params, batch.next_x, batch.next_hidden, batch.z, action)
        return torch.lerp(batch.phi.unsqueeze(2), following, self._config.discount)


def successor_features(meta: Tensors, batch: Transitions) -> Tensor:
    """ψ of each transition's action, for each of its objectives, per tick: (T, N, Z, d)."""
    action = batch.action.unsqueeze(2).expand(-1, -1, batch.z.shape[1], -1)
    return _psi(_stacked(meta, len(batch.x)), batch.x, batch.hidden, batch.z, action)


def _psi(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor, action: Tensor) -> Tensor:
    """(T, N, Z, d) of policies z (T, Z, d) and an action for each, (T, N, Z, n_act)."""
    y = last_layer(params, x, hidden, z, action)
    return torch.baddbmm(params[PSI_BIAS], y, params["psi"]).view(*action.shape[:-1], -1)


def seen_in(view: View, part: Episodes) -> Tensor:
    """What the network saw in every tick of episodes, (T, E, S, n_in)."""
    previous = previous_actions(view, part.action)
    begins = torch.zeros_like(previous[..., :1])
    begins[:, :, 0] = 1.0
    return inputs(view, part.obs[:, :, :-1], previous, begins)


def _of_psi(name: str) -> bool:
    return name.removeprefix(FOR_TRAINING).startswith("psi")


def _stacked(meta: Tensors, tasks: int) -> dict[str, Tensor]:
    return {name: value.expand(tasks, *value.shape) for name, value in meta.items()}
