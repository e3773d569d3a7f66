"""Episodes of a trial kept in memory, and written as one .npz that numpy reads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

import numpy as np

from acclimate.atomic import write_atomically
from acclimate.control.trial import EpisodeKey, Purpose
from acclimate.task.episode import Episode

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Recording:
    """Collects episodes of equal length, in the order in which they ran; give it to `Trial` as `record`."""

    def __init__(self) -> None:
        self.keys: list[EpisodeKey] = []
        self.episodes: list[Episode] = []

    def __call__(self, key: EpisodeKey, episode: Episode) -> None:
        self.keys.append(key)
        self.episodes.append(episode)

    def save(self, path: Path) -> None:
        """Write arrays with one row per episode.

        obs (n, steps + 1, n_obs), action and applied (n, steps, n_act), mask (n, steps); shot (n,): adaptation
        steps before it; purpose (n,): 0 measure, 1 explore, 2 wait.
        """
        arrays = {name: np.stack([getattr(e, name) for e in self.episodes]) for name in Episode._fields}
        arrays["shot"] = np.array([key.shot for key in self.keys], np.int64)
        arrays["purpose"] = np.array([PURPOSES.index(key.purpose) for key in self.keys], np.int64)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes names for allow_pickle
        write_atomically(path, buffer.getvalue())
