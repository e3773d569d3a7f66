"""A simulated bus on a pseudo-terminal, in real time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import select
import struct
import threading
import time
import tty
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from acclimate_bridge.simulation.bus.bus import SimulatedBus

_TCGETS2 = 0x802C542A  # of Linux: a terminal's settings with its speed as a number
_SPEED_AT, _SIZE = 36, 44
_IDLE = 0.02  # s between looks at the servos while nobody speaks
_SPIN = 0.0002  # s before an answer is due from which on the clock is watched: sleeping ends late


class BusPort:
    """Serves a bus until told to end."""

    def __init__(self, bus: SimulatedBus) -> None:
        self.bus = bus
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._open = [self._master, self._slave]
        self.port = os.ttyname(self._slave)
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """s since it began."""
        return time.monotonic() - self._began

    def step(self, watched: Sequence[int] = ()) -> list[int]:
        """Wait for what comes next, a word of the host or an answer that is due, and see to it.

        Gives those of `watched`, descriptors of others, that can be read.
        """
        due = self.bus.due
        wait = _IDLE if due is None else min(max(due - self.now - _SPIN, 0.0), _IDLE)
        ready, _, _ = select.select([self._master, *watched], [], [], wait)
        if self._master in ready and (data := self._read()):
            self.bus.receive(data, self.now, self._baud())
        elif due is not None and due - self.now <= _SPIN:
            while self.now < due:
                pass
            self._write(self.bus.take(self.now))
        else:
            self.bus.advance(self.now)
        return [each for each in ready if each != self._master]

    def close(self) -> None:
        """Unplug it."""
        while self._open:
            os.close(self._open.pop())

    def _read(self) -> bytes:
        try:
            return os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return b""

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody has read for a long time
            os.write(self._master, data)

    def _baud(self) -> int:
        settings = fcntl.ioctl(self._slave, _TCGETS2, bytes(_SIZE))
        return int(struct.unpack_from("II", settings, _SPEED_AT)[0])


class ServedBus:
    """A bus served by a thread of this process, which can look behind it."""

    def __init__(self, bus: SimulatedBus, *, observe: Callable[[float], object] | None = None) -> None:
        """observe: called with the time after each step, in the serving thread."""
        self.bus, self._port, self._observe = bus, BusPort(bus), observe
        self.port = self._port.port
        self.servos = {servo.number: servo for servo in bus.servos}
        self._words: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def now(self) -> float:
        """s since it began."""
        return self._port.now

    def do(self, word: Callable[[], object]) -> None:
        """Have something done to the bus between two of its steps; returns when it is."""
        done = threading.Event()

        def both() -> None:
            word()
            done.set()

        self._words.put(both)
        done.wait(5.0)

    def unplug(self) -> None:
        """The port vanishes."""
        self._ended.set()
        self._thread.join(5.0)
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._port.step()
            while not self._words.empty():
                self._words.get()()
            if self._observe is not None:
                self._observe(self._port.now)
