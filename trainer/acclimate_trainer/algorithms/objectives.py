"""Servo objectives by successor features: what a servo is to be rewarded for may change while it runs.

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

What the servo is, the hidden state has to find out, as in `rl2`: it is the belief over the dynamics, and serves all
policies. The actor is trained through the simulator, then ψ by the vector TD loss on what the actors do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from acclimate.manifest import AdaptationSpec, ObservationChannel, StateTensor, WindowSpec
from acclimate.servo_features import FEATURES, servo_features
from torch import Tensor

from acclimate_trainer import task_vector
from acclimate_trainer.algorithms.rl2 import N_IN, RecurrentConfig, features, new_trial
from acclimate_trainer.contract import Act, Adapt, Tensors, Window
from acclimate_trainer.families.servo import OBSERVATION, ServoFamily
from acclimate_trainer.limits import COUNT, SHARE, require
from acclimate_trainer.networks import SIGMA_START, bounded, sigma
from acclimate_trainer.recurrent import gru, gru_over_time, initial_gru
from acclimate_trainer.rollouts import Episodes
from acclimate_trainer.servo_trials import previous_actions, run_trial
from acclimate_trainer.training import FOR_TRAINING, Losses, TrainingConfig, clip_gradient, meta_gradient

NAMES = tuple(feature.name for feature in FEATURES)
N_FEATURES = len(NAMES)
N_OBS = len(OBSERVATION)  # what the policy sees of an observation; the reward follows
REWARD = ObservationChannel("reward", "1", -1000.0, 1000.0)
DEFAULT = (1.0, 0.0, 0.0, 0.1, 0.0)
"""What a servo is rewarded for unless somebody says otherwise: to follow, without much chatter."""
LIBRARY = (
    (1.0, 0.0, 0.0, 0.0, 0.0),
    (0.5, 0.0, 0.0, 0.0, 0.5),
    (0.7, 0.3, 0.0, 0.0, 0.0),
    (0.3, 0.7, 0.0, 0.0, 0.0),
    (0.6, 0.0, 0.4, 0.0, 0.0),
    (0.6, 0.0, 0.0, 0.4, 0.0),
    (0.3, 0.2, 0.2, 0.3, 0.0),
    (0.2, 0.2, 0.2, 0.2, 0.2),
)
"""Objectives of the library's policies."""
TEMPERATURE = 0.05  # of the softmax, in units of the reward per tick of weights that add up to 1
WINDOW = WindowSpec(episodes=1, steps=100)
_STEPS = 8  # windows of one trial that a task vector may be inferred from
_INPUT_SCALE = 2.6  # as in `rl2`
_ACTOR_SCALE = 0.1  # of the initial weights of what the actor is made of
_TINY = 1e-6
_PSI_BIAS = (
    FOR_TRAINING + "psi_bias"
)  # the same for all actions and policies, and so of no use in choosing one


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
    only: Mapping[str, float] = field(default_factory=dict)
    """Weights of the one objective to train for; empty: for all of them."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        counts = dict.fromkeys(("mixing", "critic", "others", "epochs", "minibatches"), COUNT)
        shares = dict.fromkeys(("adjoint_decay", "discount", "actor_share"), SHARE)
        require(self, {**counts, **shares})
        for name, weight in self.only.items():
            if name not in NAMES:
                raise UsageError(f"only: there is no objective {name!r}; valid names: {', '.join(NAMES)}")
            if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0.0):
                raise UsageError(f"only: {name} must be a finite number, at least 0, found {weight!r}")
        if self.only and not any(self.only.values()):
            raise UsageError("only: at least one weight must be above 0")


class ObjectivesPolicy:
    """See the module. `adapt` infers w from rewards that come in as the last entry of the observation."""

    algorithm = "successor_features"
    n_noise = 1
    window: WindowSpec | None = WINDOW
    adaptation: AdaptationSpec | None = AdaptationSpec(max_steps=_STEPS)
    privileged: tuple[str, ...] = ()

    def __init__(self, params: Tensors, library: Tensor, default: Tensor) -> None:
        """params: as `initial_parameters` names them. library (P, d): the objective of each policy; default (d,)."""
        self._params, self._library, self._default = params, library, default
        self._hidden = params["recurrent"].shape[-2]

    @property
    def state(self) -> tuple[StateTensor, ...]:
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            StateTensor("library", tuple(self._library.shape), "never"),
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_action", (1,), "episode", "act"),
            StateTensor("begins", (1,), "episode", "act"),
            *(
                replace(t, reset="never")
                if t.name == "task_vector"
                else t  # what to drive for outlives a trial
                for t in task_vector.state_tensors(N_FEATURES)
            ),
        )

    def initial(self) -> dict[str, Tensor]:
        return {
            **self._params,
            "library": self._library,
            "hidden": torch.zeros(self._hidden),
            "previous_action": torch.zeros(1),
            "begins": torch.ones(1),
            **task_vector.initial_state(self._default),
        }

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = features(obs[..., :N_OBS], state["previous_action"], state["begins"])
        hidden = gru(state, x, state["hidden"])
        w = state["task_vector"]  # (T, d)
        z = torch.cat([direction(state["library"]), direction(w).unsqueeze(1)], dim=1)  # (T, P + 1, d)
        proposed = actions(state, x, hidden, z)  # (T, E, P + 1)
        per_tick = w / (w.abs().sum(-1, keepdim=True) + _TINY)
        share = torch.softmax(values(state, x, hidden, z, proposed, per_tick) / TEMPERATURE, dim=-1)
        action = torch.addcmul((share * proposed).sum(-1, keepdim=True), sigma(state), noise)
        following = {
            "hidden": hidden,
            "previous_action": F.hardtanh(action),
            "begins": torch.zeros_like(state["begins"]),
        }
        return Act(action, following, {"library": 1.0 - share[..., -1]})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        phi, following = window_features(window)
        tasks = phi.shape[0]
        reward = window.obs[:, :, 1:, N_OBS].reshape(tasks, -1)
        adapt = task_vector.regress(
            state, phi.reshape(tasks, -1, N_FEATURES), reward, (window.mask * following).reshape(tasks, -1)
        )
        return adapt._replace(info={**adapt.info, "loss": adapt.info["residual"].square()})


class ActorPolicy(ObjectivesPolicy):
    """The actor by itself, for the objective that is its task vector: what is trained, before there is any ψ."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = features(obs[..., :N_OBS], state["previous_action"], state["begins"])
        hidden = gru(state, x, state["hidden"])
        mean = actions(state, x, hidden, direction(state["task_vector"]).unsqueeze(1))
        action = torch.addcmul(mean, sigma(state), noise)
        begins = torch.zeros_like(state["begins"])
        return Act(action, {"hidden": hidden, "previous_action": F.hardtanh(action), "begins": begins}, {})


