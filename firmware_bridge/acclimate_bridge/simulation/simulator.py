"""The simulated device on a pseudo-terminal, in real time, in this process: what `acclimate simulate` runs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TextIO, get_args

import numpy as np
from acclimate.errors import UsageError

from acclimate_bridge.link.messages import Latch, State
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.specimen import Specimen

_LONGEST_WAIT = 0.05  # s, so that a signal is noticed
FaultKind = Literal["nan", "reboot", "unplug", "hang", "overload"]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)


class Fault(NamedTuple):
    """Something that goes wrong `after` seconds of being driven.

    nan: the sensors die; reboot: power is lost for a moment; unplug: the port vanishes; hang: it stops
    talking; overload: it cuts its torque, and says so.
    """

    kind: FaultKind
    after: float


class Change(NamedTuple):
    """Something that happens to the machine `after` seconds of being driven: one of its specimen's `changes`."""

    kind: str
    after: float


@dataclass
class Signals:
    """What signals have asked for."""

    stop: bool = False
    reboot: bool = False


class Simulator:
    """A device on a pseudo-terminal. `run` serves it; close it in any case."""

    def __init__(
        self,
        machine: Specimen,
        rng: np.random.Generator,
        *,
        fault: Fault | None = None,
        changes: Sequence[Change] = (),
        announce: Callable[[str], None] = lambda _: None,
        owner: TextIO | None = None,
    ) -> None:
        """`announce` is told of each change as it happens. owner: the device ends when this stream does."""
        self._rng = rng
        self._fault = fault
        self._changes = sorted(changes, key=lambda change: change.after)
        self._announce = announce
        self._owner = owner
        self._plant = machine.start(rng)
        self._core = DeviceCore(self._plant, machine.profile, self._boot_id())
        self._driven_since: float | None = None
        self._muted = False
        self._backlog = b""  # of a frame that the terminal had no room for
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)

    def close(self) -> None:
        """Let go of the terminal; may be called again."""
        for end in (self._master, self._slave):
            if end >= 0:
                os.close(end)
        self._master = self._slave = -1

    def run(self, signals: Signals) -> None:
        """Serve until a signal says stop."""
        origin = time.monotonic()
        while not signals.stop and self._master >= 0:
            wait = self._wait(time.monotonic() - origin)
            ready, _, _ = select.select(self._sources(), [], [], wait)
            now = time.monotonic() - origin
            if self._master in ready:
                self._core.feed(os.read(self._master, 4096), now)
            if self._owner in ready and not os.read(self._owner.fileno(), 4096):
                return
            if signals.reboot:
                signals.reboot = False
                self._core.reboot(self._boot_id(), now)
            self._send(self._core.advance(now))
            self._happen(now)

    def described(self) -> str:
        """What is true of the machine now, in words."""
        return self._plant.described()

    def _sources(self) -> list[int | TextIO]:
        return [self._master] if self._owner is None else [self._master, self._owner]

    def _send(self, data: bytes) -> None:
        """Write what fits. A terminal that nobody reads is full; then frames are dropped, as on a wire."""
        data = self._backlog or (b"" if self._muted else data)
        if not data:
            return
        try:
            self._backlog = data[os.write(self._master, data) :]
        except BlockingIOError:
            self._backlog = b""

    def _happen(self, now: float) -> None:
        """Let changes and the fault happen, once they are due."""
        if self._driven_since is None and self._core.state is State.DRIVING:
            self._driven_since = now
        if self._driven_since is None:
            return
        driven = now - self._driven_since
        while self._changes and self._changes[0].after <= driven:
            self._change(self._changes.pop(0))
        if self._fault is not None and self._fault.after <= driven:
            fault, self._fault = self._fault, None
            self._break(fault, now)

    def _change(self, change: Change) -> None:
        self._plant.change(change.kind, self._rng)
        self._announce(f"{change.kind} after {change.after:g} s of being driven: {self.described()}")

    def _break(self, fault: Fault, now: float) -> None:
        if fault.kind == "nan":
            self._core.blind = True
        elif fault.kind == "reboot":
            self._core.reboot(self._boot_id(), now)
        elif fault.kind == "hang":
            self._muted = True
        elif fault.kind == "overload":
            self._core.trip(Latch.OVERLOAD, now, "overload: torque is off")
        else:
            self.close()

    def _wait(self, now: float) -> float:
        """For how many seconds there is nothing to do of its own accord."""
        events = [self._core.next_event()]
        if self._driven_since is not None:
            events += [self._driven_since + change.after for change in self._changes[:1]]
        return min(max(min(events) - now, 0.0), _LONGEST_WAIT)

    def _boot_id(self) -> int:
        return int(self._rng.integers(1, 2**32))


@contextlib.contextmanager
def linked(port: str, link: Path | None) -> Iterator[None]:
    """Keep a symbolic link to `port` at `link` while the block runs. Raises UsageError where it cannot be."""
    if link is None:
        yield
        return
    if link.exists() and not link.is_symlink():
        raise UsageError(f"{link} exists and is not a symbolic link; choose another path for --link")
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(port)
    except OSError as error:
        raise UsageError(f"cannot make the link {link}: {error.strerror}") from error
    try:
        yield
    finally:
        if link.is_symlink() and str(link.readlink()) == port:
            link.unlink()


@contextlib.contextmanager
def listening() -> Iterator[Signals]:
    """SIGINT and SIGTERM say stop, SIGUSR1 says reboot, while the block runs."""
    signals = Signals()

    def stop(*_: object) -> None:
        signals.stop = True

    def reboot(*_: object) -> None:
        signals.reboot = True

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGUSR1: reboot}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
