"""The gated recurrent unit (Cho et al. 2014, in the variant of torch.nn.GRU), as a function of named parameters.

Stacked over tasks, so that T copies of the parameters run as one batched product, and few operations, since on a
device the time goes into starting them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors


def gru_shapes(n_in: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters; columns are the gates r, z and n in torch's order.

    They are torch.nn.GRU's, transposed, a bias being a row that broadcasts over episodes: `input` is
    weight_ih_l0ᵀ, `recurrent` is weight_hh_l0ᵀ, and their biases bias_ih_l0 and bias_hh_l0.
    """
    return {
        "input": (n_in, 3 * hidden),
        "input_bias": (1, 3 * hidden),
        "recurrent": (hidden, 3 * hidden),
        "recurrent_bias": (1, 3 * hidden),
    }


def initial_gru(n_in: int, hidden: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """Uniform within ±1/√hidden, as torch.nn.GRU begins, but for biases of zero."""
    bound = 1.0 / math.sqrt(hidden)
    return {
        name: torch.zeros(shape)
        if name.endswith("bias")
        else torch.tensor(rng.uniform(-bound, bound, shape), dtype=torch.float32)
        for name, shape in gru_shapes(n_in, hidden).items()
    }


def gru(params: Tensors, x: Tensor, h: Tensor) -> Tensor:
    """The next hidden state (T, rows, H) from inputs x (T, rows, n_in) and the hidden state h (T, rows, H).

    r = σ(W_ir·x + b_ir + W_hr·h + b_hr),  z likewise,  n = tanh(W_in·x + b_in + r ∘ (W_hn·h + b_hn)),
    h' = (1 − z) ∘ n + z ∘ h        (Cho et al. 2014, equations 5 to 8, with r outside of the product)
    """
    width = h.shape[-1]
    of_x = torch.baddbmm(params["input_bias"], x, params["input"])
    of_h = torch.baddbmm(params["recurrent_bias"], h, params["recurrent"])
    x_gates, x_n = torch.split(of_x, [2 * width, width], dim=-1)
    h_gates, h_n = torch.split(of_h, [2 * width, width], dim=-1)
    r, z = torch.split(torch.sigmoid(x_gates + h_gates), width, dim=-1)
    n = torch.tanh(torch.addcmul(x_n, r, h_n))
    return torch.addcmul(n, z, h - n)


def gru_over_time(params: Tensors, x: Tensor, h: Tensor) -> Tensor:
    """Hidden states (L, rows, H) after each of L inputs x (L, rows, n_in), from h (1, rows, H) on, in one go.

    `params` are those of one network, not stacked.
    """
    weights = [
        params["input"].t(),
        params["recurrent"].t(),
        params["input_bias"][0],
        params["recurrent_bias"][0],
    ]
    hidden, _ = torch.gru(x, h, weights, True, 1, 0.0, False, False, False)
    return hidden
