"""Policies whose objective may change while they drive: what they are on a device. See `objectives`.

act      inputs, GRU -> an action by each objective of the library, and for w -> the one worth most under w
adapt    the window's φ and rewards -> w
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import ObservationChannel, TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.rl2.rl2 import inputs, n_inputs
from acclimate_trainer.algorithms.successor import task_vector
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import SIGMA_START, bounded, sigma
from acclimate_trainer.networks.recurrent import gru, initial_gru
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING

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
    window: WindowSpec | None = WINDOW
    adaptation: AdaptationSpec | None = AdaptationSpec(max_steps=_STEPS)
    privileged: tuple[str, ...] = ()

    def __init__(self, params: Tensors, view: View, library: Tensor, default: Tensor) -> None:
        """params: as `initial_parameters` names them. library (P, d): the objective of each policy; default (d,)."""
        self._params, self._view, self._library, self._default = params, view, library, default
        self._hidden = params["recurrent"].shape[-2]

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @cached_property
    def spec(self) -> TaskSpec:
        """The family's, with a reward to infer w from."""
        return rewarded_spec(self._view.family.spec)

    @property
    def state(self) -> tuple[StateTensor, ...]:
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            StateTensor("library", tuple(self._library.shape), "never"),
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_action", (self._view.n_act,), "episode", "act"),
            StateTensor("begins", (1,), "episode", "act"),
            *(
                replace(t, reset="never")
                if t.name == "task_vector"
                else t  # what to drive for outlives a trial
                for t in task_vector.state_tensors(len(self._default))
            ),
        )

    def initial(self) -> dict[str, Tensor]:
        return {
            **self._params,
            "library": self._library,
            "hidden": torch.zeros(self._hidden),
            "previous_action": torch.zeros(self._view.n_act),
            "begins": torch.ones(1),
            **task_vector.initial_state(self._default),
        }

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = self._inputs(state, obs)
        hidden = gru(state, x, state["hidden"])
        w = state["task_vector"]  # (T, d)
        z = torch.cat([direction(state["library"]), direction(w).unsqueeze(1)], dim=1)  # (T, P + 1, d)
        proposed = actions(state, x, hidden, z)  # (T, E, P + 1, n_act)
        per_tick = w / (w.abs().sum(-1, keepdim=True) + _TINY)
        share = torch.softmax(values(state, x, hidden, z, proposed, per_tick) / TEMPERATURE, dim=-1)
        action = torch.addcmul((share.unsqueeze(-1) * proposed).sum(2), sigma(state), noise)
        following = {
            "hidden": hidden,
            "previous_action": F.hardtanh(action),
            "begins": torch.zeros_like(state["begins"]),
        }
        return Act(self._view.physical(action), following, {"library": 1.0 - share[..., -1]})

    def actor(self) -> ActorPolicy:
        """Without a choice among policies."""
        return ActorPolicy(self._params, self._view, self._library, self._default)

    def _inputs(self, state: Tensors, obs: Tensor) -> Tensor:
        seen = obs[..., : self._view.n_obs]
        return inputs(self._view, seen, state["previous_action"], state["begins"])

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        phi, following = self._view.family.features(seen(self._view, window))
        tasks = phi.shape[0]
        assert self.spec.reward is not None
        reward = window.obs[:, :, 1:, self.spec.index(self.spec.reward)].reshape(tasks, -1)
        mask = (window.mask * following).reshape(tasks, -1)
        adapt = task_vector.regress(state, phi.reshape(tasks, -1, phi.shape[-1]), reward, mask)
        return adapt._replace(info={**adapt.info, "loss": adapt.info["residual"].square()})


