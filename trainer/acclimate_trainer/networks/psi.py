"""Networks that give successor features ψ of every action: a library of them, or one that is told the objective.

Two hidden layers of rectified units, and one output for each action and feature. Functions of named parameters; all
policies of a library are one batched product. P is policies, A actions, d features, f inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors

LAST = ("w2", "b2")  # the last layer, which a device may refine
_FEATURES_WIDTH = 32  # of the hidden layer of learned features
_OUTPUT_SCALE = 0.3  # of the initial weights of the last layer


@dataclass(frozen=True)
class Sizes:
    """Of one network."""

    inputs: int
    hidden: int
    actions: int
    features: int

    @property
    def outputs(self) -> int:
        return self.actions * self.features


def initial_library(policies: int, sizes: Sizes, rng: np.random.Generator) -> dict[str, Tensor]:
    """Random parameters of `policies` networks, all different: weights (P, n_in, n_out), biases (P, 1, n_out)."""
    widths = (sizes.inputs, sizes.hidden, sizes.hidden, sizes.outputs)
    params: dict[str, Tensor] = {}
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        scale = math.sqrt(2.0 / n_in) * (_OUTPUT_SCALE if i == 2 else 1.0)
        weights = scale * rng.standard_normal((policies, n_in, n_out))
        params[f"w{i}"] = torch.tensor(weights, dtype=torch.float32)
        params[f"b{i}"] = torch.zeros(policies, 1, n_out)
    return params


def initial_universal(sizes: Sizes, rng: np.random.Generator) -> dict[str, Tensor]:
    """Random parameters of one network that is also told z, the objective that a policy is for: `wz` (d, hidden)."""
    params = {name: value[0] for name, value in initial_library(1, sizes, rng).items()}
    scale = math.sqrt(2.0 / sizes.inputs)
    weights = scale * rng.standard_normal((sizes.features, sizes.hidden))
    return {**params, "wz": torch.tensor(weights, dtype=torch.float32)}


def library_psi(params: Tensors, x: Tensor, actions: int) -> Tensor:
    """ψ (P, rows, A, d) of each policy on inputs of its own, x (P, rows, f)."""
    h = torch.relu(torch.baddbmm(params["b0"], x, params["w0"]))
    h = torch.relu(torch.baddbmm(params["b1"], h, params["w1"]))
    out = torch.baddbmm(params["b2"], h, params["w2"])
    return out.view(*out.shape[:-1], actions, -1)


def universal_psi(params: Tensors, x: Tensor, z: Tensor, actions: int) -> Tensor:
    """ψ (…, A, d) of the policies for objectives z (…, d) on inputs x (…, f); leading axes broadcast."""
    h = torch.relu(x @ params["w0"] + (z @ params["wz"] + params["b0"]))
    h = torch.relu(h @ params["w1"] + params["b1"])
    out = h @ params["w2"] + params["b2"]
    return out.view(*out.shape[:-1], actions, -1)


def initial_features(inputs: int, d: int, tasks: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """A φ̃ of one hidden layer, and the weights by which it makes each training task's reward."""
    shapes = {
        "features.w0": (inputs, _FEATURES_WIDTH),
        "features.w1": (_FEATURES_WIDTH, d),
        "features.rewards": (d, tasks),
    }
    params = {
        name: torch.tensor(rng.standard_normal(shape) / math.sqrt(shape[0]), dtype=torch.float32)
        for name, shape in shapes.items()
    }
    return params | {"features.b0": torch.zeros(1, _FEATURES_WIDTH), "features.b1": torch.zeros(1, d)}


def learned_features(params: Tensors, x: Tensor) -> Tensor:
    """φ̃ (…, d) of arriving where the inputs are x (…, f)."""
    h = torch.relu(x @ params["features.w0"] + params["features.b0"])
    return h @ params["features.w1"] + params["features.b1"]
