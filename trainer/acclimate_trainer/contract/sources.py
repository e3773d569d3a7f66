"""Some machines of a family, to which nothing ever happens: what is learned on them is to be of use on others."""

from __future__ import annotations

import numpy as np
import torch

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Tasks


class Sources(Complete[Tasks]):
    """A family of which there are these machines only."""

    def __init__(self, family: Complete[Tasks], machines: Tasks) -> None:
        super().__init__(family.family)
        self.machines = machines

    def __len__(self) -> int:
        return len(next(iter(self.machines)))  # type: ignore[call-overload]

    def turns(self, n: int) -> torch.Tensor:
        """Which machines are drawn where n are, (n,): one after the other, and again."""
        return torch.arange(n) % len(self)

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """The machines in turn."""
        del rng, progress
        turns = self.turns(n)
        drawn: Tasks = type(self.machines)(*(column[turns] for column in self.machines))  # type: ignore[attr-defined]
        return drawn

    def change(self, tasks: Tasks, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """The same tasks."""
        del rng, progress
        return tasks

    @property
    def changes(self) -> bool:
        return False