def direction(w: Tensor) -> Tensor:
    """An objective as the network sees it, from weights (…, d): square roots of their shares.

    Only the ratio of weights matters to a policy; the root tells small shares from none. Negative weights, which an
    inferred w may have, count as none here, and as what they are in the choice among policies.
    """
    positive = w.clamp_min(0.0)
    return torch.sqrt(positive / (positive.sum(-1, keepdim=True) + _TINY))


def actions(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor) -> Tensor:
    """What each policy z (T, P, d) does in x (T, E, N_IN), believing `hidden` (T, E, H): (T, E, P), within ±1.

    A linear controller, whose coefficients, gain and offset belief and objective mix.
    """
    tasks, rows, n_in = x.shape
    policies = z.shape[1]
    believed = torch.baddbmm(params["mix_bias"], hidden, params["mix_hidden"]).unsqueeze(2)  # (T, E, 1, M)
    mixed = torch.tanh(believed + torch.bmm(z, params["mix_objective"]).unsqueeze(1))  # (T, E, P, M)
    flat = mixed.reshape(tasks, rows * policies, -1)
    made = torch.baddbmm(params["controller_bias"], flat, params["controller"])  # (T, E·P, N_IN + 2)
    controller, gain, offset = torch.split(
        made.reshape(tasks, rows, policies, n_in + 2), [n_in, 1, 1], dim=-1
    )
    direct = (controller * x.unsqueeze(2)).sum(-1, keepdim=True)
    return bounded(torch.addcmul(offset, direct, gain)).squeeze(-1)


def last_layer(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor, action: Tensor) -> Tensor:
    """What ψ is linear in, of each policy z (T, P, d) and an action for each, (T, E, P): (T, E·P, K)."""
    tasks, rows = x.shape[:2]
    seen = torch.baddbmm(params["psi_bias0"], torch.cat([x, hidden], dim=-1), params["psi_seen"])
    both = seen.unsqueeze(2) + torch.bmm(z, params["psi_objective"]).unsqueeze(1)  # (T, E, P, K)
    first = torch.tanh(torch.addcmul(both, action.unsqueeze(-1), params["psi_action"].unsqueeze(1)))
    flat = first.reshape(tasks, rows * z.shape[1], -1)
    return torch.tanh(torch.baddbmm(params["psi_bias1"], flat, params["psi_hidden"]))


