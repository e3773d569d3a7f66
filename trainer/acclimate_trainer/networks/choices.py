"""The actions that a discrete family has, as a table: what a policy chooses from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from acclimate.task.spec import TaskSpec
from torch import Tensor


@dataclass(frozen=True)
class Choices:
    """A actions of n_act entries each, in the channels' units."""

    table: Tensor  # (A, n_act)
    scale: Tensor  # full scale of each entry, (n_act,)
    reach: float  # half of what the nearest two choices are apart, of full scale

    @classmethod
    def of(cls, spec: TaskSpec) -> Choices:
        """For a spec that has choices."""
        table = torch.tensor(spec.choices)
        low, high = (torch.tensor(ends) for ends in spec.limits())
        scale = high - low
        apart = ((table.unsqueeze(1) - table) / scale).abs().amax(-1) + torch.diag(torch.ones(len(table)))
        return cls(table, scale, 0.5 * float(apart.min()))

    def __len__(self) -> int:
        return len(self.table)

    def action(self, index: Tensor) -> Tensor:
        """Actions (…, n_act) of choices by number (…)."""
        return F.embedding(index, self.table)

    def one_hot(self, index: Tensor) -> Tensor:
        """Choices by number (…) as vectors (…, A)."""
        return (index.unsqueeze(-1) == torch.arange(len(self.table))).to(self.table.dtype)

    def taken(self, action: Tensor) -> Tensor:
        """Which choice actions (…, n_act) were, one-hot (…, A); 0 where they were none."""
        away = ((action.unsqueeze(-2) - self.table) / self.scale).abs().amax(-1)
        return (away < self.reach).to(action.dtype)
