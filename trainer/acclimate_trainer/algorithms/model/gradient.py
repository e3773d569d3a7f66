"""One gradient step on all weights of the model (Nagabandi et al. 2019, "Learning to Adapt", equations 2 and 3).

    θ' = θ − α ∘ ∇θ L(θ),      L(θ) = mean of |(y − f_θ(x))/σ|² over the last window

from the same θ after every window: what was seen before the last one is forgotten. Step sizes are learned, one for
each weight (Li et al. 2017, "Meta-SGD", equation 2). As thousands of weights say nothing to a policy, it is told what
the model predicts in a few situations, which are learned, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.form import (
    NOISE,
    NOW,
    bounded,
    current,
    first_noise,
    squares,
    weighed,
)
from acclimate_trainer.algorithms.model.rows import Rows
from acclimate_trainer.contract.policy import Tensors

_RATE = "rate."


@dataclass(frozen=True)
class Gradient:
    """`probes` situations in which a policy is told what is predicted; see the module."""

    n_x: int
    n_y: int
    hidden: int
    probes: int
    rate: float

    @property
    def n_told(self) -> int:
        return self.probes * self.n_y

    @property
    def counters(self) -> tuple[str, ...]:
        return ()

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        weights = network.initial(self.n_x, self.n_y, 1, self.hidden, rng)
        probes = torch.tensor(rng.standard_normal((self.probes, self.n_x)), dtype=torch.float32)
        rates = {_RATE + name: torch.full_like(value, self.rate) for name, value in weights.items()}
        return {**weights, **rates, NOISE: first_noise(self.n_y), "probes": probes}

    def begin(self, meta: Tensors) -> dict[str, Tensor]:
        return {NOW + name: value for name, value in network.parts(meta).items()}

    def counts(self, thought: Tensors) -> Tensor:
        """There is a single column."""
        return torch.ones(thought[NOW + "b0"].shape[0], 1)

    def adapt(self, meta: Tensors, thought: Tensors, rows: Rows) -> dict[str, Tensor]:  # noqa: ARG002
        weights = network.parts(meta)

        def loss(at: Tensors) -> Tensor:
            rest = weighed(meta, rows.y - network.columns(at, rows.x, self.n_y).squeeze(-1))
            return squares(bounded(rest), rows.weight).mean(-1).sum()

        slope = torch.func.grad(loss)(weights)
        return {NOW + name: w - meta[_RATE + name] * slope[name] for name, w in weights.items()}

    def told(self, meta: Tensors, thought: Tensors) -> Tensor:
        """What is predicted in each of the situations, (T, probes · n_y)."""
        return network.columns(current(meta, thought), meta["probes"], self.n_y).flatten(1)
