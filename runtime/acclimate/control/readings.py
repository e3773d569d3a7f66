"""Readings that can be: whole, finite, within what the device declared, and answering to what it was told."""

from __future__ import annotations

import math

from acclimate.control.channel_map import ChannelMap
from acclimate.control.device import Channel, DeviceCaps, Sample
from acclimate.task.derivatives import derivative_pairs

SLACK = 0.05  # of a channel's range, beyond each end: sensors are noisy, and stops are elastic
_FROZEN = 1.0  # s without a change of any bit, under a large action, after which an encoder is held for dead
_LARGE = 0.5  # of half a range, from neutral, or from where it is measured: an action that must show
_WRAP = 0.05  # of a channel's range: a jump that lacks no more of it is taken for an angle that wraps around


class Readings:
    """Judges each reading of a device; what a policy may see of a good one is in `sensed`, in the task's order.

    In plain numbers: a machine has few channels, and arrays of two cost more than they save.
    """

    def __init__(self, channels: ChannelMap, caps: DeviceCaps, *, obeyed: bool = True) -> None:
        """obeyed: False where no action reaches the device, so that one that stands still is not broken."""
        self._obeyed = obeyed
        self._shape = (len(caps.sensors),)
        self._channels: list[Channel] = [caps.sensors[i] for i in channels.sensors]
        self._bounds = [
            (int(i), *_with_slack(channel))
            for i, channel in zip(channels.sensors, self._channels, strict=True)
        ]
        self._pairs = [(p, self._fastest(v)) for p, v in derivative_pairs(self._channels)]
        self._limits = channels.limits
        self._own = {own.entry: own.sensor for own in channels.own}
        self._period = 1.0 / caps.rate_hz
        self.sensed: list[float] = [math.nan] * len(self._channels)
        self._last: list[float] | None = None  # the newest good one
        self._last_t = math.nan
        self._before: list[float] = []  # the newest, good or not
        self._changed = math.nan  # when they were others

    def forget(self) -> None:
        """The machine may have been put back, or stood still unwatched: the next reading may be anywhere."""
        self._last, self._before = None, []

    def misshapen(self, sample: Sample) -> str | None:
        """What to say of a reading that does not have one value per sensor; such a one must not be looked into."""
        if sample.values.shape == self._shape:
            return None
        return f"gives values of shape {list(sample.values.shape)}, expected {list(self._shape)},"

    def problem(self, sample: Sample, applied: list[float]) -> str | None:
        """What makes a whole reading unusable, if anything, as the rest of a sentence.

        applied: the action that drives, or nothing where none does.
        """
        values: list[float] = sample.values.tolist()
        sensed = []
        for i, low, high in self._bounds:
            value = values[i]
            if not low <= value <= high:
                return self._beyond(values)
            sensed.append(value)
        t = sample.t
        found = None
        if self._last is not None and self._pairs:
            found = self._jump(sensed, self._last, t)
        if found is None and sensed == self._before:
            found = self._frozen(t, values, applied)
        else:
            self._before, self._changed = sensed, t
        if found is None:
            self.sensed = self._last = sensed
            self._last_t = t
        return found

    def _beyond(self, values: list[float]) -> str:
        worst = next(n for n, (i, low, high) in enumerate(self._bounds) if not low <= values[i] <= high)
        (name, unit, minimum, maximum), value = self._channels[worst], values[self._bounds[worst][0]]
        if not math.isfinite(value):
            return f"measures {name!r} as {value}, expected a finite number,"
        return f"measures {name!r} as {value:.4g} {unit}, outside of the {minimum:g} to {maximum:g} that it declares,"

    def _jump(self, sensed: list[float], last: list[float], t: float) -> str | None:
        """A position cannot move faster than the fastest velocity that its channel declares."""
        passed = max(t - self._last_t, 0.0) + self._period
        for i, fastest in self._pairs:
            moved = abs(sensed[i] - last[i])
            if moved > fastest * passed:
                return self._jumped(self._channels[i], moved, passed)
        return None

    def _jumped(self, channel: Channel, moved: float, passed: float) -> str:
        why = ""
        if moved > (1.0 - _WRAP) * (channel.maximum - channel.minimum):
            why = " (all of its range: its firmware must not wrap it around)"
        return (
            f"measures {channel.name!r} {moved:.4g} {channel.unit} from where it was {passed * 1e3:.0f} ms before, "
            f"faster than it can move{why},"
        )

    def _frozen(self, t: float, values: list[float], applied: list[float]) -> str | None:
        if t - self._changed >= _FROZEN:
            why = "under a large action (is its motor powered?), and this"
            return f"has not changed any reading for {_FROZEN:g} s {why}"
        if not (self._obeyed and self._must_move(values, applied)):
            self._changed = t
        return None

    def _must_move(self, values: list[float], applied: list[float]) -> bool:
        """Whether an actuator is told to be far from neutral; one that is measured itself, from where it stands."""
        for entry, (action, limit) in enumerate(zip(applied, self._limits, strict=False)):
            still = values[self._own[entry]] if entry in self._own else limit.neutral
            if not isinstance(still, str) and abs(action - still) >= _LARGE * 0.5 * (limit.high - limit.low):
                return True
        return False

    def _fastest(self, velocity: int) -> float:
        channel = self._channels[velocity]
        return (1.0 + SLACK) * max(abs(channel.minimum), abs(channel.maximum))


def _with_slack(channel: Channel) -> tuple[float, float]:
    slack = SLACK * (channel.maximum - channel.minimum)
    return channel.minimum - slack, channel.maximum + slack
