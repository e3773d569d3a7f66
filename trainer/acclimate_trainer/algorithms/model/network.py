"""What every form of the model predicts with: a network whose last layer has several columns for each sensor.

    ŷ = Σ_c c_k · out_k(x),     out(x) = [x, h(x)]·W + b,     h: two hidden layers

Which columns count how much is what some forms learn on a device; others learn the weights. Functions of named
parameters stacked over tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors

_LAYERS = ("w0", "b0", "w1", "b1", "w2", "b2")


def initial(n_x: int, n_y: int, columns: int, hidden: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """Random weights, no bias; first predictions are small."""
    shapes = {"w0": (n_x, hidden), "w1": (hidden, hidden), "w2": (n_x + hidden, n_y * columns)}
    scales = {"w0": 1.0, "w1": 1.0, "w2": 0.3}
    out: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        weights = scales[name] / math.sqrt(shape[0]) * rng.standard_normal(shape)
        out[name] = torch.tensor(weights, dtype=torch.float32)
        out[f"b{name[1]}"] = torch.zeros(1, shape[1])
    return {name: out[name] for name in _LAYERS}


def parts(params: Tensors) -> dict[str, Tensor]:
    """The network's own parameters among others."""
    return {name: params[name] for name in _LAYERS}


def columns(params: Tensors, x: Tensor, n_y: int) -> Tensor:
    """out(x) of rows x (T, N, n_x), (T, N, n_y, C)."""
    h = torch.tanh(torch.baddbmm(params["b0"], x, params["w0"]))
    h = torch.tanh(torch.baddbmm(params["b1"], h, params["w1"]))
    out = torch.baddbmm(params["b2"], torch.cat([x, h], dim=-1), params["w2"])
    return out.view(*out.shape[:2], n_y, -1)


def mixed(out: Tensor, counts: Tensor) -> Tensor:
    """Predictions (T, N, n_y) of columns (T, N, n_y, C) that count (T, C)."""
    return (out * counts[:, None, None]).sum(-1)


def stacked(params: Mapping[str, Tensor], tasks: int) -> dict[str, Tensor]:
    """Parameters of one network, for `tasks` of them; those of as many stay as they are."""
    return {n: p if p.dim() == 3 else p.expand(tasks, *p.shape) for n, p in params.items()}
