"""Policies whose objective may change while they drive a servo: what they are on a device. See `algorithms.objectives`.

act      features, GRU -> an action by each objective of the library, and for w -> the one worth most under w
adapt    the window's φ and rewards -> w
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.servo_features import FEATURES, servo_features
from acclimate.task.spec import ObservationChannel
from torch import Tensor

from acclimate_trainer.algorithms.rl2.rl2 import N_IN, features
from acclimate_trainer.algorithms.successor import task_vector
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import SIGMA_START, bounded, sigma
from acclimate_trainer.networks.recurrent import gru, initial_gru
from acclimate_trainer.outer_loop.training import FOR_TRAINING
from acclimate_trainer.tasks.servo import OBSERVATION

NAMES = tuple(feature.name for feature in FEATURES)
N_FEATURES = len(NAMES)
N_OBS = len(OBSERVATION)  # what the policy sees of an observation; the reward follows
REWARD = ObservationChannel("reward", "1", -1000.0, 1000.0, "reward")
TEMPERATURE = 0.05  # of the softmax, in units of the reward per tick of weights that add up to 1
WINDOW = WindowSpec(episodes=1, steps=100)
_STEPS = 8  # windows of one trial that a task vector may be inferred from
_INPUT_SCALE = 2.6  # as in `rl2`
_ACTOR_SCALE = 0.1  # of the initial weights of what the actor is made of
_TINY = 1e-6
# Of ψ: the same for all actions and policies, and so of no use in choosing one.
PSI_BIAS = FOR_TRAINING + "psi_bias"


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


def initial_parameters(hidden: int, mixing: int, critic: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """The GRU's, the actor's, those of ψ, and `sigma`, for these widths. The controller begins with a gain of 1."""
    params = initial_gru(N_IN, hidden, rng)
    params["input"] *= _INPUT_SCALE * math.sqrt(hidden / N_IN)
    shapes = {
        "mix_hidden": (hidden, mixing),
        "mix_objective": (N_FEATURES, mixing),
        "controller": (mixing, N_IN + 2),
        "psi_seen": (N_IN + hidden, critic),
        "psi_objective": (N_FEATURES, critic),
        "psi_action": (1, critic),
        "psi_hidden": (critic, critic),
        "psi": (critic, N_FEATURES),
    }
    for name, shape in shapes.items():
        scale = _ACTOR_SCALE if name == "controller" else 1.0
        params[name] = torch.tensor(
            scale * rng.standard_normal(shape) / math.sqrt(shape[0]), dtype=torch.float32
        )
    start = torch.tensor(_ACTOR_SCALE / math.sqrt(N_IN) * rng.standard_normal((1, N_IN)), dtype=torch.float32)
    params["controller_bias"] = torch.cat([start, torch.tensor([[1.0, 0.0]])], dim=1)
    params["mix_bias"] = torch.zeros(1, mixing)
    params |= {f"psi_bias{i}": torch.zeros(1, critic) for i in range(2)}
    return params | {"sigma": torch.full((1, 1), SIGMA_START), PSI_BIAS: torch.zeros(1, N_FEATURES)}
