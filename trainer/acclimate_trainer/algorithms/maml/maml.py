"""MAML for reinforcement learning (Finn, Abbeel and Levine 2017), by backpropagation through a simulator.

Inner step, all that a real device allows: the likelihood-ratio policy gradient on K exploring episodes,

    θ' = θ − α ∘ ∇θ L(θ),   L(θ) = −mean[ log π_θ(a|s) · A ]        (Finn et al., equations 1 and 4)

with advantages from a ridge-regression baseline, a learned step size for each parameter in each step (Li et al.
2017, Meta-SGD, equation 2), and a learned curvature that mixes the gradient's rows and columns first (Park and
Oliva 2019, "Meta-Curvature", section 3.1): from few noisy episodes, some directions are worth more than others.

Outer objective: the family's costs themselves of noise-free episodes before, after one and after two steps. Its
gradient is exact to second order but for `adjoint_decay`: it flows through ∇θ L, through the advantages, and
through the simulator into the exploring episodes, so that the policy learns what to explore, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.maml import policy_gradient as pg
from acclimate_trainer.algorithms.maml.ridge import ridge_residual, ridge_residual_by_hand
from acclimate_trainer.compiled import driving
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import (
    Activation,
    initial_parameters,
    layer_shapes,
    mean_action,
    sigma,
)
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import Episodes, draw, headline, rollout, total_cost
from acclimate_trainer.settings.limits import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_CURVATURE_SCALE = 0.5  # Adam moves every number alike: these, which act together, should move less


@dataclass(frozen=True)
class MamlConfig:
    """Section [maml] of a config."""

    hidden: int = 32
    """Width of each hidden layer."""
    depth: int = 2
    """Hidden layers."""
    activation: Activation = "tanh"
    """tanh, relu, elu or silu."""
    adapt_steps: int = 2
    """Inner steps of a trial; each has step sizes of its own."""
    support_episodes: int = 8
    """Exploring episodes that one inner step learns from, K."""
    query_episodes: int = 2
    """Noise-free episodes that the outer loss is measured on, before and after every step."""
    episode_steps: int = 100
    """Ticks of an episode."""
    inner_lr: float = 0.5
    """Step size at the start of training; that of step k starts at inner_lr / (k + 1)."""
    exploration_memory: float = 0.0
    """Correlation of the exploration noise from one tick to the next, ρ."""
    discount: float = 0.9
    """γ of the inner step."""
    unadapted_weight: float = 0.1
    """Weight of the error before adaptation in the outer loss; after a step it is 1."""
    pretraining: float = 0.3
    """Share of training, at its beginning, spent on the error without adaptation, at a gain of 1 and on the family's
    easier machines: cheap, and it leaves a controller that adaptation has only to fit to the device."""
    initial_gain: float = 0.7
    """The gain from which learning goes on after that; near 0 where not even the sign is known beforehand."""
    gain_rate: float = 4.0
    """Step size of the gain at the start, as a multiple of `inner_lr`."""
    step_limit: float = 0.0
    """L, what the norm of an inner step stays below: Δ is shortened to Δ / √(1 + (‖Δ‖ / L)²); 0 for no limit. On a
    machine that is unlike those of training, the gradient may be unlike theirs, too, and one step too far leaves a
    controller that moves nothing, from which no further step leads back."""
    adjoint_decay: float = 0.93
    """Factor on the gradient through the simulated state, per tick backwards; 1 is the exact gradient."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        sizes = ("hidden", "depth", "adapt_steps", "support_episodes", "query_episodes", "episode_steps")
        shares = ("discount", "pretraining", "adjoint_decay")
        others = {
            "exploration_memory": BELOW_ONE,
            "inner_lr": POSITIVE,
            "gain_rate": POSITIVE,
            "step_limit": NOT_NEGATIVE,
            "unadapted_weight": NOT_NEGATIVE,
        }
        require(self, {**dict.fromkeys(sizes, COUNT), **dict.fromkeys(shares, SHARE), **others})


