"""What one adaptation step sees: a fixed number of episodes of a fixed length, with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from acclimate.arrays import FloatArray


class Episode(NamedTuple):
    """One recorded episode. `action` is what the graph put out; `applied` is what the device was told."""

    obs: FloatArray  # (steps + 1, n_obs)
    action: FloatArray  # (steps, n_act)
    mask: FloatArray  # (steps,)  1 where the transition may be learned from, else 0
    applied: FloatArray  # (steps, n_act)


class Window(NamedTuple):
    """Input of `adapt`."""

    obs: FloatArray  # (episodes, steps + 1, n_obs)
    action: FloatArray  # (episodes, steps, n_act)
    mask: FloatArray  # (episodes, steps)

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Window:
        return cls(
            np.stack([episode.obs for episode in episodes]),
            np.stack([episode.action for episode in episodes]),
            np.stack([episode.mask for episode in episodes]),
        )
