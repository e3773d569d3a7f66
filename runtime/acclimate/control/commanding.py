"""What a device is told: an action within its limits, or neutral."""

from __future__ import annotations

import math

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.control.channel_map import ChannelMap
from acclimate.control.device import Device, Sample
from acclimate.control.loop_stats import Tally


class Commander:
    """Clamps and slew-limits actions, and knows neutral; sends either. Nothing here allocates in a tick.

    An actuator whose neutral is "hold" is told to stay where it was measured when neutral was called for, until it is
    driven again: to follow every new reading would let a load pull it away bit by bit. One that the task does not speak
    of is held where it was found. What is measured under its own name is slewed from where it stands, not from neutral.
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
        self._standing = [math.nan] * len(channels.own)  # where each of these was measured last
        self._found = list(self._standing)  # and where it was when the device was armed
        self._resting = False

    def note(self, sample: Sample) -> None:
        """See where the actuators stand, also by a reading that is no good for anything else."""
        for i, own in enumerate(self._channels.own):
            at = float(sample.values[own.sensor])
            if math.isfinite(at):
                self._standing[i] = at

    def rearm(self) -> None:
        """The device was off, and may stand elsewhere: hold it where it is measured next."""
        self._found = [math.nan] * len(self._found)
        self._resting = False

    def neutral(self) -> bool:
        """Go to neutral; False, and nothing is sent, where an actuator is to be held but was not yet measured."""
        if not self._resting and not self._rest():
            return False
        self._device.idle(self._targets)
        return True

    def _rest(self) -> bool:
        channels = self._channels
        self._found = [
            at if math.isnan(found) else found for at, found in zip(self._standing, self._found, strict=True)
        ]
        kept = [*zip(channels.own, self._standing, self._found, strict=True)]
        if any(own.held and math.isnan(at) for own, at, _ in kept):
            return False
        self._targets[...] = channels.neutral
        for own, at, found in kept:
            if own.held:
                self._targets[own.actuator] = own.within(found if own.entry is None else at)
        self.applied[...] = self._targets[channels.actuators]
        self._resting = True
        return True

    def act(self, action: FloatArray) -> bool:
        """Command a finite action (n_act,) as far as the limits allow; False where the slew limit held it back."""
        if self._resting:
            self._leave_rest()
        slewed = self._limit(action)
        self._targets[self._channels.actuators] = self.applied
        self._targets[self._channels.told] = self.asked
        self._device.command(self._targets)
        return not slewed

    def _leave_rest(self) -> None:
        self._resting = False
        for own, at in zip(self._channels.own, self._standing, strict=True):
            if own.entry is not None and not math.isnan(at):
                self.applied[own.entry] = own.within(at)

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