class ActorPolicy(ObjectivesPolicy):
    """The actor by itself, for the objective that is its task vector: what is trained, before there is any ψ."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = self._inputs(state, obs)
        hidden = gru(state, x, state["hidden"])
        mean = actions(state, x, hidden, direction(state["task_vector"]).unsqueeze(1)).squeeze(2)
        action = torch.addcmul(mean, sigma(state), noise)
        begins = torch.zeros_like(state["begins"])
        following = {"hidden": hidden, "previous_action": F.hardtanh(action), "begins": begins}
        return Act(self._view.physical(action), following, {})


def direction(w: Tensor) -> Tensor:
    """An objective as the network sees it, from weights (…, d): square roots of their shares.

    Only the ratio of weights matters to a policy; the root tells small shares from none. Negative weights, which an
    inferred w may have, count as none here, and as what they are in the choice among policies.
    """
    positive = w.clamp_min(0.0)
    return torch.sqrt(positive / (positive.sum(-1, keepdim=True) + _TINY))


def actions(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor) -> Tensor:
    """What each policy z (T, P, d) does in x (T, E, n_in), believing `hidden` (T, E, H): (T, E, P, n_act), within ±1.

    A linear controller, whose coefficients, gain and offset belief and objective mix.
    """
    tasks, rows, n_in = x.shape
    policies = z.shape[1]
    believed = torch.baddbmm(params["mix_bias"], hidden, params["mix_hidden"]).unsqueeze(2)  # (T, E, 1, M)
    mixed = torch.tanh(believed + torch.bmm(z, params["mix_objective"]).unsqueeze(1))  # (T, E, P, M)
    flat = mixed.reshape(tasks, rows * policies, -1)
    made = torch.baddbmm(params["controller_bias"], flat, params["controller"])
    each = made.reshape(tasks, rows, policies, -1, n_in + 2)  # (T, E, P, n_act, n_in + 2)
    controller, gain, offset = torch.split(each, [n_in, 1, 1], dim=-1)
    direct = (controller * x[:, :, None, None]).sum(-1, keepdim=True)
    return bounded(torch.addcmul(offset, direct, gain)).squeeze(-1)


def last_layer(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor, action: Tensor) -> Tensor:
    """What ψ is linear in, of each policy z (T, P, d) and an action for each, (T, E, P, n_act): (T, E·P, K)."""
    tasks, rows = x.shape[:2]
    seen = torch.baddbmm(params["psi_bias0"], torch.cat([x, hidden], dim=-1), params["psi_seen"])
    both = seen.unsqueeze(2) + torch.bmm(z, params["psi_objective"]).unsqueeze(1)  # (T, E, P, K)
    for i in range(action.shape[-1]):
        weights = params["psi_action"][..., i : i + 1, :].unsqueeze(-3)
        both = torch.addcmul(both, action[..., i : i + 1], weights)
    flat = torch.tanh(both).reshape(tasks, rows * z.shape[1], -1)
    return torch.tanh(torch.baddbmm(params["psi_bias1"], flat, params["psi_hidden"]))


def values(params: Tensors, x: Tensor, hidden: Tensor, z: Tensor, action: Tensor, w: Tensor) -> Tensor:
    """wᵀψ of each policy z (T, P, d) and its action (T, E, P, n_act), up to a constant: (T, E, P)."""
    by_w = torch.bmm(params["psi"], w.unsqueeze(-1))  # (T, K, 1)
    return torch.bmm(last_layer(params, x, hidden, z, action), by_w).reshape(action.shape[:-1])


def rewarded_spec(spec: TaskSpec) -> TaskSpec:
    """The spec, with a reward among what is observed; the last entry, where the family has none."""
    return spec if spec.reward else replace(spec, observation=(*spec.observation, REWARD))


def seen(view: View, window: Window) -> Window:
    """The window with what the family observes, and no further rewards."""
    return window._replace(obs=window.obs[..., : view.n_obs])


def rewarded(view: View, window: Window, w: Tensor) -> Window:
    """The window with the rewards of w (T, d) in the observations that follow a transition."""
    reward = (view.family.features(seen(view, window))[0] * w[:, None, None]).sum(-1)
    column = torch.cat([torch.zeros_like(reward[:, :, :1]), reward], dim=2).unsqueeze(-1)
    spec = view.family.spec
    if spec.reward is None:
        return window._replace(obs=torch.cat([window.obs[..., : view.n_obs], column], dim=-1))
    at = spec.index(spec.reward)
    return window._replace(obs=torch.cat([window.obs[..., :at], column, window.obs[..., at + 1 :]], dim=-1))


def initial_parameters(
    view: View, d: int, hidden: int, mixing: int, critic: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The GRU's, the actor's, those of ψ, and `sigma`, for these widths. The controller begins with a gain of 1."""
    n_in, n_act = n_inputs(view), view.n_act
    params = initial_gru(n_in, hidden, rng)
    params["input"] *= _INPUT_SCALE * math.sqrt(hidden / n_in)
    shapes = {
        "mix_hidden": (hidden, mixing),
        "mix_objective": (d, mixing),
        "controller": (mixing, n_act * (n_in + 2)),
        "psi_seen": (n_in + hidden, critic),
        "psi_objective": (d, critic),
        "psi_action": (n_act, critic),
        "psi_hidden": (critic, critic),
        "psi": (critic, d),
    }
    for name, shape in shapes.items():
        scale = _ACTOR_SCALE if name == "controller" else 1.0
        params[name] = torch.tensor(
            scale * rng.standard_normal(shape) / math.sqrt(shape[0]), dtype=torch.float32
        )
    start = torch.tensor(
        _ACTOR_SCALE / math.sqrt(n_in) * rng.standard_normal((n_act, n_in)), dtype=torch.float32
    )
    gain_and_offset = torch.tensor([1.0, 0.0]).expand(n_act, 2)
    params["controller_bias"] = torch.cat([start, gain_and_offset], dim=1).reshape(1, -1)
    params["mix_bias"] = torch.zeros(1, mixing)
    params |= {f"psi_bias{i}": torch.zeros(1, critic) for i in range(2)}
    return params | {"sigma": torch.full((1, n_act), SIGMA_START), PSI_BIAS: torch.zeros(1, d)}
