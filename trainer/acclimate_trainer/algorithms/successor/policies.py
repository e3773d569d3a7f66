"""Successor features on a device, as policies of the contract: act by GPI over all policies, infer w, refine.

    act      inputs -> ψ of every policy and action, in one batched product -> argmax_a max_π wᵀψ^π -> a choice
    adapt    the window's φ and rewards -> w (`task_vector.regress`), and, where asked for, semi-gradient TD steps on
             the last layer of the policy that is best under that w: the same vector TD error as in training

Where ψ is said, δ is meant (see `featured`), of which GPI makes the same choice. The reward is an observation channel.
w may also be set from outside, as state `task_vector`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.successor import task_vector
from acclimate_trainer.algorithms.successor.featured import Featured
from acclimate_trainer.algorithms.successor.features import action_values, gpi, td_target
from acclimate_trainer.algorithms.successor.objective_policies import rewarded_spec
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.psi import LAST, universal_psi
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, require

UNIT = 0.2
"""Of ψ, in which the networks give it: about how much actions change features."""
_FAR, _TINY = 1e6, 1e-6
_STEPS = 20  # windows that may be learned from in one trial


@dataclass(frozen=True)
class PolicyConfig:
    """What a device is to do with the window that it adapts from."""

    window_episodes: int = 5
    """Exploring episodes of a window."""
    window_steps: int = 10
    """Ticks of each."""
    refine_steps: int = 0
    """TD steps on the last layer of the best policy in each `adapt`; 0: only w is learned."""
    refine_lr: float = 0.1
    """Size of such a step: the share of the TD error that it takes away where all transitions are alike."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no device can do."""
        require(self, {"window_episodes": COUNT, "window_steps": COUNT, "refine_steps": NOT_NEGATIVE,
                       "refine_lr": NOT_NEGATIVE})  # fmt: skip


class _SuccessorPolicy:
    """What both kinds share: everything but ψ."""

    algorithm = "successor_features"
    privileged: tuple[str, ...] = ()
    adaptation: AdaptationSpec | None = AdaptationSpec(max_steps=_STEPS)

    def __init__(
        self,
        params: Tensors,
        policies: int,
        default: Tensor,
        discount: float,
        config: PolicyConfig,
        view: Featured,
    ) -> None:
        """params: of ψ in its units, and of learned features, as `networks.psi` names both.

        policies: how many GPI chooses from, P. default: w (d,) until another is inferred or set.
        """
        networks = {name: value for name, value in params.items() if not name.startswith("features.")}
        self._params = {**networks, **{name: UNIT * networks[name] for name in LAST}}
        self._phi = {name: value for name, value in params.items() if name.startswith("features.")}
        self._default, self._discount, self._config, self._view = default, discount, config, view
        # What follows from policy and choice: the action, and the policy's number, so that one look-up gives them all.
        numbers = torch.arange(policies, dtype=torch.float32).repeat_interleave(len(view.choices))
        self._outcomes = torch.cat([view.choices.table.repeat(policies, 1), numbers.unsqueeze(1)], dim=1)

    @cached_property
    def spec(self) -> TaskSpec:
        """The family's, with a reward to infer w from."""
        return rewarded_spec(self._view.family.spec)

    @property
    def n_noise(self) -> int:
        return len(self._view.choices)

    @property
    def window(self) -> WindowSpec | None:
        return WindowSpec(self._config.window_episodes, self._config.window_steps)

    @property
    def state(self) -> tuple[StateTensor, ...]:
        shapes = {name: tuple(value.shape) for name, value in self._params.items()}
        refined = LAST if self._config.refine_steps else ()
        return (
            *(StateTensor(name, shape, "never") for name, shape in shapes.items() if name not in refined),
            *(StateTensor(name, shapes[name], "trial", "adapt") for name in refined),
            *task_vector.state_tensors(len(self._default)),
        )

    def initial(self) -> dict[str, Tensor]:
        return {**self._params, **task_vector.initial_state(self._default)}

    def psi(self, state: Tensors, x: Tensor) -> Tensor:
        """ψ (T, rows, P, A, d) of inputs x (T, rows, f)."""
        raise NotImplementedError

    def values(self, state: Tensors, obs: Tensor, w: Tensor) -> Tensor:
        """How good each action is (T, rows, A) at obs (T, rows, n_obs) for tasks w (T, rows, d), by the best policy."""
        psi = self.psi(state, self._view.inputs(obs))
        return torch.einsum("trpad,trd->trpa", psi, w).amax(2)

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        """GPI, with the noise added to the actions' values: by far more than these differ, unless it is scaled down.

        info `policy`: whose value of the action was the largest.
        """
        choice = gpi(self.psi(state, self._view.inputs(obs)), state["task_vector"], noise)
        outcome = F.embedding(choice.pair, self._outcomes)
        return Act(outcome[..., :-1], {}, {"policy": outcome[..., -1]})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """w of all that this trial has shown; as it was where that does not span, which info `rank` says."""
        used, spec = readings(window), self.spec
        assert spec.reward is not None
        reward = used.obs[:, :, 1:, spec.index(spec.reward)]
        phi, known = self._view.features(used, self._phi)
        found = task_vector.regress(
            state, phi.flatten(1, 2), reward.flatten(1, 2), (window.mask * known).flatten(1, 2)
        )
        return Adapt(found.next, {"loss": found.info["residual"], **found.info})


