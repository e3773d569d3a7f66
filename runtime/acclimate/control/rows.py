"""The rows of an episode while it is driven, a tick each; allocated before it begins."""

from __future__ import annotations

import numpy as np

from acclimate.bundle.manifest import Manifest
from acclimate.task.episode import Episode


class Rows:
    """`ticks` of them are filled; what has been driven so far is an episode of one transition less.

    measured: whether the reading of the tick was a new and usable one.
    driven:   whether the action got through as the controller gave it.
    acted:    a tick earlier: whether the controller acted at all; if not, what it remembers is not on record.
    """

    def __init__(self, steps: int, m: Manifest) -> None:
        self.obs = np.zeros((steps + 1, m.n_obs), np.float32)
        self.action = np.zeros((steps, m.n_act), np.float32)
        self.applied = np.zeros((steps, m.n_act), np.float32)
        self.measured = [False] * (steps + 1)  # lists: a tick writes one entry of each
        self.driven = [False] * steps
        self.acted = [True] * (steps + 1)
        self.ticks = 0

    def episode(self) -> Episode:
        """What is there so far: at least two ticks."""
        n = self.ticks - 1
        mask = np.array(self.measured[:n]) & self.measured[1 : n + 1] & self.driven[:n] & self.acted[:n]
        return Episode(self.obs[: n + 1], self.action[:n], mask.astype(np.float32), self.applied[:n])
