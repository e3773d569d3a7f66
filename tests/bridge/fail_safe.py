"""A real loop, link and device core in one process, on simulated time; tests put faults between them by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.loop import ControlLoop
from acclimate.policy.policy import Scope
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.profile import Profile
from acclimate_bridge.simulation.servo.machine import SCHEMA


class Wire(LockstepTransport):
    """All bytes pass through two functions that a test may set."""

    to_device: Callable[[bytes], bytes] = staticmethod(lambda data: data)
    to_host: Callable[[bytes], bytes] = staticmethod(lambda data: data)

    def read(self) -> bytes:
        return self.to_host(super().read())

    def write(self, data: bytes) -> None:
        super().write(self.to_device(data))


class Cart:
    """A plant that moves at once, turns around at ±1 rad, and remembers until when it was driven."""

    def __init__(self) -> None:
        self.time, self.moved_until = 0.0, -math.inf
        self.duty, self._way = 0.0, 0.0

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        self.duty = targets[0]
        if self.duty:
            self.moved_until = now

    rest = set_targets

    def advance(self, now: float) -> None:
        self._way += self.duty * (now - self.time)
        self.time = now
        if self.duty:
            self.moved_until = now

    def measure(self) -> tuple[float, ...]:
        return math.asin(math.sin(self._way)), self.duty

    def begin(self) -> bool:
        return False


class Pushing:
    """Drives with the same duty always, and counts its ticks."""

    def __init__(self, duty: float = 0.3) -> None:
        self.ticks, self._action = 0, np.array([duty], np.float32)

    def reset(self, scope: Scope) -> None:
        """It remembers nothing."""

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        del obs, noise
        self.ticks += 1
        return self._action


class Bench:
    """All of it, connected and armed; see its parts."""

    def __init__(self, manifest: Manifest, rate: float = 100.0, profile: Profile | None = None) -> None:
        task = replace(manifest.task, control_dt=1.0 / rate)
        self.manifest, self.dt = replace(manifest, task=task), 1.0 / rate
        self.clock, self.cart, self.controller = VirtualClock(50.0), Cart(), Pushing()
        self.core = DeviceCore(self.cart, profile or Profile(SCHEMA, rate), boot_id=9, now=50.0)
        self.rejoin()

    def rejoin(self) -> None:
        """Another program, with a link and a loop of its own, to the same device."""
        self.wire = Wire(self.core, self.clock)
        self.link = HostLink(self.wire, self.clock, samples_per_period=1)
        self.loop = ControlLoop(self.controller, self.link, self.clock, self.manifest)

    def drive(self, seconds: float, between: Callable[[], None] | None = None) -> np.ndarray:
        """One episode of so many seconds; returns its mask."""
        steps = round(seconds / self.dt)
        return self.loop.run_episode(np.zeros((steps + 1, 2), np.float32), between=between).mask

    def at_tick(self, number: int, event: Callable[[], None]) -> Callable[[], None]:
        """For `drive`: have it happen after the command of this tick, counted from 0 at the first call."""
        count = iter(range(1 << 30))

        def between() -> None:
            if next(count) == number:
                event()

        return between

    def pause(self, seconds: float) -> None:
        """What a program does that is held up: nothing, while the device lives on."""
        self.clock.sleep_until(self.clock.now() + seconds)