class LibraryPolicy(_SuccessorPolicy):
    """A library of P networks. All see the same inputs, and so their first layers are one matrix, side by side."""

    def __init__(
        self, params: Tensors, default: Tensor, discount: float, config: PolicyConfig, view: Featured
    ) -> None:
        """As above, with params of P networks as `initial_library` shapes them."""
        policies, f, hidden = params["w0"].shape
        first = {
            "w0": params["w0"].transpose(0, 1).reshape(f, policies * hidden),
            "b0": params["b0"].reshape(1, policies * hidden),
        }
        super().__init__({**params, **first}, policies, default, discount, config, view)

    def psi(self, state: Tensors, x: Tensor) -> Tensor:
        (tasks, policies), rows = state["w2"].shape[:2], x.shape[1]
        out = torch.baddbmm(state["b2"].flatten(0, 1), self._units(state, x), state["w2"].flatten(0, 1))
        each = _swapped(out.view(tasks, policies, rows, -1))
        return each.reshape(tasks, rows, policies, len(self._view.choices), -1)

    def _units(self, state: Tensors, x: Tensor) -> Tensor:
        """What the last layers see (T · P, rows, h) of inputs x (T, rows, f)."""
        (tasks, policies, hidden), rows = state["w1"].shape[:3], x.shape[1]
        h = torch.relu(torch.baddbmm(state["b0"], x, state["w0"]))
        each = _swapped(h.view(tasks, rows, policies, hidden)).reshape(tasks * policies, rows, hidden)
        return torch.relu(torch.baddbmm(state["b1"].flatten(0, 1), each, state["w1"].flatten(0, 1)))

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """w, and where the config asks for it, steps on the last layer of the policy that is best under w."""
        inferred = super().adapt(state, window)
        if not self._config.refine_steps:
            return inferred
        return self._refined({**state, **inferred.next}, window, inferred)

    def _refined(self, state: Tensors, window: Window, inferred: Adapt) -> Adapt:
        """`inferred`, and `refine_steps` semi-gradient TD steps after it.

        The best policy's ψ becomes that of GPI under w. Nothing is refined before w is known. T tasks, N transitions.
        """
        c, w = self._config, state["task_vector"]
        used = readings(window)
        gains, seen = self._view.gains(used, self._discount, self._phi)
        spans = (inferred.info["rank"] > len(self._default) - 0.5).to(w.dtype)  # (T,)
        mask = (window.mask * seen > 0.5).to(w.dtype).flatten(1, 2) * spans.unsqueeze(-1)  # (T, N)
        before, after = (
            self._view.inputs(obs).flatten(1, 2) for obs in (used.obs[:, :, :-1], used.obs[:, :, 1:])
        )
        change, taken = (
            gains.flatten(1, 2),
            self._view.choices.taken(used.action).flatten(1, 2),
        )  # (T, N, d), (T, N, A)
        values = action_values(self.psi(state, after), w)  # (T, N, P, A)
        best = _one_hot_of_largest((values.amax(-1) * mask.unsqueeze(-1)).sum(1))  # (T, P)
        others = (values - _FAR * best[:, None, :, None]).amax(2)  # (T, N, A)
        here, there = self._best_units(state, before, best), self._best_units(state, after, best)
        rate = c.refine_lr / ((here * here).sum(-1) * mask).sum(1).clamp_min(_TINY)  # (T,)

        layers = torch.cat([state["w2"], state["b2"]], dim=2)  # (T, P, h + 1, A · d)
        start = head = (layers * best[:, :, None, None]).sum(1)
        for _ in range(c.refine_steps):
            ahead = self._by_action(there @ head)  # (T, N, A, d)
            value = torch.maximum((ahead * w[:, None, None]).sum(-1), others)
            following = (ahead * _one_hot_of_largest(value).unsqueeze(-1)).sum(2)  # (T, N, d)
            found = (self._by_action(here @ head) * taken.unsqueeze(-1)).sum(2)
            error = (td_target(change, following, self._discount) - found) * mask.unsqueeze(-1)
            gradient = here.transpose(1, 2) @ (taken.unsqueeze(-1) * error.unsqueeze(2)).flatten(2)
            head = head + rate[:, None, None] * gradient

        step = head - start
        layers = layers + best[:, :, None, None] * step.unsqueeze(1)
        norm = (inferred.info["step_norm"].square() + step.square().sum((1, 2))).sqrt()
        refined = {"w2": layers[:, :, :-1], "b2": layers[:, :, -1:]}
        return Adapt({**refined, **inferred.next}, {**inferred.info, "step_norm": norm})

    def _best_units(self, state: Tensors, x: Tensor, best: Tensor) -> Tensor:
        """What the last layer of the best policy (T, P) sees of inputs x (T, N, f), and a 1: (T, N, h + 1)."""
        units = self._units(state, x)
        units = units.view(*best.shape, *units.shape[1:])  # (T, P, N, h)
        return F.pad((units * best[:, :, None, None]).sum(1), (0, 1), value=1.0)

    def _by_action(self, psi: Tensor) -> Tensor:
        """ψ (T, N, A, d) from the last layer's output (T, N, A · d)."""
        return psi.view(*psi.shape[:2], len(self._view.choices), len(self._default))


