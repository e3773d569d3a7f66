"""The inner step's ingredients: returns, baseline, advantages and the likelihood-ratio loss.

Everything is a plain tensor program of standard operators, so that a device can run it with its gradient.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.networks.feedforward import Activation, mean_action, sigma
from acclimate_trainer.networks.view import View

_EPSILON = 1e-6
_FAR = 1e6  # beyond anything that a sensor says or a policy does


def bounded(window: Window) -> Window:
    """The window with no number so large that its square overflows: infinity times a mask of 0 is not 0."""
    return window._replace(obs=window.obs.clamp(-_FAR, _FAR), action=window.action.clamp(-_FAR, _FAR))


def with_predecessor(mask: Tensor) -> Tensor:
    """The mask (T, K, S) of transitions that follow a valid one, or begin an episode."""
    return mask * torch.cat([torch.ones_like(mask[:, :, :1]), mask[:, :, :-1]], dim=2)


def discount_matrix(kernel: Tensor, steps: int) -> Tensor:
    """(steps, steps) matrix D with D[s, t] = kernel[s − t], so that rewards @ D are returns."""
    lag = torch.arange(steps).unsqueeze(1) - torch.arange(steps)
    inside = (lag >= 0) & (lag < kernel.shape[0])
    return torch.where(inside, kernel[lag.clamp(0, kernel.shape[0] - 1)], 0.0)


def normalise(advantage: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit variance over each task's unmasked transitions (T, N)."""
    count = mask.sum(-1, keepdim=True).clamp_min(1.0)
    mean = (advantage * mask).sum(-1, keepdim=True) / count
    centred = (advantage - mean) * mask
    variance = (centred * centred).sum(-1, keepdim=True) / count
    return centred * torch.rsqrt(variance + _EPSILON)


def log_likelihood(
    view: View, params: Tensors, window: Window, memory: float = 0.0, activation: Activation = "tanh"
) -> Tensor:
    """log π(a_t | s_t, s_(t−1), a_(t−1)) of the window's actions, (T, K·S), up to a constant.

    The policy's deviation from its mean is autoregressive: ε_t = memory·ε_(t−1) + innovation, from zero.
    """
    tasks, episodes, steps, n_act = window.action.shape
    zeros = torch.zeros(tasks, episodes, 1, n_act)
    action = view.normal(window.action)
    previous = torch.cat([zeros, F.hardtanh(action[:, :, :-1])], dim=2)
    x = view.inputs(window.obs[:, :, :-1], previous).reshape(tasks, episodes * steps, -1)
    deviation = action - mean_action(params, x, activation).reshape(action.shape)
    innovation = deviation - memory * torch.cat([zeros, deviation[:, :, :-1]], dim=2)
    spread = sigma(params) * math.sqrt(1.0 - memory * memory)
    z = innovation.reshape(tasks, episodes * steps, n_act) / spread
    return (-0.5 * z * z - torch.log(spread)).sum(-1)


def row_likelihood(
    params: Tensors, before: Tensors, row: Tensors, memory: float = 0.0, activation: Activation = "tanh"
) -> tuple[Tensors, Tensor]:
    """As `log_likelihood`, (T, 1), of one transition: inputs `x` and the action within ±1, `action`.

    With memory the `deviation` of the one before is taken, where one `follows` (1, else 0), and this one's handed on.
    """
    deviation, spread = row["action"] - mean_action(params, row["x"], activation), sigma(params)
    following: Tensors = {}
    innovation = deviation
    if memory > 0.0:
        following = {"deviation": deviation}
        innovation = deviation - memory * row["follows"] * before["deviation"]
        spread = spread * math.sqrt(1.0 - memory * memory)
    z = innovation / spread
    return following, (-0.5 * z * z - torch.log(spread)).sum(-1)


def rows_of(view: View, window: Window, memory: float = 0.0) -> dict[str, Tensor]:
    """The window's transitions as `row_likelihood` takes them."""
    action = view.normal(window.action)
    rows = {"x": view.inputs(window.obs[:, :, :-1], F.hardtanh(_delayed(action))), "action": action}
    if memory > 0.0:
        rows["follows"] = _delayed(torch.ones_like(action[..., :1]))
    return {name: column.flatten(1, 2) for name, column in rows.items()}


def _delayed(column: Tensor) -> Tensor:
    """What was one tick before (T, K, S, n); zeros at the beginning."""
    return torch.cat([torch.zeros_like(column[:, :, :1]), column[:, :, :-1]], dim=2)
