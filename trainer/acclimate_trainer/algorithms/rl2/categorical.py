"""RL² (Duan et al. 2016, section 2.2; Wang et al. 2016) where actions are choices: a GRU that says how good each is.

Besides what is seen, each tick brings the choice before, what was seen then, its reward, and whether an episode has
just begun; the hidden state lives through the whole trial. With what is seen as a vector of S numbers, and A choices,
an input is

    seen (S) | what was seen and chosen before, their outer product (S·A) | that times the reward | begins (1)

Of a state that is one-hot the outer product is one-hot as well, so that what a reward says of state and choice can be
written into the memory by a sum; and the head is bilinear in memory and state, so that it can be read again by one.

The network sees rewards where they are observed. A choice is the largest of log π + Gumbel noise (Gumbel 1954), which
is made of the normal noise that every policy takes; without noise it is the likeliest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import HasInputs, Tasks
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.choices import Choices
from acclimate_trainer.networks.recurrent import gru, gru_shapes

_REMEMBER = 2.5  # initial bias of the update gate: a fresh memory keeps most of what it holds
_INPUT_SCALE, _HEAD_SCALE = 0.5, 0.1
_FAR = 10.0  # the network sees nothing larger, whatever the sensors say
_LEAST = 1e-6  # of a uniform number, and of what it lacks to 1


@dataclass(frozen=True)
class Scene:
    """What a policy sees of a family, and what it can choose there.

    typical: mean and standard deviation of a reward.
    """

    family: Complete[object]
    choices: Choices
    reward: int | None  # which observation it is
    typical: tuple[float, float]

    @classmethod
    def of(cls, family: Complete[Tasks], typical: tuple[float, float]) -> Scene:
        spec = family.spec
        reward = None if spec.reward is None else spec.index(spec.reward)
        return cls(family, Choices.of(spec), reward, typical)  # type: ignore[arg-type]

    @property
    def n_seen(self) -> int:
        return self.family.n_inputs + (not isinstance(self.family.family, HasInputs))

    @property
    def n_pairs(self) -> int:
        return self.n_seen * len(self.choices)

    @property
    def n_in(self) -> int:
        return self.n_seen + self.n_pairs * (1 if self.reward is None else 2) + 1

    def seen(self, obs: Tensor) -> Tensor:
        """What is seen of obs (…, n_obs): (…, S). Inputs that are not the family's own may all be 0; hence a 1."""
        inputs = F.hardtanh(self.family.inputs(obs), -_FAR, _FAR)
        return inputs if isinstance(self.family.family, HasInputs) else F.pad(inputs, (0, 1), value=1.0)

    def inputs(self, obs: Tensor, seen: Tensor, pair: Tensor, begins: Tensor) -> Tensor:
        """Of the network (…, n_in), from obs and what is seen of it, the pair before (…, S·A), and begins (…, 1)."""
        if self.reward is None:
            return torch.cat([seen, pair, begins], dim=-1)
        mean, spread = self.typical
        worth = F.hardtanh((obs[..., self.reward : self.reward + 1] - mean) / spread, -_FAR, _FAR)
        return torch.cat([seen, pair, pair * worth, begins], dim=-1)


def pair_of(seen: Tensor, choice: Tensor) -> Tensor:
    """The outer product (…, S·A) of what was seen (…, S) and a one-hot choice (…, A)."""
    return (seen.unsqueeze(-1) * choice.unsqueeze(-2)).flatten(-2)


def initial_parameters(scene: Scene, hidden: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """A memory that keeps, and nearly uniform choices."""
    shapes = gru_shapes(scene.n_in, hidden)
    params = {name: torch.zeros(shape) for name, shape in shapes.items()}
    params["input"] = _normal(rng, shapes["input"], _INPUT_SCALE)
    params["recurrent"] = torch.cat([_orthogonal(rng, hidden) for _ in range(3)], dim=1)
    params["input_bias"][:, hidden : 2 * hidden] = _REMEMBER
    params["head"] = _normal(rng, (hidden, scene.n_pairs), _HEAD_SCALE / math.sqrt(hidden))
    return params | {"head_bias": torch.zeros(1, scene.n_pairs)}


def scores(params: Tensors, hidden: Tensor, seen: Tensor) -> Tensor:
    """log π of each choice (T, rows, A), up to a constant, from hidden states (T, rows, H) and `seen` (T, rows, S).

    Σ_s seen_s·(bias + Wᵀ·hidden)_sa: for a one-hot state a head of its own.
    """
    every = torch.baddbmm(params["head_bias"], hidden, params["head"])
    return (every.view(*seen.shape, -1) * seen.unsqueeze(-1)).sum(-2)


class CategoricalPolicy:
    """act only; see the module."""

    algorithm = "rl2"
    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None
    privileged: tuple[str, ...] = ()

    def __init__(self, params: Tensors, scene: Scene) -> None:
        """`params`: as `initial_parameters` names them; stacked over tasks or not."""
        self._params, self._scene = params, scene
        self._hidden = params["recurrent"].shape[-2]

    @property
    def spec(self) -> TaskSpec:
        return self._scene.family.spec

    @property
    def n_noise(self) -> int:
        return len(self._scene.choices)

    @property
    def state(self) -> tuple[StateTensor, ...]:
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_pair", (self._scene.n_pairs,), "trial", "act"),
            StateTensor("begins", (1,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        running = {
            "hidden": torch.zeros(self._hidden),
            "previous_pair": torch.zeros(self._scene.n_pairs),
            "begins": torch.ones(1),
        }
        return {**self._params, **running}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        seen = self._scene.seen(obs)
        x = self._scene.inputs(obs, seen, state["previous_pair"], state["begins"])
        hidden = gru(state, x, state["hidden"])
        best = (scores(state, hidden, seen) + gumbel(noise)).argmax(-1)
        following = {
            "hidden": hidden,
            "previous_pair": pair_of(seen, self._scene.choices.one_hot(best)),
            "begins": torch.zeros_like(state["begins"]),
        }
        return Act(self._scene.choices.action(best), following, {})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        raise NotImplementedError("an rl2 policy adapts in its hidden state, in act")


def gumbel(normal: Tensor) -> Tensor:
    """Gumbel noise −log(−log Φ(z)) of standard normal numbers z; the same for all where they are 0."""
    uniform = 0.5 + 0.5 * torch.erf(normal * math.sqrt(0.5))
    return -torch.log(-torch.log(uniform.clamp(_LEAST, 1.0 - _LEAST)))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Tensor:
    return torch.tensor(scale * rng.standard_normal(shape), dtype=torch.float32)


def _orthogonal(rng: np.random.Generator, n: int) -> Tensor:
    return torch.tensor(np.linalg.qr(rng.standard_normal((n, n)))[0], dtype=torch.float32)
