"""OBS frames taken in: which is the newest, how old it is, what it says of the device, and how regularly it comes."""

from __future__ import annotations

from collections import deque

import numpy as np
from acclimate.control.device import Clock, Sample

from acclimate_bridge.link.messages import Obs, Schema, State, from_wire, newer, why_safe
from acclimate_bridge.link.time_sync import TimeSync
from acclimate_bridge.link.wire import Frame

STALE_PERIODS = 3.0  # control periods after which a reading is outdated
_REFUSED = frozenset({"refused"})  # it refuses commands, and does not say that it is latched
_HORIZON = 0x4000  # readings: after a pause in which more may have come, a seq tells no order
_BACKLOG = (
    0.2  # s after such a pause in which any seq is taken: first comes what was left unread, then a leap
)
_GAPS = 200  # between arrivals that are kept
_BURSTS = 1.3  # control periods between arrivals, on average, from which on they come in bursts
_SOME = 50  # gaps, before that is judged


class Observer:
    """What a device has observed, and how well the link passes it on."""

    def __init__(
        self, schema: Schema, sync: TimeSync, clock: Clock, period: float, obs_period: float
    ) -> None:
        """period: of control, in s; obs_period: from one OBS to the next."""
        self.obs: Obs | None = None
        self.outdated = STALE_PERIODS * period
        self._schema, self._sync, self._clock = schema, sync, clock
        self._period, self._horizon = period, _HORIZON * obs_period
        self._sample: Sample | None = None
        self.stamp_us = 0  # the device's, of the newest reading
        self._arrived = clock.now()
        self._lenient = 0.0  # until when any seq is taken
        self._gaps: deque[float] = deque(maxlen=_GAPS)

    def take(self, frame: Frame) -> None:
        """An OBS of this session; one that was overtaken by another is ignored."""
        now = self._clock.now()
        if self._is_overtaken(frame, now):
            return
        obs = Obs.unpack(frame.payload)
        # A new reading with an old stamp: the device's clock stands still, or has jumped back.
        stands = self.obs is not None and not 0 < (frame.t_us - self.stamp_us) & 0xFFFFFFFF < 1 << 31
        faults = self._faults(obs)
        if now > self._arrived and self.obs is not None:
            self._gaps.append(now - self._arrived)
        self.obs, self.stamp_us, self._arrived = obs, frame.t_us, now
        values = np.array(from_wire(obs.values, self._schema.sensors), dtype=np.float32)
        # It was measured before it arrived, whatever the device's clock says.
        t = min(self._sync.to_host(frame.t_us), now)
        self._sample = Sample(values, t, frame.seq, stands, faults, obs.latches)

    def latest(self) -> Sample | None:
        """The newest reading, marked where it was measured, or has arrived, too long ago; None before the first."""
        sample = self._sample
        if sample is None or sample.stale:
            return sample
        if self._clock.now() - sample.t > self.outdated:
            self._sample = sample = sample._replace(stale=True)
        return sample

    def forget_rhythm(self) -> None:
        """What has arrived so far came at another period, or was not asked for."""
        self._gaps.clear()

    @property
    def arrival_gap(self) -> float:
        """From one arrival of readings to the next, on average, in s; 0 where too few have come to say."""
        return float(np.mean(self._gaps)) if len(self._gaps) >= _SOME else 0.0

    @property
    def bursts(self) -> bool:
        """Whether readings come several at a time, with pauses that are longer than a control period."""
        return self.arrival_gap > _BURSTS * self._period

    def _is_overtaken(self, frame: Frame, now: float) -> bool:
        if now - self._arrived > self._horizon:
            self._lenient = now + _BACKLOG
        return self._sample is not None and now > self._lenient and not newer(frame.seq, self._sample.seq)

    def _faults(self, obs: Obs) -> frozenset[str]:
        """What keeps the device from obeying. Refusals while it was latched are over once it is not."""
        before = self.obs
        faults = why_safe(obs.state, obs.faults)
        if faults or before is None or before.state == State.SAFE or before.refused == obs.refused:
            return faults
        return _REFUSED