def values(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor, action: Tensor, w: Tensor) -> Tensor:
    """wᵀψ of each policy z (T, P, d) and its action (T, E, P), up to a constant: (T, E, P)."""
    by_w = torch.bmm(params["psi"], w.unsqueeze(-1))  # (T, K, 1)
    return torch.bmm(last_layer(params, x, hidden, z, action), by_w).reshape(action.shape)


def window_features(window: Window) -> tuple[Tensor, Tensor]:
    """φ of every transition of a window, (T, K, S, d), and a mask (T, K, S) of those with three before them.

    At the begin of an episode it is taken as if the joint had been at rest.
    """
    position = window.obs[..., 0]
    target = window.obs[:, :, 1:, 2]
    first = position[:, :, :1]
    padded = torch.cat([first, first, position], dim=2)  # (T, K, S + 3)
    steps = target.shape[2]
    back = [padded[:, :, 3 - k : 3 - k + steps] for k in range(4)]
    duty = F.hardtanh(window.action.squeeze(-1))
    previous = torch.cat([torch.zeros_like(duty[:, :, :1]), duty[:, :, :-1]], dim=2)
    phi = torch.stack(servo_features((back[0], back[1], back[2], back[3]), target, duty, previous), dim=-1)
    nothing, mask = torch.zeros_like(window.mask[:, :, :1]), window.mask
    one_ago = torch.cat([nothing, mask[:, :, :-1]], dim=2)
    two_ago = torch.cat([nothing, one_ago[:, :, :-1]], dim=2)
    return phi, one_ago * two_ago


def rewarded(window: Window, w: Tensor) -> Window:
    """The window with the rewards of w (T, d) as one more entry of the observations that follow a transition."""
    reward = (window_features(window)[0] * w[:, None, None]).sum(-1)
    column = torch.cat([torch.zeros_like(reward[:, :, :1]), reward], dim=2).unsqueeze(-1)
    return window._replace(obs=torch.cat([window.obs[..., :N_OBS], column], dim=-1))


def initial_parameters(c: ObjectivesConfig, rng: np.random.Generator) -> dict[str, Tensor]:
    """Names and shapes: the GRU's, the actor's, those of ψ, `sigma`. The controller begins with a gain of 1."""
    params = initial_gru(N_IN, c.hidden, rng)
    params["input"] *= _INPUT_SCALE * math.sqrt(c.hidden / N_IN)
    shapes = {
        "mix_hidden": (c.hidden, c.mixing),
        "mix_objective": (N_FEATURES, c.mixing),
        "controller": (c.mixing, N_IN + 2),
        "psi_seen": (N_IN + c.hidden, c.critic),
        "psi_objective": (N_FEATURES, c.critic),
        "psi_action": (1, c.critic),
        "psi_hidden": (c.critic, c.critic),
        "psi": (c.critic, N_FEATURES),
    }
    for name, shape in shapes.items():
        scale = _ACTOR_SCALE if name == "controller" else 1.0
        params[name] = torch.tensor(
            scale * rng.standard_normal(shape) / math.sqrt(shape[0]), dtype=torch.float32
        )
    start = torch.tensor(_ACTOR_SCALE / math.sqrt(N_IN) * rng.standard_normal((1, N_IN)), dtype=torch.float32)
    params["controller_bias"] = torch.cat([start, torch.tensor([[1.0, 0.0]])], dim=1)
    params["mix_bias"] = torch.zeros(1, c.mixing)
    params |= {f"psi_bias{i}": torch.zeros(1, c.critic) for i in range(2)}
    return params | {"sigma": torch.full((1, 1), SIGMA_START), _PSI_BIAS: torch.zeros(1, N_FEATURES)}


class Transitions(NamedTuple):
    """What ψ learns from: N transitions on each of T servos."""

    x: Tensor  # what the network saw (T, N, N_IN)
    hidden: Tensor  # what it believed, having seen that (T, N, H)
    action: Tensor  # (T, N)
    phi: Tensor  # (T, N, d)
    next_x: Tensor
    next_hidden: Tensor
    z: Tensor  # objectives to learn ψ for, as the network sees them (T, Z, d)

    def some(self, index: Tensor) -> Transitions:
        """Those of some servos."""
        return Transitions(*(column[index] for column in self))


