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
NOW = "now."
"""How the names of weights begin that a machine has for its own, in what is thought of it."""
_NOISE_START = -1.0
_LEAST_NOISE = -2.5
_ODD = 20.0  # errors, in units of the noise, beyond which they are taken for no larger: a sensor that has gone wrong


class Form(Protocol):
    """Meta-parameters and thoughts are named tensors; where they come in, they are stacked over tasks, (T, …)."""

    @property
    def n_told(self) -> int:
        """How many numbers say to a policy what is thought."""
        ...

    @property
    def counters(self) -> tuple[str, ...]:
        """What of a thought says how much was seen, and not what: no step is measured by it."""
        ...

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Meta-parameters before training, of one task."""
        ...

    def begin(self, meta: Tensors) -> dict[str, Tensor]:
        """What is thought of machines that have not moved yet."""
        ...

    def counts(self, thought: Tensors) -> Tensor:
        """How much each column of the network counts, (T, C)."""
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
    return difference * certainty(meta)


def certainty(meta: Tensors) -> Tensor:
    """One over the noise of each sensor, (T, 1, n_y)."""
    return torch.exp(-meta[NOISE].clamp_min(_LEAST_NOISE))


def bounded(weighed: Tensor) -> Tensor:
    return weighed.clamp(-_ODD, _ODD)


def predicted(form: Form, meta: Tensors, thought: Tensors, x: Tensor, n_y: int) -> Tensor:
    """By how much sensors will have changed after rows x (T, N, n_x), (T, N, n_y)."""
    return network.mixed(network.columns(current(meta, thought), x, n_y), form.counts(thought))


def current(meta: Tensors, thought: Tensors) -> Tensors:
    """The network's weights as they are for each machine: those of its own, where a form adapts weights."""
    own = {n.removeprefix(NOW): value for n, value in thought.items() if n.startswith(NOW)}
    return {**meta, **own}


def squares(rest: Tensor, weight: Tensor) -> Tensor:
    """Mean square of each sensor's error over the rows that count, (T, n_y); 0 where none does."""
    return (rest.square() * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True).clamp_min(1.0)
