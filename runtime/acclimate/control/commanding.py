"""What a device is told: an action within its limits, or neutral."""

from __future__ import annotations

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.control.channel_map import ChannelMap
from acclimate.control.device import Device, Sample
from acclimate.control.loop_stats import Tally


class Commander:
    """Clamps and slew-limits actions, and knows neutral; sends either. Nothing here allocates in a tick.

    An actuator whose neutral is "hold" is told to stay where it was measured when neutral was called for, until it is
    driven again: to follow every new reading would let a load pull it away bit by bit.
    """

    def __init__(self, device: Device, channels: ChannelMap, tally: Tally) -> None:
        n_act = len(channels.actuators)
        self._device, self._channels, self._tally = device, channels, tally
        self.applied: FloatArray = np.zeros(n_act, np.float32)  # (n_act,) the action that was commanded last
        self.asked: FloatArray = np.zeros(
            len(channels.told), np.float32
        )  # the reference, for a device that is told it
        self._targets = channels.neutral.copy()
        self._low, self._high = np.zeros(n_act, np.float32), np.zeros(n_act, np.float32)
        self._standing = np.full(
            len(channels.held), np.nan, np.float32
        )  # where held actuators were measured last
        self._resting = False

    def note(self, sample: Sample) -> None:
        """See where the actuators stand, also by a reading that is no good for anything else."""
        if self._standing.size:
            found = sample.values[self._channels.held_at]
            np.copyto(self._standing, found, where=np.isfinite(found))

    def rearm(self) -> None:
        """The device was off, and may stand elsewhere: hold it where it is measured next."""
        self._resting = False

    def neutral(self) -> bool:
        """Command neutral; False, and nothing is sent, where an actuator is to be held but was not yet measured."""
        channels = self._channels
        if not self._resting:
            if np.isnan(self._standing).any():
                return False
            self._targets[...] = channels.neutral
            held = channels.actuators[channels.held]
            self._targets[held] = np.clip(
                self._standing, channels.low[channels.held], channels.high[channels.held]
            )
            self.applied[...] = self._targets[channels.actuators]
            self._resting = True
        self._device.command(self._targets)
        return True

    def act(self, action: FloatArray) -> bool:
        """Command a finite action (n_act,) as far as the limits allow; False where the slew limit held it back."""
        slewed = self._limit(action)
        self._targets[self._channels.actuators] = self.applied
        self._targets[self._channels.told] = self.asked
        self._resting = False
        self._device.command(self._targets)
        return not slewed

    def _limit(self, action: FloatArray) -> bool:
        """Clamp, then slew-limit, `action` into `applied`; True where the slew limit held it back."""
        channels, applied = self._channels, self.applied
        np.subtract(applied, channels.slew, out=self._low)
        np.add(applied, channels.slew, out=self._high)
        np.clip(action, channels.low, channels.high, out=applied)
        self._tally.clamped += bool((applied != action).any())
        slewed = bool((applied < self._low).any() or (applied > self._high).any())
        if slewed:
            np.clip(applied, self._low, self._high, out=applied)
            self._tally.slewed += 1
        return slewed
