"""Tracking references for callers that have no task specification yet: see `acclimate.task.references`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.task.references import follow
from acclimate.task.spec import Track, TrackingReference

_TRACK = Track("position", "target", "target_velocity")
_KIND = TrackingReference((_TRACK,))
SPEED = _KIND.speed


class Reference(NamedTuple):
    """`position` (rad) and `velocity` (rad/s), each float32 (n, steps + 1)."""

    position: FloatArray
    velocity: FloatArray


def tracking_reference(
    rng: np.random.Generator, start: NDArray[np.floating], steps: int, dt: float
) -> Reference:
    """Draw n references of `steps` ticks of `dt` seconds, each beginning at rest at `start` (n,) (rad)."""
    target, rate = follow(_KIND, _TRACK, rng, np.asarray(start, np.float64), steps, dt)
    return Reference(target.T, rate.T)
