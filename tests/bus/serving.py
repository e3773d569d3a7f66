"""A simulated bus in a thread of the test, which can look behind it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from acclimate_bridge.bus.models import Family
from acclimate_bridge.simulation.bus.bus import Disturber, SimulatedBus
from acclimate_bridge.simulation.bus.serving import BusPort
from acclimate_bridge.simulation.bus.servo import NUMBERS, BusServo

SERVO = {Family.DYNAMIXEL: "XL330", Family.FEETECH: "STS3215"}


class Bench:
    """A bus, and its port while it is served."""

    def __init__(self, bus: SimulatedBus, port: BusPort) -> None:
        self.bus, self._port, self.port = bus, port, port.port
        self.servos = {servo.number: servo for servo in bus.servos}
        self._word: Callable[[], object] | None = None
        self._done, self._ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def do(self, word: Callable[[], object]) -> None:
        """Have something done to the bus between two of its steps."""
        self._done.clear()
        self._word = word
        assert self._done.wait(5.0)

    def end(self) -> None:
        self._ended.set()
        self.thread.join(5.0)

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._port.step()
            if (word := self._word) is not None:
                word()
                self._word = None
                self._done.set()

    @property
    def now(self) -> float:
        return self._port.now


@contextlib.contextmanager
def served(
    family: Family,
    ids: Sequence[int] = (1,),
    *,
    name: str | None = None,
    prepare: Callable[[dict[int, BusServo]], object] = lambda _: None,
    disturber: Disturber | None = None,
    baud: int = 1_000_000,
) -> Iterator[Bench]:
    """A bus with a servo for each id, changed by `prepare` before it is powered."""
    servos = [
        BusServo(name or SERVO[family], number, np.random.default_rng(number), baud=baud) for number in ids
    ]
    prepare({servo.number: servo for servo in servos})
    bus = SimulatedBus(family, servos, disturber)
    with contextlib.closing(BusPort(bus)) as port:
        bench = Bench(bus, port)
        try:
            yield bench
        finally:
            bench.end()


__all__ = ["NUMBERS", "Bench", "served"]
