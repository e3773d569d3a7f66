"""Maximum-entropy policies on a device: act by a draw from exp(Q/α), fine-tune the last layer of Q.

    act      inputs -> Q of every candidate -> a draw at the temperature that the operator has set; the best where
             noise or temperature is 0
    adapt    a window's rewards -> soft Q iteration on the last layer, each time by ridge regression around the layer
             that training left

Where actions are continuous, candidates are a grid, and what is done lies within half a step of the one that was drawn,
where the parabola through it and its neighbours has its largest value: fine steps, and never a mean of two modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.entropy.soft import sampled, soft_value
from acclimate_trainer.algorithms.maml.ridge import inverse_spd
from acclimate_trainer.algorithms.successor.policies import readings
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.action_values import LAST, units_of, units_of_all
from acclimate_trainer.networks.candidates import Candidates
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.trials import previous_actions
from acclimate_trainer.settings.limits import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, require

TEMPERATURE = "temperature"  # the state that an operator sets, in units of the α that training ended with
_STEPS = 8  # windows of one trial that may be learned from
_FAR, _TINY = 1e6, 1e-6
_UNSEEN = 1e-3  # of the mean square of what the last layer sees
_FLAT = 0.05  # of the temperature: values that bend less along the grid are left where they are


@dataclass(frozen=True)
class PolicyConfig:
    """What a device does with the window that it fine-tunes by."""

    levels: int = 0
    """Values of each continuous action that are compared, both ends of its range among them; 0: three or more, of which
    all combinations are about 25."""
    discount: float = 0.95
    """γ."""
    price: float = 0.0
    """Of a change of the action from tick to tick, of half of full scale, squared, in units of the reward."""
    window_episodes: int = 4
    """Exploring episodes of a window."""
    window_steps: int = 50
    """Ticks of each."""
    refine_steps: int = 12
    """Soft Q iterations on the last layer in each `adapt`."""
    refine_ridge: float = 0.1
    """How firmly the last layer is held where it was: as if so many windows like those of training had confirmed it."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no device can do."""
        counts = dict.fromkeys(("window_episodes", "window_steps", "refine_steps"), COUNT)
        numbers = {
            "levels": NOT_NEGATIVE,
            "discount": BELOW_ONE,
            "refine_ridge": POSITIVE,
            "price": NOT_NEGATIVE,
        }
        require(self, {**counts, **numbers})


class Made(NamedTuple):
    """What training leaves: one network, named as by `networks.action_values`, and α; and what its last layer saw."""

    params: Tensors
    alpha: Tensor  # (1,)
    moment: Tensor  # second moments of the last layer's inputs, a 1 among them, (h + 1, h + 1)


