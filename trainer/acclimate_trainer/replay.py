"""A replay memory that is part of a run's state: tensors that training carries along, saves and resumes.

A ring of rows, one for each group of learners that share what they have seen; the oldest are overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.training import FOR_TRAINING

_ROWS, _WRITTEN = FOR_TRAINING + "replay.rows", FOR_TRAINING + "replay.written"


def empty(groups: int, capacity: int, width: int) -> dict[str, Tensor]:
    """A memory of `capacity` rows of `width` numbers for each group."""
    return {_ROWS: torch.zeros(groups, capacity, width), _WRITTEN: torch.zeros(1)}


@torch.no_grad()
def write(memory: Mapping[str, Tensor], rows: Tensor) -> None:
    """Append rows (groups, n, width), in place; n is at most the capacity."""
    kept, written = memory[_ROWS], memory[_WRITTEN]
    places = (int(written) + torch.arange(rows.shape[1])) % kept.shape[1]
    kept[:, places] = rows
    written += rows.shape[1]


@torch.no_grad()
def draw(memory: Mapping[str, Tensor], n: int, rng: np.random.Generator) -> Tensor:
    """Rows (groups, n, width) of what has been written, each group's own, with replacement."""
    kept = memory[_ROWS]
    groups, filled = kept.shape[0], min(int(memory[_WRITTEN]), kept.shape[1])
    index = torch.from_numpy(rng.integers(0, filled, (groups, n)))
    return kept[torch.arange(groups).unsqueeze(1), index]
