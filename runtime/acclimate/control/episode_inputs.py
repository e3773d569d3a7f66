"""What an episode is driven with, checked before it begins."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.channel_map import Reach
from acclimate.errors import UsageError


def check_reference(reference: FloatArray, columns: int, reaches: Iterable[Reach] = ()) -> None:
    """Raises UsageError for one that is not (steps + 1, columns) of finite numbers, or goes where the device cannot."""
    if reference.ndim != 2 or len(reference) < 2 or reference.shape[1] != columns:
        raise UsageError(
            f"reference has shape {list(reference.shape)}, expected [steps + 1, {columns}] with steps >= 1"
        )
    if not np.isfinite(reference).all():
        raise UsageError("reference holds values that are not finite")
    for name, column, low, high, unit in reaches:
        least, most = float(reference[:, column].min()), float(reference[:, column].max())
        if not low <= least <= most <= high:
            raise UsageError(
                f"the reference takes {name!r} from {least:.4g} to {most:.4g} {unit}, but this device measures from "
                f"{low:g} to {high:g}; ask for less"
            )


def draw_noise(manifest: Manifest, steps: int, rng: np.random.Generator | None) -> FloatArray:
    """For exploring, (steps, …) as the manifest says. Raises UsageError without a generator."""
    if rng is None:
        raise UsageError("an exploring episode needs rng, the generator that its noise is drawn from")
    scale = manifest.adaptation.explore_scale if manifest.adaptation else 1.0
    drawn: FloatArray = rng.standard_normal((steps, *manifest.noise.shape), dtype=np.float32)
    return drawn * np.float32(scale)


def stretch(places: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """As a slice where the places lie side by side, which is faster to write to."""
    if len(places) and bool((np.diff(places) == 1).all()):
        return slice(int(places[0]), int(places[-1]) + 1)
    return places
