"""A context vector, and one step down the slope of the prediction loss (Zintgraf et al. 2019, "CAVIA", equation 3).

    L(z) = ½·Σ w·|(y − f(x) − B(x)·z)/σ|²,      z' = z − Λ⁻¹·∇L(z),      Λ = I + e·Σ w·Bᵀ·B/σ² over all that was seen

f and B are the columns of one network. The loss is a square in z, so that its curvature is known, and a step divided by
it is the whole way: neither a window in which little moved nor one in which much did is taken for the other, as with a
step size that is learned. Λ also says how sure one is (Harrison et al. 2018, "ALPaCA", equations 4 and 5). Both fade
to what they were before the first window by a factor that is learned, as is e: machines may change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.maml.ridge import inverse_spd
from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.form import NOISE, bounded, certainty, first_noise, weighed
from acclimate_trainer.algorithms.model.rows import Rows
from acclimate_trainer.contract.policy import Tensors

_KEPT_START = 3.0  # of the logit of what is kept of a window when the next one comes
_EVIDENCE_START = -1.5  # of log e
_RIDGE = 1e-2  # of a matrix whose diagonal is one


@dataclass(frozen=True)
class Context:
    """`size` entries of z; see the module."""

    n_x: int
    n_y: int
    hidden: int
    size: int

    @property
    def n_told(self) -> int:
        return 2 * self.size

    @property
    def counters(self) -> tuple[str, ...]:
        return ("precision",)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return {
            **network.initial(self.n_x, self.n_y, 1 + self.size, self.hidden, rng),
            NOISE: first_noise(self.n_y),
            "log_evidence": torch.full((1, 1), _EVIDENCE_START),
            "kept": torch.full((1, 1), _KEPT_START),
        }

    def begin(self, meta: Tensors) -> dict[str, Tensor]:
        tasks = meta[NOISE].shape[0]
        return {
            "context": torch.zeros(tasks, self.size),
            "precision": torch.eye(self.size).expand(tasks, -1, -1),
        }

    def counts(self, thought: Tensors) -> Tensor:
        z = thought["context"]
        return torch.cat([torch.ones_like(z[:, :1]), z], dim=-1)

    def adapt(self, meta: Tensors, thought: Tensors, rows: Rows) -> dict[str, Tensor]:
        kept, unit = torch.sigmoid(meta["kept"]), torch.eye(self.size)
        z = kept.squeeze(-1) * thought["context"]
        out = network.columns(meta, rows.x, self.n_y)
        rest = bounded(weighed(meta, rows.y - network.mixed(out, self.counts({"context": z}))))
        basis = (out[..., 1:] * certainty(meta).unsqueeze(-1)).flatten(1, 2)  # (T, N·n_y, K)
        weight = torch.exp(meta["log_evidence"].clamp_max(0.0)) * rows.weight.unsqueeze(-1)  # (T, N, 1)
        across = (basis * weight.expand(-1, -1, self.n_y).flatten(1, 2).unsqueeze(-1)).transpose(1, 2)
        precision = unit + kept * (thought["precision"] - unit) + across @ basis
        slope = across @ rest.flatten(1, 2).unsqueeze(-1)
        return {"context": z + (self._inverse(precision) @ slope).squeeze(-1), "precision": precision}

    def told(self, meta: Tensors, thought: Tensors) -> Tensor:  # noqa: ARG002
        """z, and the standard deviation of each entry."""
        variance = (self._inverse(thought["precision"]) * torch.eye(self.size)).sum(-1)
        return torch.cat([thought["context"], variance.clamp_min(0.0).sqrt()], dim=-1)

    def _inverse(self, precision: Tensor) -> Tensor:
        """Of Λ, with a ridge: along what hardly shows, a step would be made of rounding."""
        unit = torch.eye(self.size)
        scale = torch.rsqrt((precision * unit).sum(-1, keepdim=True))  # so that the diagonal is one
        return inverse_spd(precision * scale * scale.mT + _RIDGE * unit) * scale * scale.mT
