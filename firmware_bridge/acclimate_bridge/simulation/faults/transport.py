"""A device in this process behind a link on which things go wrong, on simulated time."""

from __future__ import annotations

import numpy as np

from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.pipe import NEVER, Pipe
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.lockstep import Clock

_SILENT = 0.3  # s of a brown-out, in which there is only noise


class FaultyTransport:
    """As `LockstepTransport`, but bytes arrive when and as the plan has it; the device lives through each moment."""

    def __init__(self, core: DeviceCore, clock: Clock, plan: FaultPlan, rng: np.random.Generator) -> None:
        self.name = "simulated device"
        self.bits_per_s: int | None = None
        to_device, to_host, self._rng = rng.spawn(3)
        self.to_device, self.to_host = Pipe(plan, to_device), Pipe(plan, to_host, bursts=True)
        self._core, self._clock, self._plan = core, clock, plan
        self._begun = self._at = clock.now()
        self._reset_at = self._moment(plan.reset)
        self._dark_at = self._moment(plan.brown_out)
        self._gone_at = self._moment(plan.unplug)

    def read(self) -> bytes:
        now = self._clock.now()
        self._live(now)
        return self.to_host.take(now)

    def write(self, data: bytes) -> None:
        now = self._clock.now()
        self._live(now)
        if not self._unplugged(now):
            self.to_device.feed(data, now)

    def change(self, to_device: FaultPlan, to_host: FaultPlan) -> None:
        """From now on other plans for what happens to frames; what happens to the device stays as it is."""
        self._live(self._clock.now())
        self.to_device.change(to_device)
        self.to_host.change(to_host)

    def close(self) -> None:
        """Nothing to release."""

    def _live(self, now: float) -> None:
        """Everything until `now`, in its order."""
        while self._at < now:
            event = self._core.next_event() / (1.0 + self._plan.drift)
            at = min(max(min(event, self.to_device.next_due, self._reset_at, self._dark_at), self._at), now)
            self._at = at
            self._arrive(self.to_device.take(at), at)
            self._fail(at)
            sent = self._core.advance(self._time(at))
            if not self._unplugged(at):
                self.to_host.feed(sent, at)
        self._arrive(self.to_device.take(now), now)

    def _arrive(self, data: bytes, at: float) -> None:
        if data:
            self._core.feed(data, self._time(at))

    def _fail(self, at: float) -> None:
        if at >= self._dark_at:
            self._dark_at = NEVER
            self._reset_at = at + _SILENT
            self.to_host.feed(self._rng.bytes(int(self._rng.integers(1, 200))), at)
        if at >= self._reset_at:
            self._reset_at = NEVER
            self._core.reboot(int(self._rng.integers(1, 2**32)), self._time(at))

    def _unplugged(self, at: float) -> bool:
        return self._gone_at <= at < self._gone_at + self._plan.unplugged

    def _time(self, at: float) -> float:
        """The device's own."""
        return at * (1.0 + self._plan.drift)

    def _moment(self, after: float) -> float:
        return self._begun + after if after else NEVER
