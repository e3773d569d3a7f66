"""A device that is looked at and not moved: what it would have been told is counted instead."""

from __future__ import annotations

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.device import Channel, Device, DeviceCaps, Sample
from acclimate.errors import DeviceFault
from acclimate.fields import Json

_BEGINNING = frozenset({"session", "stopped"})  # it has not been armed: that is as it should be


class DryRun:
    """An `acclimate.control.device.Device` around another one, which is never armed."""

    def __init__(self, device: Device) -> None:
        self._device = device
        n = len(device.caps.actuators)
        self._first: FloatArray | None = None
        self._last: FloatArray = np.zeros(n, np.float32)
        self._low, self._high = np.full(n, np.inf, np.float32), np.full(n, -np.inf, np.float32)
        self._step: FloatArray = np.zeros(n, np.float32)
        self.commands = 0

    @property
    def caps(self) -> DeviceCaps:
        return self._device.caps

    def start(self, period: float) -> None:
        """It stays as safe as it is. Raises DeviceFault where it could not be armed as it is."""
        del period
        sample = self._device.latest()
        if sample is not None and sample.faults - _BEGINNING:
            raise DeviceFault(f"the device is in fault ({', '.join(sorted(sample.faults - _BEGINNING))})")

    def rearm(self, sample: Sample) -> None:
        """There is nothing that could trip."""

    def latest(self) -> Sample | None:
        """As it is, and as if it obeyed."""
        sample = self._device.latest()
        return None if sample is None else sample._replace(faults=sample.faults - _BEGINNING)

    def command(self, targets: FloatArray) -> None:
        """Counted, and not sent."""
        if self._first is None:
            self._first = targets.copy()
        else:
            np.maximum(self._step, np.abs(targets - self._last), out=self._step)
        np.minimum(self._low, targets, out=self._low)
        np.maximum(self._high, targets, out=self._high)
        self._last[...] = targets
        self.commands += 1

    def idle(self, targets: FloatArray) -> None:
        """It is idle."""

    def stop(self) -> None:
        """It was never armed."""

    def close(self) -> None:
        self._device.close()

    def tree(self) -> dict[str, Json]:
        """What it would have been told, by actuator; docs/cli.md documents the fields."""
        if self._first is None:
            return {"commands": 0, "actuators": []}
        rows = zip(self.caps.actuators, self._first, self._low, self._high, self._step, strict=True)
        return {
            "commands": self.commands,
            "actuators": [
                {
                    "name": channel.name,
                    "unit": channel.unit,
                    "first": float(first),
                    "lowest": float(low),
                    "highest": float(high),
                    "largest_step": float(step),
                }
                for channel, first, low, high, step in rows
            ],
        }

    def lines(self) -> list[str]:
        """The same for people."""
        if self._first is None:
            return ["nothing would have been sent"]
        rows = zip(self.caps.actuators, self._first, self._low, self._high, self._step, strict=True)
        return [
            f"{'nothing was moved':<20} {self.commands} commands would have been sent",
            *(
                f"{channel.name:<20} {first:.4g} at first, from {low:.4g} to {high:.4g}{_unit(channel)}, by at most "
                f"{step:.4g} a tick"
                for channel, first, low, high, step in rows
            ),
        ]


def _unit(channel: Channel) -> str:
    return "" if channel.unit == "1" else f" {channel.unit}"
