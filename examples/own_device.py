"""A device of your own, complete: a polled bus with a reader thread and a watchdog.

    acclimate run examples/bundles/servo_wide_rl2.acclimate --device examples/own_device.py:open_device --seconds 5

Replace `Bus` by yours, and the channels by what it measures and obeys. docs/hardware.md says what each member must
do, and `acclimate.testing.check_device(open_device())` whether it does.
"""

from __future__ import annotations

import math
import random
import threading
import time

import acclimate
import numpy as np

_now = acclimate.RealClock().now  # what the loop's clock shows: readings are stamped with it

CAPS = acclimate.DeviceCaps(
    sensors=(
        acclimate.Channel("position", "rad", -1.7, 1.7),
        acclimate.Channel("velocity", "rad/s", -30.0, 30.0),
    ),
    actuators=(acclimate.Channel("duty", "1", -1.0, 1.0),),
    rate_hz=100.0,
    boot_id=random.getrandbits(32),  # another one each time the device begins anew
    firmware="own device 1",
    watchdog=(0.05, 0.5),  # what `start` may ask for, in s
)


class Bus:
    """Stands for your hardware: a motor without load that takes 2 ms to answer."""

    def __init__(self) -> None:
        self.position = self.velocity = 0.0
        self._then = _now()

    def exchange(self, duty: float) -> tuple[float, float]:
        """Write the duty, read position (rad) and velocity (rad/s)."""
        time.sleep(0.002)
        now = _now()
        elapsed, self._then = now - self._then, now
        self.velocity += (12.0 * duty - self.velocity) * (1.0 - math.exp(-elapsed / 0.06))
        self.position = min(max(self.position + self.velocity * elapsed, -1.7), 1.7)
        return self.position, self.velocity


class OwnDevice:
    """An `acclimate.Device`: the thread alone speaks with the bus; everything else only leaves it word."""

    caps = CAPS

    def __init__(self, bus: Bus) -> None:
        self._bus, self._lock = bus, threading.Lock()
        self._duty, self._driving, self._heard = 0.0, False, _now()
        self._patience = CAPS.watchdog[0]
        self._faults, self._latches = frozenset({"stopped"}), 0
        self._sample: acclimate.Sample | None = None
        self._lost: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def start(self, period: float) -> None:
        """Obey from now on, and be idle. The watchdog is as long as the loop expects for such a period."""
        shortest, longest = self.caps.watchdog
        with self._lock:
            self._patience = min(max(0.1, 4.0 * period, shortest), longest)
            self._duty, self._driving, self._faults = 0.0, False, frozenset()

    def rearm(self, sample: acclimate.Sample) -> None:
        """Clear the one latching that `sample` tells of."""
        with self._lock:
            if self._faults == {"watchdog"} and sample.latches == self._latches:
                self._duty, self._driving, self._faults = 0.0, False, frozenset()

    def latest(self) -> acclimate.Sample | None:
        """The newest reading; the loop must hear of it where there will be none any more."""
        if self._lost is not None:
            raise acclimate.DeviceFault(f"the bus is lost: {self._lost}")
        return self._sample

    def command(self, targets: np.ndarray) -> None:
        """Drive: `targets` is the loop's, so take the number, not the array."""
        with self._lock:
            self._duty, self._driving, self._heard = float(targets[0]), True, _now()

    def idle(self, targets: np.ndarray) -> None:
        """Neutral, which may last."""
        with self._lock:
            self._duty, self._driving = float(targets[0]), False

    def stop(self) -> None:
        """Safe until the next `start`."""
        self._latch("stopped")

    def close(self) -> None:
        """Stop, and end the thread, which leaves the bus with duty 0."""
        self.stop()
        self._closing.set()
        self._thread.join()

    def _latch(self, fault: str) -> None:
        with self._lock:
            if not self._faults:
                self._faults, self._latches = frozenset({fault}), self._latches + 1

    def _poll(self) -> None:
        number, due = 0, _now()
        try:
            while not self._closing.is_set():
                silent = _now() - self._heard
                if self._driving and silent > self._patience:  # the program is held up, or gone
                    self._latch("watchdog")
                position, velocity = self._bus.exchange(0.0 if self._faults else self._duty)
                values, number = np.array([position, velocity], np.float32), number + 1
                self._sample = acclimate.Sample(values, _now(), number, False, self._faults, self._latches)
                due = max(due + 0.5 / self.caps.rate_hz, _now())  # twice a tick: none is old
                time.sleep(due - _now() if due > _now() else 0.0)
            self._bus.exchange(0.0)
        except OSError as error:
            self._lost = str(error)


def open_device(request: acclimate.DeviceRequest | None = None) -> OwnDevice:
    """What `--device own_device.py:open_device` calls. What is behind another colon is `request.address.where`."""
    del request
    return OwnDevice(Bus())
