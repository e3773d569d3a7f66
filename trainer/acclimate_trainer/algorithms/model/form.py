"""What the forms of the model have in common: something is thought of a machine, and a window's errors change that."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.rows import Rows
from acclimate_trainer.contract.policy import Tensors

NOISE = "log_noise"
"""Logarithm of what is left of each sensor's error where everything is known, (1, n_y): errors are weighed by it."""
_NOISE_START = -1.0
_ODD = 20.0  # errors, in units of the noise, beyond which they are taken for no larger: a sensor that has gone wrong


class Form(Protocol):
    """Meta-parameters and thoughts are named tensors; where they come in, they are stacked over tasks, (T, …)."""

    @property
    def n_told(self) -> int:
        """How many numbers say to a policy what is thought."""
        ...

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Meta-parameters before training, of one task."""
        ...

    def begin(self, meta: Tensors) -> dict[str, Tensor]:
        """What is thought of machines that have not moved yet."""
        ...

    def weights(self, meta: Tensors, thought: Tensors) -> Tensors:
        """Of the network, as they are for each machine."""
        ...

    def counts(self, thought: Tensors) -> Tensor | None:
        """How much each column of the network counts, (T, C); None where there is one."""
        ...

    def adapt(self, meta: Tensors, thought: Tensors, rows: Rows) -> dict[str, Tensor]:
        """What is thought after these rows."""
        ...

    def told(self, meta: Tensors, thought: Tensors) -> Tensor:
        """What a policy is told, about 1 in size, (T, n_told)."""
        ...


def first_noise(n_y: int) -> Tensor:
    return torch.full((1, n_y), _NOISE_START)


def weighed(meta: Tensors, difference: Tensor) -> Tensor:
    """Errors (…, N, n_y) in units of the noise."""
    return difference * torch.exp(-meta[NOISE])


def bounded(weighed: Tensor) -> Tensor:
    return weighed.clamp(-_ODD, _ODD)


def predicted(form: Form, meta: Tensors, thought: Tensors, x: Tensor, n_y: int) -> Tensor:
    """By how much sensors will have changed after rows x (T, N, n_x), (T, N, n_y)."""
    out = network.columns(form.weights(meta, thought), x, n_y)
    counts = form.counts(thought)
    return out.squeeze(-1) if counts is None else network.mixed(out, counts)


def squares(rest: Tensor, weight: Tensor) -> Tensor:
    """Mean square of each sensor's error over the rows that count, (T, n_y); 0 where none does."""
    return (rest.square() * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True).clamp_min(1.0)
