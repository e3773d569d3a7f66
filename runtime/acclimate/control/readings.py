"""Readings that can be: whole, finite, within what the device declared, and answering to what it was told."""

from __future__ import annotations

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.control.channel_map import ChannelMap
from acclimate.control.device import Channel, DeviceCaps, Sample
from acclimate.task.derivatives import derivative_pairs

SLACK = 0.05  # of a channel's range, beyond each end: sensors are noisy, and stops are elastic
_FROZEN = 1.0  # s without a change of any bit, under a large action, after which an encoder is held for dead
_LARGE = 0.5  # of full scale: an action that must show
_WRAP = 0.05  # of a turn: how near to one a jump is taken for an angle that wraps around


class Readings:
    """Judges each reading of a device; what a policy may see of a good one is in `sensed`, (n,) in the task's order."""

    def __init__(self, channels: ChannelMap, caps: DeviceCaps) -> None:
        self._take, self._shape = channels.sensors, (len(caps.sensors),)
        self._channels: list[Channel] = [caps.sensors[i] for i in channels.sensors]
        low, high = (np.array([getattr(c, e) for c in self._channels]) for e in ("minimum", "maximum"))
        slack = SLACK * (high - low)
        self._low, self._high = (low - slack).astype(np.float32), (high + slack).astype(np.float32)
        self._pairs = [(p, self._fastest(v)) for p, v in derivative_pairs(self._channels)]
        self._center, self._half = (channels.low + channels.high) / 2, (channels.high - channels.low) / 2
        self._period = 1.0 / caps.rate_hz
        self.sensed: FloatArray = np.zeros(len(self._channels), np.float32)
        self._last: FloatArray | None = None  # the newest good one
        self._last_t = 0.0
        self._raw, self._changed = b"", 0.0

    def forget(self) -> None:
        """The machine may have been put back: the next reading may be anywhere."""
        self._last = None

    def misshapen(self, sample: Sample) -> str | None:
        """What to say of a reading that does not have one value per sensor; such a one must not be looked into."""
        if sample.values.shape == self._shape:
            return None
        return f"gives values of shape {list(sample.values.shape)}, expected {list(self._shape)},"

    def problem(self, sample: Sample, applied: FloatArray) -> str | None:
        """What makes a whole reading unusable, if anything, as the rest of a sentence; applied (n_act,) drives it."""
        np.take(sample.values, self._take, out=self.sensed, mode="clip")
        if not bool(((self.sensed >= self._low) & (self.sensed <= self._high)).all()):
            return self._beyond()
        found = self._jump(sample.t) or self._frozen(sample, applied)
        if found is None:
            self._last, self._last_t = self.sensed.copy(), sample.t
        return found

    def _beyond(self) -> str:
        worst = int(np.argmin((self.sensed >= self._low) & (self.sensed <= self._high)))
        name, unit, minimum, maximum = self._channels[worst]
        value = self.sensed[worst]
        if not np.isfinite(value):
            return f"measures {name!r} as {value}, expected a finite number,"
        return f"measures {name!r} as {value:.4g} {unit}, outside of the {minimum:g} to {maximum:g} that it declares,"

    def _jump(self, t: float) -> str | None:
        """A position cannot move faster than the fastest velocity that its channel declares."""
        if self._last is None:
            return None
        passed = max(t - self._last_t, 0.0) + self._period
        for i, fastest in self._pairs:
            moved = abs(float(self.sensed[i]) - float(self._last[i]))
            if moved > fastest * passed:
                return self._jumped(self._channels[i], moved, passed)
        return None

    def _jumped(self, channel: Channel, moved: float, passed: float) -> str:
        turn = {"rad": 2 * np.pi, "deg": 360.0}.get(channel.unit)
        why = ""
        if turn is not None and abs(moved - turn) < _WRAP * turn:
            why = " (a full turn: its firmware must not wrap the angle around)"
        return (
            f"measures {channel.name!r} {moved:.4g} {channel.unit} from where it was {passed * 1e3:.0f} ms before, "
            f"faster than it can move{why},"
        )

    def _frozen(self, sample: Sample, applied: FloatArray) -> str | None:
        raw = sample.values.tobytes()
        if raw != self._raw:
            self._raw, self._changed = raw, sample.t
            return None
        if sample.t - self._changed < _FROZEN:
            if not bool((np.abs(applied - self._center) >= _LARGE * self._half).any()):
                self._changed = sample.t
            return None
        return f"has not changed any reading for {_FROZEN:g} s under a large action (is its motor powered?), and this"

    def _fastest(self, velocity: int) -> float:
        channel = self._channels[velocity]
        return (1.0 + SLACK) * max(abs(channel.minimum), abs(channel.maximum))
