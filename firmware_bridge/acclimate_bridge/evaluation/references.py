"""References for a trial on a tracking device, seeded so that every controller meets the same ones."""

from __future__ import annotations

from typing import get_args

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.channel_map import scalars
from acclimate.control.references import tracking_reference
from acclimate.control.trial import EpisodeKey, Purpose
from acclimate.errors import UsageError

DEFAULT_STEPS = 100
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_KNOWN = ("target", "target_velocity")


def episode_steps(manifest: Manifest) -> int:
    """Ticks of one episode: as in the bundle's window, or 100."""
    return manifest.window.steps if manifest.window else DEFAULT_STEPS


def generator(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for every key, independent of the others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class TrackingReferences:
    """Random references that begin where the joint stands.

    What is measured after each adaptation step is the same references as before it, so that the two compare
    pair by pair. Exploration meets new ones every time.
    """

    def __init__(self, manifest: Manifest, steps: int, seed: int, *key: int) -> None:
        """Raises UsageError where the bundle wants other references than a target and its velocity."""
        wanted = [c.name for o in manifest.observation if o.source == "reference" for c in scalars(o)]
        unknown = [name for name in wanted if name not in _KNOWN]
        observed = [c.name for o in manifest.observation for c in scalars(o)]
        if unknown or "position" not in observed:
            raise UsageError(
                f"bundle {manifest.name!r} is not for tracking: expected an observation 'position' "
                f"and references among {', '.join(_KNOWN)}, found {', '.join(observed)}"
            )
        self._columns = tuple(_KNOWN.index(name) for name in wanted)
        self._position = observed.index("position")
        self._dt, self._steps = manifest.control_dt, steps
        self._seed, self._key = seed, key

    def __call__(self, obs: FloatArray, key: EpisodeKey) -> FloatArray:
        """obs (n_obs,) -> reference (steps + 1, n_ref)."""
        shot = 0 if key.purpose == "measure" else key.shot
        rng = generator(self._seed, *self._key, _PURPOSES.index(key.purpose), shot, key.number)
        start = obs[self._position : self._position + 1]
        both = tracking_reference(rng, start, self._steps, self._dt)
        columns = [both[column][0] for column in self._columns]
        return np.stack(columns, axis=1) if columns else np.zeros((self._steps + 1, 0), np.float32)
