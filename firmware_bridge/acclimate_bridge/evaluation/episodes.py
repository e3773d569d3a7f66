"""What the episodes of a trial are: how long, what there is to follow in each, and where each begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.trial import EpisodeKey, Purpose
from acclimate.errors import UsageError
from acclimate.policy.continual import Continual
from acclimate.task.references import draw
from acclimate.task.spec import TaskSpec

from acclimate_bridge.simulation.seeding import generator

_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def episode_steps(manifest: Manifest) -> int:
    """Ticks of one episode: as in the bundle's window, or else as the task has them."""
    exploring = manifest.window is not None and not Continual.suits(manifest)
    return manifest.window.steps if manifest.window and exploring else manifest.task.horizon


def allowed_shots(manifest: Manifest, wanted: int | None) -> int:
    """Adaptation steps as asked for, or for None as many as the bundle allows. Raises UsageError.

    Steps that infer an objective are taken only where asked for: few devices measure a reward.
    """
    if Continual.suits(manifest):
        if wanted:
            raise UsageError(
                f"bundle {manifest.name!r} adapts while it drives, without shots; leave out --shots, found {wanted}"
            )
        return 0
    most = manifest.adaptation.max_steps if manifest.adaptation else 0
    usual = most if manifest.objectives is None else 0
    shots = usual if wanted is None else wanted
    if not 0 <= shots <= most:
        raise UsageError(f"shots must be from 0 to {most} with bundle {manifest.name!r}, found {shots}")
    return shots


class SeededEpisodes:
    """References drawn by the spec, that begin where the machine stands. The same for every controller.

    What is measured after each adaptation step is the same references as before it, so that the two compare
    pair by pair. Exploration meets new ones every time. A machine that follows nothing begins each episode anew.
    """

    def __init__(
        self, spec: TaskSpec, steps: int, seed: int, *key: int, begin: Callable[[], bool] | None = None
    ) -> None:
        """begin: has the device put its machine back, where it can."""
        self._spec, self._steps = spec, steps
        self._seed, self._key = seed, key
        self._begin = begin if spec.reference is None else None
        self._sensors = [spec.index(name) for channel in spec.sensors for name in channel.scalars]

    def __call__(self, obs: FloatArray, key: EpisodeKey) -> FloatArray:
        """obs (n_obs,) -> reference (steps + 1, n_ref)."""
        if self._begin is not None:
            self._begin()
        shot = 0 if key.purpose == "measure" else key.shot
        rng = generator(self._seed, *self._key, _PURPOSES.index(key.purpose), shot, key.number)
        start: FloatArray = obs[None, self._sensors]  # (1, n_sensors)
        return np.asarray(draw(self._spec, rng, start, self._steps)[0], np.float32)
