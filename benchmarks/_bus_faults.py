"""A thousand faults on a bus, one after the other, and an eye on the servos themselves.

A motion is unsafe where a servo is driven by what its control process has not told that very servo within the last
0.15 s: the watchdog's 0.1 s and what it takes to act. So none may move by anything once the device is in fault.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.clock import RealClock
from acclimate.errors import DeviceFault
from acclimate_bridge.bus.device import BusDevice
from acclimate_bridge.bus.models import Family
from acclimate_bridge.bus.plan import BusPlan, Joint
from acclimate_bridge.simulation.bus.bus import DISTURBANCES, Disturbance, Disturber, SimulatedBus
from acclimate_bridge.simulation.bus.serving import ServedBus
from acclimate_bridge.simulation.bus.servo import BusServo

_IDS = (1, 2)
_TICK, _LARGEST = 0.01, 0.3  # s, duty
_HOLDS = 0.15  # s that a command may be what drives
_GRAIN = 0.002  # of a duty: the servos' counts
_SHARES = {
    "corrupt": 0.2,
    "short": 0.2,
    "silent": 0.2,
    "garbage": 0.1,
    "late": 0.1,
    "error": 0.05,
    "brown-out": 0.05,
    "held": 0.1,
}
_AFTER, _SLOW = 4, 130  # ticks after a fault; after one that only slow registers tell of
_NAME = {Family.DYNAMIXEL: "XL330", Family.FEETECH: "STS3215"}


class Eye:
    """Watches what drives each servo, from the thread that serves them."""

    def __init__(self, servos: list[BusServo]) -> None:
        self.servos = servos
        self.told: deque[tuple[float, FloatArray]] = deque(maxlen=200)
        self.unsafe = False

    def tell(self, targets: FloatArray) -> None:
        self.told.append((time.monotonic(), targets.copy()))

    def look(self, _: float) -> None:
        now = time.monotonic()
        told = [targets for at, targets in list(self.told) if now - at <= _HOLDS]
        for i, servo in enumerate(self.servos):
            duty = (
                servo.duty
            )  # as the sign of the register is for larger positions, so is that of what was told
            if duty and not any(abs(duty - targets[i]) <= _GRAIN for targets in told):
                self.unsafe = True


class Once(Disturber):
    """One fault at a time, when it is asked for."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng, {})
        self.kind: Disturbance | None = None

    def next(self) -> Disturbance | None:
        kind, self.kind = self.kind, None
        return kind


def unsafe_motions(seed: int, faults: int) -> dict[str, float]:
    """How many of so many faults, half of them in each family, led to an unsafe motion; and what became of the rest."""
    unsafe = latched = 0
    for family in Family:
        one, other = _driven(family, seed, faults // 2)
        unsafe, latched = unsafe + one, latched + other
    return {
        "unsafe_motions": float(unsafe),
        "faults": float(2 * (faults // 2)),
        "faults_that_stopped": float(latched),
    }


def _driven(family: Family, seed: int, faults: int) -> tuple[int, int]:
    rng = np.random.default_rng([seed, list(Family).index(family)])
    servos = [BusServo(_NAME[family], number, np.random.default_rng([seed, number])) for number in _IDS]
    once, eye = Once(rng), Eye(servos)
    unsafe = latched = 0
    with (
        ServedBus(SimulatedBus(family, servos, once), observe=eye.look) as bus,
        _device(family, bus.port) as device,
    ):
        device.start(_TICK)
        for _ in range(faults):
            stopped = _fault(device, once, eye, rng)
            if stopped:
                _restored(device, bus, eye)
            unsafe, latched = unsafe + eye.unsafe, latched + stopped
            eye.unsafe = False
    return unsafe, latched


@contextmanager
def _device(family: Family, port: str) -> Iterator[BusDevice]:
    joints = tuple(
        Joint(f"j{i}", i, position=f"q{i}", velocity=f"w{i}", duty=f"u{i}", prefix=f"j{i}_") for i in _IDS
    )
    with closing(BusDevice(BusPlan(family, port, joints), RealClock(), lambda _: None)) as device:
        yield device


def _fault(device: BusDevice, once: Once, eye: Eye, rng: np.random.Generator) -> bool:
    """Drive, have one thing happen, drive on; whether the device has stopped itself."""
    kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    _drive(device, eye, rng, _AFTER)
    if kind == "held":
        time.sleep(float(rng.uniform(0.12, 0.2)))
    else:
        once.kind = next(each for each in DISTURBANCES if each == kind)
    return _drive(device, eye, rng, _SLOW if kind == "brown-out" else _AFTER)


def _drive(device: BusDevice, eye: Eye, rng: np.random.Generator, ticks: int) -> bool:
    for _ in range(ticks):
        sample = device.latest()
        if sample is not None and sample.faults:
            return True
        targets = rng.uniform(-_LARGEST, _LARGEST, len(_IDS)).astype(np.float32)
        eye.tell(targets)
        device.command(targets)
        time.sleep(_TICK)
    return False


def _restored(device: BusDevice, bus: ServedBus, eye: Eye) -> None:
    """As somebody does who has looked: wait whether anything still moves, power off and on, and arm again."""
    time.sleep(_HOLDS + 0.05)
    for servo in eye.servos:
        bus.do(partial(servo.restart, bus.now))
    time.sleep(0.25)
    for _ in range(5):
        try:
            device.start(_TICK)
        except DeviceFault:
            time.sleep(0.1)
        else:
            return
    raise DeviceFault("the device cannot be armed again")