class EntropyPolicy:
    """See the module."""

    algorithm = "maximum_entropy"
    privileged: tuple[str, ...] = ()
    adaptation: AdaptationSpec | None = AdaptationSpec(max_steps=_STEPS)

    def __init__(self, made: Made, candidates: Candidates, view: View, config: PolicyConfig) -> None:
        self._params, self._alpha, self._moment = made
        self._candidates, self._view, self._config = candidates, view, config

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return 2 * len(self._candidates)

    @property
    def window(self) -> WindowSpec | None:
        return WindowSpec(self._config.window_episodes, self._config.window_steps)

    @property
    def state(self) -> tuple[StateTensor, ...]:
        params = (
            StateTensor(name, tuple(p.shape), "trial", "adapt") if name in LAST
            else StateTensor(name, tuple(p.shape), "never")
            for name, p in self._params.items()
        )  # fmt: skip
        numbers = (StateTensor(name, (1,), "never") for name in ("alpha", TEMPERATURE))
        whiten = StateTensor("whiten", tuple(self._moment.shape), "never")
        previous = StateTensor("previous_action", (self._view.n_act,), "episode", "act")
        return (*params, *numbers, whiten, *(() if self.spec.discrete else (previous,)))

    def initial(self) -> dict[str, Tensor]:
        previous = {} if self.spec.discrete else {"previous_action": torch.zeros(self._view.n_act)}
        numbers = {"alpha": self._alpha, TEMPERATURE: torch.ones(1), "whiten": _inverse_root(self._moment)}
        return {**self._params, **numbers, **previous}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = inputs(self._view, obs, state.get("previous_action"))
        q = self._values(units_of_all(state, x, self._candidates.codes), last_layer(state), x.shape[1])
        drawn = sampled(q, self.heat(state, noise), noise[..., : 2 * len(self._candidates)])
        if self.spec.discrete:
            return Act(F.embedding(drawn, self._candidates.table), {}, {})
        action = self._candidates.refined(drawn, q, _FLAT * state["alpha"])
        return Act(self._view.physical(action), {"previous_action": action}, {})

    def heat(self, state: Tensors, noise: Tensor) -> Tensor:
        """The temperature to draw at, which broadcasts against (T, E)."""
        del noise  # it matters to who explores otherwise
        return state["alpha"] * state[TEMPERATURE]

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """Soft Q iteration on the last layer θ (Riedmiller 2005, "Neural Fitted Q Iteration", with the soft value):

            θ ← θ₀ + argmin_d mean[(r + γ·V_θ(s') − Q_θ₀(s, a) − f·d)²] + ridge·dᵀ·M·d,      Q_θ = f·θ

        M are the moments of f in training. d is solved for where they are the identity: what could hardly be told apart
        in training is not told apart by the last digits of a window.
        """
        c, a = self._config, len(self._candidates)
        reward, mask = self._rewards(window)  # (T, N)
        here, there = self._units(state, readings(window))  # (T, N, h + 1), (T, N · A, h + 1)
        count = mask.sum(-1).clamp_min(1.0)[:, None, None]
        white = here @ state["whiten"]
        weighed = (white * mask.unsqueeze(-1)).transpose(1, 2) / count  # (T, h + 1, N)
        inverse = inverse_spd(weighed @ white + c.refine_ridge * torch.eye(white.shape[-1]))
        project = state["whiten"] @ (inverse @ weighed)
        start = layer = last_layer(state)
        known = (here @ start).squeeze(-1)
        losses = []
        for _ in range(c.refine_steps):
            value = soft_value(self._values(there, layer, there.shape[1] // a), state["alpha"])
            wanted = reward + c.discount * value
            losses.append((wanted - (here @ layer).squeeze(-1)).square() * mask)
            layer = start + project @ (wanted - known).unsqueeze(-1)
        step = layer - start
        info = {
            "loss": losses[0].sum(-1) / count.flatten(),
            "left": losses[-1].sum(-1) / count.flatten(),
            "step_norm": step.square().sum((1, 2)).sqrt(),
        }
        return Adapt({"w2": layer[:, :-1], "b2": layer[:, -1:]}, info)

    def _rewards(self, window: Window) -> tuple[Tensor, Tensor]:
        """Rewards of all transitions in a row, and which may be learned from, each (T, N)."""
        used = readings(window)
        reward = rewards(self._view, used, self._config.price).flatten(1, 2)
        mask = ((window.mask > 0.5).flatten(1, 2) & (reward.abs() < _FAR)).to(reward.dtype)
        return torch.where(mask > 0.5, reward, 0.0), mask

    def _units(self, state: Tensors, window: Window) -> tuple[Tensor, Tensor]:
        """What the last layer sees of what was done, and of every candidate afterwards; each with a 1 at its end."""
        before = previous_actions(self._view, window.action)
        taken = self._view.taken(window.action)
        here = inputs(self._view, window.obs[:, :, :-1], before).flatten(1, 2)
        there = inputs(self._view, window.obs[:, :, 1:], taken).flatten(1, 2)
        code = self._candidates.code(window.action).flatten(1, 2)
        units = units_of(state, here, code), units_of_all(state, there, self._candidates.codes)
        return F.pad(units[0], (0, 1), value=1.0), F.pad(units[1], (0, 1), value=1.0)

    def _values(self, units: Tensor, layer: Tensor, rows: int) -> Tensor:
        """Q (T, rows, A) of what the last layer sees; a 1 is put at its end where there is none yet."""
        if units.shape[-1] < layer.shape[1]:
            q = torch.baddbmm(layer[:, -1:], units, layer[:, :-1])
        else:
            q = torch.bmm(units, layer)
        return q.view(len(units), rows, len(self._candidates))


def _inverse_root(moment: Tensor) -> Tensor:
    """M^(−1/2) of moments M; directions in which hardly anything was seen count as if a little had been."""
    values, vectors = torch.linalg.eigh(moment.double())
    values = values.clamp_min(0.0) + _UNSEEN * values.mean()
    root: Tensor = (vectors * values.rsqrt()) @ vectors.T
    return root.float()


def inputs(view: View, obs: Tensor, previous: Tensor | None) -> Tensor:
    """What a network sees of obs (…, n_obs) and, where actions are continuous, the previous one: (…, f)."""
    if view.family.spec.discrete or previous is None:
        return torch.tanh(view.family.inputs(obs))
    return view.inputs(obs, previous)


def rewards(view: View, window: Window, price: float) -> Tensor:
    """What a device can know of the reward of every transition, less the price of changes of the action, (T, K, S)."""
    reward = view.family.reward(window)
    if not price:
        return reward
    change = view.taken(window.action) - previous_actions(view, window.action)
    return reward - price * change.square().mean(-1)


def last_layer(state: Tensors) -> Tensor:
    """(T, h + 1, 1)"""
    return torch.cat([state["w2"], state["b2"]], 1)