class MamlPolicy:
    """Parameters that `adapt` writes, and how many steps they have taken."""

    algorithm = "maml"
    privileged: tuple[str, ...] = ()

    def __init__(self, meta: Tensors, view: View, config: MamlConfig) -> None:
        """`meta`: as `Maml.initial` names it; stacked over tasks or not."""
        self._view, self._config, self._meta = view, config, meta
        self._params = {name: value for name, value in meta.items() if "." not in name}
        kernel = config.discount ** torch.arange(config.episode_steps)
        self._discount = pg.discount_matrix(kernel, config.episode_steps)

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @property
    def window(self) -> WindowSpec:
        return WindowSpec(self._config.support_episodes, self._config.episode_steps)

    @property
    def adaptation(self) -> AdaptationSpec:
        return AdaptationSpec(self._config.adapt_steps)

    @property
    def state(self) -> tuple[StateTensor, ...]:
        params = [StateTensor(name, tuple(p.shape), "trial", "adapt") for name, p in self._params.items()]
        return (
            *params,
            StateTensor("shots", (1,), "trial", "adapt"),
            StateTensor("previous_action", (self._view.n_act,), "episode", "act"),
            StateTensor("deviation", (self._view.n_act,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        return {
            **self._params,
            "shots": torch.zeros(1),
            "previous_action": torch.zeros(self._view.n_act),
            "deviation": torch.zeros(self._view.n_act),
        }

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        """Exploration is autoregressive (Korenkevych et al. 2019, "Autoregressive Policies"): white noise at the
        control rate hardly moves a machine, and what does not move teaches nothing."""
        x = self._view.inputs(obs, state["previous_action"])
        innovation = sigma(state) * noise * math.sqrt(1.0 - self._config.exploration_memory**2)
        deviation = self._config.exploration_memory * state["deviation"] + innovation
        action = mean_action(state, x, self._config.activation) + deviation
        following = {"previous_action": F.hardtanh(action), "deviation": deviation}
        return Act(self._view.physical(action), following, {})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        params = {name: state[name] for name in self._params}
        gradient, (loss, reward) = self._gradient(params, window)
        step = self._limited({name: self._step(name, gradient[name], state["shots"]) for name in params})
        following = {name: params[name] - step[name] for name in params}
        info = {"loss": loss, "reward": reward, "grad_norm": _norm(gradient), "step_norm": _norm(step)}
        return Adapt({**following, "shots": state["shots"] + 1.0}, info)

    def _gradient(self, params: Tensors, window: Window) -> tuple[Tensors, tuple[Tensor, Tensor]]:
        """∇θ L(θ) of each task, L and the mean reward, (T,); in compiled C where training is."""
        activation, memory = self._config.activation, self._config.exploration_memory
        window = pg.bounded(window)
        rows = pg.rows_of(self._view, window, memory)
        likelihood = partial(pg.row_likelihood, memory=memory, activation=activation)
        handed = {"deviation": rows["action"]} if memory > 0.0 else {}
        compiled = driving.row_gradient(
            "the inner step", likelihood, params, handed, rows, activation, memory
        )
        if compiled is None:
            by_torch: tuple[Tensors, tuple[Tensor, Tensor]] = torch.func.grad(self._loss, has_aux=True)(
                params, window
            )
            return by_torch
        advantage, mask, reward = self._advantage(window, ridge_residual_by_hand)
        weight = -advantage * mask / mask.sum(-1, keepdim=True).clamp_min(1.0)
        gradient, values = compiled(params, rows, weight)
        return gradient, ((values * weight.detach()).sum(-1), reward)

    def _loss(self, params: Tensors, window: Window) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Sum over tasks of L(θ), whose gradient is each task's own; then L and the mean reward, (T,)."""
        advantage, mask, mean_reward = self._advantage(window, ridge_residual)
        memory, activation = self._config.exploration_memory, self._config.activation
        likelihood = pg.log_likelihood(self._view, params, window, memory, activation)
        loss = -(likelihood * advantage * mask).sum(-1) / mask.sum(-1).clamp_min(1.0)
        return loss.sum(), (loss, mean_reward)

    def _advantage(
        self, window: Window, residual: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of every transition (T, N), a mask of those that count, and the mean reward (T,)."""
        tasks = window.mask.shape[0]
        reward, memory = self._view.family.reward(window) * window.mask, self._config.exploration_memory
        # A deviation is known only from the one before it.
        valid = pg.with_predecessor(window.mask) if memory > 0.0 else window.mask
        mask = valid.reshape(tasks, -1)
        returns = (reward @ self._discount).reshape(tasks, -1)
        features = self._view.family.baseline(window, self._discount).flatten(1, 2)
        advantage = pg.normalise(residual(features, returns, mask), mask)
        mean_reward = reward.sum(dim=(1, 2)) / window.mask.sum(dim=(1, 2)).clamp_min(1.0)
        return advantage, mask, mean_reward

    def _limited(self, step: Tensors) -> Tensors:
        """The step, of a norm below `step_limit`."""
        limit = self._config.step_limit
        if not limit:
            return step
        share = torch.rsqrt(1.0 + _square(step) / limit**2)[:, None, None]  # (T, 1, 1)
        return {name: share * change for name, change in step.items()}

    def _step(self, name: str, gradient: Tensor, shots: Tensor) -> Tensor:
        """The change of a parameter that follows `shots` (T, 1) steps; beyond the last, as in the last."""
        step = self._curved(0, name, gradient)
        for k in range(1, self._config.adapt_steps):
            taken = (shots > k - 0.5).to(step.dtype).unsqueeze(-1)  # (T, 1, 1)
            step = step + taken * (self._curved(k, name, gradient) - step)
        return step

    def _curved(self, k: int, name: str, g: Tensor) -> Tensor:
        """α ∘ (I + L)·g·(I + R), as learned for step k; L or R is left out where it would be a single number."""
        right, left = self._meta.get(f"right{k}.{name}"), self._meta.get(f"left{k}.{name}")
        if right is not None:
            g = g + _CURVATURE_SCALE * (g @ right)
        if left is not None:
            g = g + _CURVATURE_SCALE * (left @ g)
        return self._meta[f"rate{k}.{name}"] * g


class Maml(Generic[Tasks]):
    """Meta-trains a `MamlPolicy`."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: MamlConfig) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config = config
        self._view = View.of(self._family)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The network's parameters by name; for step k their `ratek.NAME`, `leftk.NAME` and `rightk.NAME`."""
        c = self._config
        params = initial_parameters(layer_shapes(self._view.n_in, c.hidden, self._view.n_act, c.depth), rng)
        params["gain"].fill_(c.initial_gain)
        meta = dict(params)
        for k in range(c.adapt_steps):
            for name, value in params.items():
                rate = c.inner_lr / (k + 1) * (c.gain_rate if name == "gain" else 1.0)
                meta[f"rate{k}.{name}"] = torch.full_like(value, rate)
                for side, size in zip(("left", "right"), value.shape, strict=True):
                    if size > 1:
                        meta[f"{side}{k}.{name}"] = torch.zeros(size, size)
        return meta

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """The outer objective of each task, and the headline after 0, 1, … steps."""
        c = self._config
        if progress < c.pretraining:
            return self._pretraining(meta, tasks, rng)
        measured = self._trial(meta, self._family.sample(tasks, rng), c.adapt_steps, rng)
        costs = [m.cost for m in measured]
        total = torch.stack([c.unadapted_weight * costs[0], *costs[1:]]).sum(0)
        return Losses(total, {f"{m.name}_{k}": m.headline for k, m in enumerate(measured)})

    def _pretraining(self, meta: Tensors, tasks: int, rng: np.random.Generator) -> Losses:
        """The costs before adaptation, at full gain, on the family's easier machines."""
        easy = self._family.sample(tasks, rng, progress=0.0)
        at_full_gain = {**meta, "gain": torch.ones_like(meta["gain"])}
        (measured,) = self._trial(at_full_gain, easy, 0, rng)
        return Losses(measured.cost, {f"{measured.name}_0": measured.headline})

    def _trial(self, meta: Tensors, machines: Tasks, steps: int, rng: np.random.Generator) -> list[_Measured]:
        """Explore and measure in one batch, adapt, and again; what is measured before and after every step."""
        policy, count = self.policy(meta), next(iter(meta.values())).shape[0]
        state: dict[str, Tensor] = {**policy.initial(), "shots": torch.zeros(count, 1)}
        out = []
        for k in range(steps + 1):
            support = self._config.support_episodes if k < steps else 0
            episodes = self._episodes(policy, state, machines, support, rng)
            out.append(self._measured(episodes.some(slice(support, None))))
            if support:
                state |= policy.adapt(state, episodes.some(slice(support)).window()).next
        return out

    def _measured(self, episodes: Episodes) -> _Measured:
        costs = self._family.costs(episodes.window(), episodes.reward)
        return _Measured(costs[0].name, total_cost(costs), headline(costs[0]))

    def _episodes(
        self, policy: MamlPolicy, state: Tensors, machines: Tasks, support: int, rng: np.random.Generator
    ) -> Episodes:
        c = self._config
        surroundings = draw(
            self._family, machines, rng, explore=support, measure=c.query_episodes, steps=c.episode_steps
        )
        return rollout(policy, state, self._family.spec, surroundings, c.adjoint_decay)

    def policy(self, meta: Tensors) -> MamlPolicy:
        return MamlPolicy(meta, self._view, self._config)


class _Measured(NamedTuple):
    """Of noise-free episodes, what training minimises and the headline of it, (T,)."""

    name: str
    cost: Tensor
    headline: Tensor


def _norm(tensors: Tensors) -> Tensor:
    """Euclidean norm over all tensors of each task, (T,)."""
    return _square(tensors).sqrt()


def _square(tensors: Tensors) -> Tensor:
    """Its square, which has a gradient at 0, too."""
    return torch.stack([(t * t).sum(dim=(1, 2)) for t in tensors.values()]).sum(0)
