"""Q(s, a) of a network that is told the action, so that what it learns of one action tells of those beside it.

Two hidden layers of rectified units. The first adds up what the state and what the action contribute, so that the
values of A candidates cost the state's share once. T is stacked networks, R rows, f inputs, c entries of an action's
code, h hidden units.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors

LAST = ("w2", "b2")  # the last layer, which a device may refine
_LAST_SCALE = 0.1  # of its initial weights


def initial_values(
    copies: int, n_in: int, n_code: int, hidden: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Random parameters of `copies` networks, stacked: weights (copies, n_in, n_out), biases (copies, 1, n_out)."""
    shapes = {"w0": (n_in, hidden), "wa": (n_code, hidden), "w1": (hidden, hidden), "w2": (hidden, 1)}
    fan_in = {"w0": n_in + n_code, "wa": n_in + n_code, "w1": hidden, "w2": hidden}
    params = {f"b{i}": torch.zeros(copies, 1, n) for i, n in enumerate((hidden, hidden, 1))}
    for name, shape in shapes.items():
        scale = math.sqrt(2.0 / fan_in[name]) * (_LAST_SCALE if name == "w2" else 1.0)
        params[name] = torch.tensor(scale * rng.standard_normal((copies, *shape)), dtype=torch.float32)
    return params


def units_of(params: Tensors, x: Tensor, code: Tensor) -> Tensor:
    """What the last layer sees of inputs x (T, R, f) and an action for each, code (T, R, c): (T, R, h)."""
    return _second(params, torch.baddbmm(params["b0"], x, params["w0"]) + torch.bmm(code, params["wa"]))


def units_of_all(params: Tensors, x: Tensor, codes: Tensor) -> Tensor:
    """The same of every candidate, codes (A, c): (T, R · A, h)."""
    seen = torch.baddbmm(params["b0"], x, params["w0"]).unsqueeze(2)  # (T, R, 1, h)
    told = torch.matmul(codes, params["wa"]).unsqueeze(1)  # (T, 1, A, h)
    return _second(params, (seen + told).flatten(1, 2))


def values_of_all(params: Tensors, x: Tensor, codes: Tensor) -> Tensor:
    """Q (T, R, A) of every candidate."""
    q = torch.baddbmm(params["b2"], units_of_all(params, x, codes), params["w2"])
    return q.view(*x.shape[:2], len(codes))


def _second(params: Tensors, first: Tensor) -> Tensor:
    return torch.relu(torch.baddbmm(params["b1"], torch.relu(first), params["w1"]))
