"""Several prior models, which count as likely as they make the last windows (FAMLE: Kaushik et al. 2020, section III).

    p_m ∝ exp(ℓ_m),      ℓ_m' = κ·ℓ_m − e/2·Σ w·|(y − f_m(x))/σ|²,      ŷ = Σ_m p_m·f_m(x)

One network has a column for each of them: what they have in common is learned once. A step is a comparison of errors,
without a slope, and cannot lead anywhere that no prior is; κ, by which older windows fade, and e are learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.form import NOISE, bounded, certainty, first_noise
from acclimate_trainer.algorithms.model.rows import Rows
from acclimate_trainer.contract.policy import Tensors

_KEPT_START, _EVIDENCE_START = 3.0, -1.5


@dataclass(frozen=True)
class Priors:
    """`size` of them; see the module."""

    n_x: int
    n_y: int
    hidden: int
    size: int

    @property
    def n_told(self) -> int:
        return self.size

    @property
    def counters(self) -> tuple[str, ...]:
        return ()

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return {
            **network.initial(self.n_x, self.n_y, self.size, self.hidden, rng),
            NOISE: first_noise(self.n_y),
            "log_evidence": torch.full((1, 1), _EVIDENCE_START),
            "kept": torch.full((1, 1), _KEPT_START),
        }

    def begin(self, meta: Tensors) -> dict[str, Tensor]:
        return {"likelihood": torch.zeros(meta[NOISE].shape[0], self.size)}

    def counts(self, thought: Tensors) -> Tensor:
        return torch.softmax(thought["likelihood"], dim=-1)

    def adapt(self, meta: Tensors, thought: Tensors, rows: Rows) -> dict[str, Tensor]:
        out = network.columns(meta, rows.x, self.n_y).transpose(2, 3)  # (T, N, M, n_y)
        errors = (
            bounded((rows.y.unsqueeze(2) - out) * certainty(meta).unsqueeze(1)).square().sum(-1)
        )  # (T, N, M)
        found = torch.exp(meta["log_evidence"]).squeeze(-1) * (errors * rows.weight.unsqueeze(-1)).sum(1)
        likely = torch.sigmoid(meta["kept"]).squeeze(-1) * thought["likelihood"] - 0.5 * found
        return {"likelihood": likely - likely.amax(-1, keepdim=True)}

    def told(self, meta: Tensors, thought: Tensors) -> Tensor:  # noqa: ARG002
        """How likely each prior is."""
        return self.counts(thought)
