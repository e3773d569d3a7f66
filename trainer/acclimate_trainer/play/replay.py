"""A replay memory that is part of a run's state: tensors that training carries along, saves and resumes.

It keeps whole episodes, the newest, for each group of learners that share what they have seen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.outer_loop.training import FOR_TRAINING

_EPISODES, _WRITTEN = FOR_TRAINING + "replay.episodes", FOR_TRAINING + "replay.written"


def empty(groups: int, capacity: int, steps: int, width: int) -> dict[str, Tensor]:
    """A memory of `capacity` episodes of `steps` rows of `width` numbers, for each group."""
    return {_EPISODES: torch.zeros(groups, capacity, steps, width), _WRITTEN: torch.zeros(1)}


@torch.no_grad()
def write(memory: Mapping[str, Tensor], episodes: Tensor) -> None:
    """Add episodes (groups, n, steps, width), in place, over the oldest; n is at most the capacity."""
    kept, written = memory[_EPISODES], memory[_WRITTEN]
    places = (int(written) + torch.arange(episodes.shape[1])) % kept.shape[1]
    kept[:, places] = episodes
    written += episodes.shape[1]


@torch.no_grad()
def draw(memory: Mapping[str, Tensor], n: int, length: int, rng: np.random.Generator) -> Tensor:
    """n stretches of `length` rows (groups, n, length, width) out of episodes, each group's own, with replacement."""
    kept = memory[_EPISODES]
    groups, capacity, steps = kept.shape[:3]
    episode = torch.from_numpy(rng.integers(0, min(int(memory[_WRITTEN]), capacity), (groups, n, 1)))
    row = torch.from_numpy(rng.integers(0, steps - length + 1, (groups, n, 1))) + torch.arange(length)
    return kept[torch.arange(groups)[:, None, None], episode, row]
