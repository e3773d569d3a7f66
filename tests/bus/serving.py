"""A simulated bus in a thread of the test, which can look behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from acclimate_bridge.bus.models import Family
from acclimate_bridge.simulation.bus.bus import Disturber, SimulatedBus
from acclimate_bridge.simulation.bus.serving import ServedBus as Bench
from acclimate_bridge.simulation.bus.servo import BusServo

SERVO = {Family.DYNAMIXEL: "XL330", Family.FEETECH: "STS3215"}


@contextlib.contextmanager
def served(
    family: Family,
    ids: Sequence[int] = (1,),
    *,
    prepare: Callable[[dict[int, BusServo]], object] = lambda _: None,
    disturber: Disturber | None = None,
    baud: int = 1_000_000,
) -> Iterator[Bench]:
    """A bus with a servo for each id, changed by `prepare` before it is powered."""
    servos = [BusServo(SERVO[family], number, np.random.default_rng(number), baud=baud) for number in ids]
    prepare({servo.number: servo for servo in servos})
    with Bench(SimulatedBus(family, servos, disturber)) as bench:
        yield bench


__all__ = ["Bench", "served"]
