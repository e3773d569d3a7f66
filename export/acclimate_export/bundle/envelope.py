"""Where a policy may begin: what the sensors read where episodes of training began."""

from __future__ import annotations

import numpy as np

from acclimate_export.bundle.trained import Trained

_MACHINES, _SEED = 1024, 271
_ROOM = 0.05  # of what was seen, on either side …
_LEAST = 0.02  # … or of the channel's range, whatever is more: sensors are noisy, and a real machine is never at rest


def start_envelope(trained: Trained) -> dict[str, tuple[float, float]]:
    """From where to where each sensor read at the beginning of an episode, over many machines of the family."""
    family, rng = trained.family, np.random.default_rng(_SEED)
    spec = family.spec
    session = family.open(family.sample(_MACHINES, rng), 1, 1, rng)
    first = session.obs[:, 0].detach().numpy()  # (machines, n_obs)
    ranges = {
        name: (channel.minimum, channel.maximum)
        for channel in spec.sensors
        if channel.source == "device"
        for name in channel.scalars
    }
    return {name: _with_room(first[:, spec.index(name)], *ends) for name, ends in ranges.items()}


def _with_room(seen: np.ndarray, minimum: float, maximum: float) -> tuple[float, float]:
    low, high = float(seen.min()), float(seen.max())
    room = max(_ROOM * (high - low), _LEAST * (maximum - minimum))
    return max(round(low - room, 3), minimum), min(round(high + room, 3), maximum)
