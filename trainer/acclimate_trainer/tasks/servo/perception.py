"""What learners see of servos: network inputs, reward, and what the baseline of the inner step knows. All traceable."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.policy import Window

# One column per input of (position, velocity, target, target_velocity), the first being the tracking error. They are
# scaled afterwards: a difference of numbers that were scaled, and so rounded, before would lose the digits of a small
# error.
_INPUTS = torch.tensor(
    [
        [-1.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ]
)
_INPUT_SCALES = torch.tensor([6.0, 0.12, 0.4, 0.4])
_SIGN = 10.0  # 1/rad; an error well beyond a tenth of a radian is all sign
_SCALES = torch.diag(torch.tensor([1.0, 0.1, 1.0, 0.1]))  # of the observation, for the baseline


def inputs(obs: Tensor) -> Tensor:
    """Error, velocity, target velocity and position of obs (…, 4), each about 1 in size: (…, 4)."""
    return obs @ _INPUTS * _INPUT_SCALES


def reward(window: Window) -> Tensor:
    """Reward of every transition, (T, K, S): near-absolute tracking error after it, and the effort."""
    error = window.obs[:, :, 1:, 0] - window.obs[:, :, 1:, 2]
    effort = F.hardtanh(window.action.squeeze(-1))
    return -5.0 * (torch.sqrt(error * error + 0.05**2) - 0.05) - 0.02 * effort * effort


def baseline(window: Window, discount: Tensor) -> Tensor:
    """Features of each state for the baseline of returns by `discount` (S, S), (T, K, S, F).

    Observation, squares, time to go, and what the reference is going to do. It does what it does whatever the
    actions are, so that its future may enter without bias (Mao et al. 2018, "Variance Reduction for Reinforcement
    Learning in Input-Driven Environments", section 4), and far from it the return is mostly its doing: without
    these features, the sign of a weak motor drowns.
    """
    steps = window.action.shape[2]
    position, velocity, target, rate = (window.obs @ _SCALES).unbind(-1)
    error = target - position
    now = torch.stack([error, velocity, rate, position], dim=-1)[:, :, :steps]
    e, v, r, _ = now.unbind(-1)
    square = torch.stack([e * e, e.abs(), e * v, e * r, v * v, v * r, r * r], dim=-1)
    total = discount.sum(0)  # (S,) the discounted time to go
    time = torch.stack([torch.ones_like(total), total, total * total], dim=-1).expand(*e.shape, 3)
    coming = target[:, :, 1:] @ discount - target[:, :, :steps] * total  # where it goes from here, discounted
    ahead = torch.stack([coming, coming * torch.tanh(_SIGN * e), total * e, total * e.abs()], dim=-1)
    return torch.cat([time, now, square, ahead], dim=-1)