class Objectives:
    """Trains an `ObjectivesPolicy`; see the module."""

    def __init__(self, family: ServoFamily, config: ObjectivesConfig) -> None:
        self._family, self._config = family, config
        only = [float(config.only.get(name, 0.0)) for name in NAMES] if config.only else None
        self._default = torch.tensor(only or DEFAULT)
        self._library = torch.tensor([only] if only else LIBRARY)
        self._only = only

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return initial_parameters(self._config, rng)

    def policy(self, meta: Tensors) -> ObjectivesPolicy:
        kept = {name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)}
        return ObjectivesPolicy(kept, self._library, self._default)

    def actor(self, meta: Tensors) -> ActorPolicy:
        """The policy that has to be told nothing but its objective."""
        return ActorPolicy(meta, self._library, self._default)

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
        w = self.objectives(tasks, rng)
        trial = new_trial(self._family, self._config, tasks, rng, progress)
        told = {**meta, "task_vector": w}
        episodes = run_trial(self.actor(meta), told, self._family, trial, self._config.adjoint_decay)
        phi = torch.stack([_features(part).mean(dim=(1, 2)) for part in episodes]).mean(0)  # (T, d)
        reward = (w * phi).sum(-1)
        return Losses(-reward, {"return": reward, **dict(zip(NAMES, phi.unbind(-1), strict=True))})

    def objectives(self, n: int, rng: np.random.Generator) -> Tensor:
        """Weights that add up to 1, (n, d): their roots lie anywhere on the positive part of the sphere."""
        if self._only:
            return (self._default / self._default.sum()).expand(n, -1)
        squares = rng.standard_normal((n, N_FEATURES)) ** 2
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
        x = torch.stack([_seen(part) for part in episodes])  # (episodes, T, E, S, N_IN)
        hidden = self._believed(meta, x)
        action = torch.stack([F.hardtanh(part.action.squeeze(-1)) for part in episodes])
        phi = torch.stack([_features(part) for part in episodes])
        others = self.objectives(tasks * c.others, rng).view(tasks, c.others, -1)
        z = direction(torch.cat([w.unsqueeze(1), others], dim=1))
        now, following = slice(None, -1), slice(1, None)
        columns = (x[:, :, :, now], hidden[:, :, :, now], action[:, :, :, now], phi[:, :, :, now],
                   x[:, :, :, following], hidden[:, :, :, following])  # fmt: skip
        flat = [column.transpose(0, 1).flatten(1, 3) for column in columns]  # (T, N, …)
        return Transitions._make([*flat, z]), phi.mean(dim=(0, 2, 3))

    def _believed(self, meta: Tensors, x: Tensor) -> Tensor:
        """Hidden states along the episodes of trials, x (episodes, T, E, S, N_IN): (episodes, T, E, S, H)."""
        episodes, tasks, rows, steps, n_in = x.shape
        over_time = x.permute(0, 3, 1, 2, 4).reshape(episodes * steps, tasks * rows, n_in)
        start = over_time.new_zeros(1, tasks * rows, self._config.hidden)
        hidden = gru_over_time(meta, over_time, start)
        return hidden.view(episodes, steps, tasks, rows, -1).permute(0, 2, 3, 1, 4)

    @torch.no_grad()
    def targets(self, meta: Tensors, batch: Transitions) -> Tensor:
        """(1 − γ)·φ + γ·ψ(s', π(s', z), z): the vector TD target of ψ, which is in units of φ, (T, N, Z, d)."""
        params = _stacked(meta, len(batch.x))
        action = actions(params, batch.next_x, batch.next_hidden, batch.z)  # (T, N, Z)
        following = _psi(params, batch.next_x, batch.next_hidden, batch.z, action)
        return torch.lerp(batch.phi.unsqueeze(2), following, self._config.discount)


def successor_features(meta: Tensors, batch: Transitions) -> Tensor:
    """ψ of each transition's action, for each of its objectives, per tick: (T, N, Z, d)."""
    action = batch.action.unsqueeze(-1).expand(-1, -1, batch.z.shape[1])
    return _psi(_stacked(meta, len(batch.x)), batch.x, batch.hidden, batch.z, action)


def _psi(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor, action: Tensor) -> Tensor:
    """(T, N, Z, d) of policies z (T, Z, d) and an action for each, (T, N, Z)."""
    y = last_layer(params, x, hidden, z, action)
    return torch.baddbmm(params[_PSI_BIAS], y, params["psi"]).view(*action.shape, -1)


def _features(part: Episodes) -> Tensor:
    return window_features(part.window(part.action.shape[1]))[0]


def _seen(part: Episodes) -> Tensor:
    """What the network saw in every tick of episodes, (T, E, S, N_IN)."""
    previous = previous_actions(part.action)
    begins = torch.zeros_like(previous)
    begins[:, :, 0] = 1.0
    return features(part.obs[:, :, :-1], previous, begins)


def _of_psi(name: str) -> bool:
    return name.removeprefix(FOR_TRAINING).startswith("psi")


def _stacked(meta: Tensors, tasks: int) -> dict[str, Tensor]:
    return {name: value.expand(tasks, *value.shape) for name, value in meta.items()}
