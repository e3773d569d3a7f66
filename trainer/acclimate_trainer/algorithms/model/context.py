"""A context vector, and one step down the slope of the prediction loss (Zintgraf et al. 2019, "CAVIA", equation 3).

    L(z) = ½·Σ w·|(y − f(x) − B(x)·z)/σ|²,      z' = z − Λ⁻¹·∇L(z),      Λ = I + e·Σ w·Bᵀ·B/σ² over all that was seen

f and B are the columns of one network. The loss is a square in z, so that its curvature is known, and a step divided by
it is the whole way: neither a window in which little moved nor one in which much did is taken for the other, as with a
step size that is learned. Λ also says how sure one is (Harrison et al. 2018, "ALPaCA", equations 4 and 5); its root is
what is kept (`square_root`). Both fade to what they were before the first window, by a factor κ that is learned, as is
e: machines may change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.form import NOISE, bounded, certainty, first_noise, weighed
from acclimate_trainer.algorithms.model.rows import Rows
from acclimate_trainer.algorithms.model.square_root import solution, triangle
from acclimate_trainer.contract.policy import Tensors

_KEPT_START = 3.0  # of the logit of κ
_EVIDENCE_START = -1.5  # of log e
_RIDGE = 0.05  # of each column's length: along what hardly shows, a step would be made of rounding


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
        return ("root",)

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
            "root": torch.eye(self.size).expand(tasks, -1, -1),
        }

    def counts(self, thought: Tensors) -> Tensor:
        z = thought["context"]
        return torch.cat([torch.ones_like(z[:, :1]), z], dim=-1)

    def adapt(self, meta: Tensors, thought: Tensors, rows: Rows) -> dict[str, Tensor]:
        kept, unit = torch.sigmoid(meta["kept"]), torch.eye(self.size).expand(len(rows.x), -1, -1)
        z = kept.squeeze(-1) * thought["context"]
        out = network.columns(meta, rows.x, self.n_y)
        rest = bounded(weighed(meta, rows.y - network.mixed(out, self.counts({"context": z}))))
        basis = out[..., 1:] * certainty(meta).unsqueeze(-1)  # (T, N, n_y, K)
        weight = torch.exp(0.5 * meta["log_evidence"].clamp_max(0.0)) * rows.weight.unsqueeze(-1)  # (T, N, 1)
        new = (torch.cat([basis, rest.unsqueeze(-1)], dim=-1) * weight.unsqueeze(-1)).flatten(1, 2)
        known = torch.cat([kept.sqrt() * thought["root"], (1.0 - kept).sqrt() * unit], dim=1)
        seen = torch.cat([known, new[..., :-1]], dim=1)
        ridge = _RIDGE * seen.square().sum(1, keepdim=True).sqrt() * unit
        root = triangle(torch.cat([F.pad(torch.cat([known, ridge], dim=1), (0, 1)), new], dim=1))
        return {"context": z + solution(root)[..., 0], "root": root[..., :-1]}

    def told(self, meta: Tensors, thought: Tensors) -> Tensor:  # noqa: ARG002
        """z, and the standard deviation of each entry."""
        inverse = solution(F.pad(thought["root"], (0, 1)))[..., 1:]
        return torch.cat([thought["context"], inverse.square().sum(-1).sqrt()], dim=-1)
