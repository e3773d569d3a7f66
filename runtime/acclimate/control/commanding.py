"""What a device is told: an action within its limits, or neutral."""

from __future__ import annotations

import math

from acclimate.arrays import FloatArray
from acclimate.control.channel_map import ChannelMap
from acclimate.control.device import Device, Sample
from acclimate.control.loop_stats import Tally


class Commander:
    """Clamps and slew-limits actions, and knows neutral; sends either.

    An actuator whose neutral is "hold" is told to stay where it was measured when neutral was called for, until it is
    driven again: to follow every new reading would let a load pull it away bit by bit. One that the task does not speak
    of is held where it was found. What is measured under its own name is slewed from where it stands, not from neutral.

    In plain numbers: a machine has few actuators, and arrays of two cost more than they save.
    """

    def __init__(self, device: Device, channels: ChannelMap, tally: Tally, max_action: float = 1.0) -> None:
        """max_action: the share of the way from neutral to each limit that may be used."""
        self._device, self._channels, self._tally = device, channels, tally
        self._driving = [limit.narrowed(max_action) for limit in channels.limits]
        self._exploring = [limit.gentle() for limit in self._driving]
        self._limits = self._driving
        self._actuators: list[int] = channels.actuators.tolist()
        self._told: list[int] = channels.told.tolist()
        self.applied: list[float] = [math.nan] * len(self._limits)  # the action that was commanded last
        self.asked: list[float] = [math.nan] * len(self._told)  # the reference, for a device that is told it
        self._targets: FloatArray = channels.neutral.copy()
        self._standing = [math.nan] * len(channels.own)  # where each of these was measured last
        self._found = list(self._standing)  # and where it was when the device was armed
        self._resting = False

    def explores(self, does: bool) -> None:
        """Whether what follows is exploration, which may have limits of its own."""
        self._limits = self._exploring if does else self._driving

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
        channels, standing = self._channels, self._standing
        self._found = [a if math.isnan(b) else b for a, b in zip(standing, self._found, strict=True)]
        held = [each for each in zip(channels.own, standing, self._found, strict=True) if each[0].held]
        if any(math.isnan(at) for _, at, _ in held):
            return False
        self._targets[...] = channels.neutral
        for own, at, found in held:
            self._targets[own.actuator] = own.within(found if own.entry is None else at)
        self.applied = self._targets[channels.actuators].tolist()
        self._resting = True
        return True

    def act(self, action: FloatArray) -> bool | None:
        """Command (n_act,) as far as the limits allow; False where the slew limit held it back.

        None where it is not finite: nothing is commanded then.
        """
        wanted: list[float] = action.tolist()
        if not all(limit.low <= x <= limit.high for x, limit in zip(wanted, self._limits, strict=True)):
            if not all(map(math.isfinite, wanted)):
                return None
            self._tally.clamped += 1
            wanted = [limit.within(x) for x, limit in zip(wanted, self._limits, strict=True)]
        if self._resting:
            self._leave_rest()
        through = self._slew(wanted)
        self._device.command(self._targets)
        return through

    def _leave_rest(self) -> None:
        self._resting = False
        for own, at in zip(self._channels.own, self._standing, strict=True):
            if own.entry is not None and not math.isnan(at):
                self.applied[own.entry] = own.within(at)

    def _slew(self, wanted: list[float]) -> bool:
        """Take `wanted` as far as the slew limits let it go; False where that is not all the way."""
        applied, targets, through = self.applied, self._targets, True
        for i, (at, limit) in enumerate(zip(self._actuators, self._limits, strict=True)):
            x, before = wanted[i], applied[i]
            if not -limit.slew <= x - before <= limit.slew:
                x, through = before + math.copysign(limit.slew, x - before), False
            applied[i] = targets[at] = x
        for at, x in zip(self._told, self.asked, strict=True):
            targets[at] = x
        self._tally.slewed += not through
        return through
