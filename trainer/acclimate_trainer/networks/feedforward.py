"""The network that every policy without memory is: hidden layers, and a bounded Gaussian around its output.

Functions of named parameters stacked over tasks, so that T adapted copies run as one batched product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors

Activation: TypeAlias = Literal["tanh", "relu", "elu", "silu"]
SIGMA_FLOOR = 0.1
SIGMA_START = 0.3
_FIRST, _LAST = 2.0, 0.1  # scale of weights, times 1/√n_in; inputs are about a half, first actions small
_ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": F.elu,
    "silu": F.silu,
}
_ONE = torch.ones(())


def layer_shapes(n_in: int, hidden: int, n_out: int, depth: int = 2) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters; a bias is a row, so that it broadcasts over episodes.

    `scale` and `gain` multiply each input and output: a machine that is merely stronger or faster is a step away.
    """
    widths = (n_in, *[hidden] * depth, n_out)
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(depth + 1):
        shapes[f"w{i}"], shapes[f"b{i}"] = (widths[i], widths[i + 1]), (1, widths[i + 1])
    return shapes | {"scale": (1, n_in), "gain": (1, n_out), "sigma": (1, n_out)}


def initial_parameters(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, Tensor]:
    """Random weights, no bias, a gain of one; the last layer is small, and exploration at its start."""
    constants = {"scale": 1.0, "gain": 1.0, "sigma": SIGMA_START}
    scales = {"w0": _FIRST, f"w{depth(shapes)}": _LAST}
    out: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.startswith("w"):
            scale = scales.get(name, 1.0) / math.sqrt(shape[0])
            out[name] = torch.tensor(rng.standard_normal(shape) * scale, dtype=torch.float32)
        else:
            out[name] = torch.full(shape, constants.get(name, 0.0))
    return out


def depth(params: Mapping[str, object]) -> int:
    """How many hidden layers a network has, by the names of its parameters."""
    return sum(name[0] == "w" and name[1:].isdigit() for name in params) - 1


def mean_action(params: Tensors, x: Tensor, activation: Activation = "tanh") -> Tensor:
    """Mean of the action, within ±1, of inputs x (T, rows, n_in): (T, rows, n_act)."""
    return of_hidden(params, hidden(params, x, activation))


def hidden(params: Tensors, x: Tensor, activation: Activation = "tanh") -> Tensor:
    """The last hidden layer (T, rows, H) of inputs x (T, rows, n_in)."""
    h, bend = x * params["scale"], _ACTIVATIONS[activation]
    for i in range(depth(params)):
        h = bend(torch.baddbmm(params[f"b{i}"], h, params[f"w{i}"]))
    return h


def of_hidden(params: Tensors, h: Tensor) -> Tensor:
    """Mean of the action from the last hidden layer (T, rows, H)."""
    last = depth(params)
    return bounded(torch.baddbmm(params[f"b{last}"], h, params[f"w{last}"]) * params["gain"])


def bounded(y: Tensor) -> Tensor:
    """Within ±1, and slower to saturate than tanh."""
    return y * torch.rsqrt(torch.addcmul(_ONE, y, y))


def sigma(params: Tensors) -> Tensor:
    """Standard deviation of the action, (T, 1, n_act), never below SIGMA_FLOOR."""
    return params["sigma"].clamp_min(SIGMA_FLOOR)


def sampled_action(params: Tensors, x: Tensor, noise: Tensor, activation: Activation = "tanh") -> Tensor:
    """Mean action plus `noise` (T, rows, n_act) standard deviations."""
    return torch.addcmul(mean_action(params, x, activation), sigma(params), noise)
