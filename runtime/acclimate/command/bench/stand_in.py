"""A device that takes no time: it measures the middle of every range, so that what is left is the runtime's own."""

from __future__ import annotations

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.channel_map import scalars
from acclimate.control.device import Clock, DeviceCaps, Sample


class StandIn:
    """Fits the manifest's channels and rate; see `acclimate.control.device.Device`."""

    def __init__(self, manifest: Manifest, clock: Clock) -> None:
        sensors = [c for o in manifest.task.sensors for c in scalars(o)]
        actuators = [c for a in manifest.action for c in scalars(a)]
        rate = 1.0 / manifest.control_dt
        self.caps = DeviceCaps(tuple(sensors), tuple(actuators), rate, boot_id=0, firmware="stand-in")
        self._values = np.array([0.5 * (c.minimum + c.maximum) for c in sensors], np.float32)
        self._clock, self._seq = clock, 0

    def start(self, period: float) -> None:
        """Always ready."""

    def rearm(self, sample: Sample) -> None:
        """It never goes safe."""

    def latest(self) -> Sample:
        self._seq += 1
        return Sample(self._values, self._clock.now(), self._seq)

    def command(self, targets: FloatArray) -> None:
        """Moves nothing."""

    def idle(self, targets: FloatArray) -> None:
        """Rests as it drives."""

    def stop(self) -> None:
        """Never moves."""

    def close(self) -> None:
        """Holds nothing."""
