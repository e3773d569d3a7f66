"""The network that every policy here is: two hidden layers of tanh, a bounded Gaussian around its output.

Functions of named parameters stacked over tasks, so that T adapted copies run as one batched product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors

SIGMA_FLOOR = 0.1
SIGMA_START = 0.3
_WEIGHT_SCALE = {"w0": 2.0, "w1": 1.0, "w2": 0.1}  # times 1/√n_in; features are about a half

# What the network sees of (position, velocity, target, target_velocity, previous action): one column per feature,
# the first being the tracking error. They are scaled afterwards, since a difference of numbers that were scaled, and
# so rounded, before would lose the digits of a small error. The tanh that follows keeps every feature bounded.
FEATURES = torch.tensor(
    [
        [-1.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)
FEATURE_SCALES = torch.tensor([6.0, 0.12, 0.4, 0.4, 0.7])
N_FEATURES = FEATURES.shape[1]
_ONE = torch.ones(())


def layer_shapes(n_in: int, hidden: int, n_out: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters; a bias is a row, so that it broadcasts over episodes.

    `scale` and `gain` multiply each input and output: a servo that is merely stronger or faster is a step away.
    """
    widths = (n_in, hidden, hidden, n_out)
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(3):
        shapes[f"w{i}"], shapes[f"b{i}"] = (widths[i], widths[i + 1]), (1, widths[i + 1])
    return shapes | {"scale": (1, n_in), "gain": (1, n_out), "sigma": (1, n_out)}


def initial_parameters(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, Tensor]:
    """Random weights, no bias, a gain of one; the last layer is small, and exploration at its start."""
    constants = {"scale": 1.0, "gain": 1.0, "sigma": SIGMA_START}
    out: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if name.startswith("w"):
            scale = _WEIGHT_SCALE[name] / math.sqrt(shape[0])
            out[name] = torch.tensor(rng.standard_normal(shape) * scale, dtype=torch.float32)
        else:
            out[name] = torch.full(shape, constants.get(name, 0.0))
    return out


def tracking_features(obs: Tensor, previous: Tensor) -> Tensor:
    """Network input from obs (…, 4) of the servo family and the previous action (…, 1): (…, N_FEATURES)."""
    return torch.tanh(torch.cat([obs, previous], dim=-1) @ FEATURES * FEATURE_SCALES)


def mean_action(params: Tensors, x: Tensor) -> Tensor:
    """Mean of the action, within ±1, of features x (T, rows, n_in): (T, rows, n_act)."""
    h = torch.tanh(torch.baddbmm(params["b0"], x * params["scale"], params["w0"]))
    h = torch.tanh(torch.baddbmm(params["b1"], h, params["w1"]))
    return bounded(torch.baddbmm(params["b2"], h, params["w2"]) * params["gain"])


def bounded(y: Tensor) -> Tensor:
    """Within ±1, and slower to saturate than tanh."""
    return y * torch.rsqrt(torch.addcmul(_ONE, y, y))


def sigma(params: Tensors) -> Tensor:
    """Standard deviation of the action, (T, 1, n_act), never below SIGMA_FLOOR."""
    return params["sigma"].clamp_min(SIGMA_FLOOR)


def sampled_action(params: Tensors, x: Tensor, noise: Tensor) -> Tensor:
    """Mean action plus `noise` (T, rows, n_act) standard deviations."""
    return torch.addcmul(mean_action(params, x), sigma(params), noise)