class UniversalPolicy(_SuccessorPolicy):
    """One network, told the objective: its policies are those for its training tasks, and that for w itself."""

    def __init__(
        self, params: Tensors, library: Tensor, discount: float, config: PolicyConfig, view: Featured
    ) -> None:
        """library: the training tasks' w (P − 1, d); else as above."""
        super().__init__(params, len(library) + 1, library.mean(0), discount, config, view)
        self._library = library

    def psi(self, state: Tensors, x: Tensor) -> Tensor:
        w = state["task_vector"].unsqueeze(1)  # (T, 1, d)
        z = torch.cat([self._library.expand(len(w), -1, -1), w], dim=1).unsqueeze(1)  # (T, 1, P, d)
        params = {name: state[name].unsqueeze(1) for name in self._params}
        return universal_psi(params, x.unsqueeze(2), z, len(self._view.choices))


def readings(window: Window) -> Window:
    """The window with 0 for what no transition to be learned from begins or ends with, or did."""
    mask = window.mask > 0.5
    none = torch.zeros_like(mask[..., :1])
    used = torch.cat([mask, none], -1) | torch.cat([none, mask], -1)
    obs = torch.where(used.unsqueeze(-1), window.obs, 0.0)
    return Window(obs, torch.where(mask.unsqueeze(-1), window.action, 0.0), window.mask)


def _swapped(x: Tensor) -> Tensor:
    """(T, rows, P, n) as (T, P, rows, n), or back. On a device, which has one row, nothing has to move."""
    tasks, a, b, n = x.shape
    return x.transpose(1, 2) if min(a, b) > 1 else x.view(tasks, b, a, n)


def _one_hot_of_largest(values: Tensor) -> Tensor:
    """Where the largest of the last axis is, the first of equals, (…, n)."""
    index = torch.arange(values.shape[-1])
    return (index == values.argmax(-1, keepdim=True)).to(values.dtype)
