"""What every policy here sees and does of a family: network inputs from observations, and actions within ±1.

Networks work with inputs squashed by a tanh and with actions within ±1; a family has units. Where its actions are
within ±1 anyway, scaling them is the identity and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily

Tasks = TypeVar("Tasks")
PREVIOUS = 0.7  # scale of the previous action among the inputs


@dataclass(frozen=True)
class View:
    """See the module. `n_obs`, `n_act`: of the family; `n_in`: of the inputs, the previous action included."""

    family: Complete[object]
    n_obs: int
    n_act: int
    n_in: int
    center: Tensor | None  # of the actions, (n_act,); None where they are within ±1
    half: Tensor | None

    @classmethod
    def of(cls, family: TaskFamily[Tasks] | Complete[Tasks]) -> View:
        complete = Complete.of(family)
        spec = complete.spec
        low, high = (torch.tensor(ends) for ends in spec.limits())
        plain = bool((low == -1.0).all() and (high == 1.0).all())
        center, half = (None, None) if plain else (0.5 * (low + high), 0.5 * (high - low))
        n_in = complete.n_inputs + spec.n_act
        return cls(complete, spec.n_obs, spec.n_act, n_in, center, half)  # type: ignore[arg-type]

    def inputs(self, obs: Tensor, previous: Tensor, *more: Tensor) -> Tensor:
        """Network inputs (…, n_in + …) from obs (…, n_obs), the previous action within ±1 (…, n_act), and `more`."""
        return torch.tanh(torch.cat([self.family.inputs(obs), previous * PREVIOUS, *more], dim=-1))

    def physical(self, action: Tensor) -> Tensor:
        """Actions (…, n_act) within ±1 in the channels' units."""
        if self.half is None or self.center is None:
            return action
        return torch.addcmul(self.center, action, self.half)

    def normal(self, action: Tensor) -> Tensor:
        """The inverse of `physical`."""
        if self.half is None or self.center is None:
            return action
        normal: Tensor = (action - self.center) / self.half
        return normal

    def taken(self, action: Tensor) -> Tensor:
        """What a device takes of actions in the channels' units, within ±1."""
        return F.hardtanh(self.normal(action))

    def told(self, task: Tensor, rows: int) -> Tensor:
        """True parameters (T, P) as network inputs, in typical units: (T, rows, P)."""
        return self.family.standard(task).unsqueeze(1).expand(-1, rows, -1)

    def typical_task(self) -> Tensor:
        """The parameters of a typical machine, (P,)."""
        return self.family.physical(self.family.typical[0])
