"""A small real device for tests: one joint that follows its duty, sampled on whatever clock it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.device import Channel, Clock, DeviceCaps, Sample
from acclimate.errors import DeviceFault

CAPS = DeviceCaps(
    sensors=(Channel("velocity", "rad/s", -40.0, 40.0), Channel("position", "rad", -3.2, 3.2)),
    actuators=(Channel("brake", "1", 0.5, 1.0), Channel("duty", "1", -1.0, 1.0)),
    rate_hz=100.0,
    boot_id=7,
    firmware="joint 1",
)


class ManualClock:
    """Time that passes only when somebody sleeps; `late_by` makes chosen sleeps return too late."""

    def __init__(self, late_by: Callable[[int], float] = lambda _: 0.0) -> None:
        self._now, self._sleeps, self._late_by = 0.0, 0, late_by

    def now(self) -> float:
        return self._now

    def sleep_until(self, t: float) -> None:
        self._now = max(self._now, t + self._late_by(self._sleeps))
        self._sleeps += 1


@dataclass
class Joint:
    """First-order joint: velocity = gain · duty. Integrated over the time that has passed on `clock`.

    distort: changes what `latest` returns, by the number of the call: how tests bring faults in. Call −1 comes before
             the loop arms it, call 0 right after that.
    """

    clock: Clock
    gain: float = 3.0
    distort: Callable[[int, Sample], Sample | None] = lambda _, sample: sample
    caps: DeviceCaps = CAPS
    commands: list[FloatArray] = field(default_factory=list)
    rearmed: list[Sample] = field(default_factory=list)
    starts: int = 0
    stopped: bool = True
    lost: bool = False
    position: float = 0.2
    _duty: float = 0.0
    _then: float = 0.0
    _seq: int = 0
    _calls: int = 0

    def start(self, period: float) -> None:
        del period
        self.starts += 1
        self.stopped = False
        self._then = self.clock.now()

    def rearm(self, sample: Sample) -> None:
        self.rearmed.append(sample)

    def latest(self) -> Sample | None:
        if self.lost:
            raise DeviceFault("the link to the joint is lost")
        self._integrate()
        self._seq += 1
        self._calls += 1
        values = np.array([self.gain * self._duty, self.position], np.float32)
        return self.distort(self._calls - 2, Sample(values, self.clock.now(), self._seq))

    def command(self, targets: FloatArray) -> None:
        self._integrate()
        self.commands.append(targets.copy())
        self._duty = float(targets[1])

    def idle(self, targets: FloatArray) -> None:
        self.command(targets)

    def stop(self) -> None:
        self.stopped = True
        self._duty = 0.0

    def close(self) -> None:
        self.stop()

    def _integrate(self) -> None:
        now = self.clock.now()
        self.position = max(
            -math.pi, min(math.pi, self.position + self.gain * self._duty * (now - self._then))
        )
        self._then = now


def hold_reference(obs: FloatArray, steps: int = 20) -> FloatArray:
    """A step of 0.3 rad from where the joint is."""
    reference = np.zeros((steps + 1, 2), np.float32)
    reference[:, 0] = obs[0] + 0.3
    return reference
