"""A bad link in real time: a pseudo-terminal whose other end is a device at some port."""

from __future__ import annotations

import contextlib
import os
import time
import tty
from collections.abc import Callable
from pathlib import Path

import numpy as np
from acclimate.fields import Json

from acclimate_bridge.link.line import Transport
from acclimate_bridge.simulation.faults.pipe import NEVER, Pipe
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.faults.restamp import Restamper
from acclimate_bridge.simulation.simulator import Signals, linked

_NAP = 0.0005  # s between looks at both ends
_DARK = 0.3  # s of a brown-out, in which there is only noise


class FaultProxy:
    """Stands between a host and the device at `upstream`, and lets the plan happen.

    `run` serves it; close it in any case.
    """

    def __init__(
        self,
        upstream: Transport,
        plan: FaultPlan,
        rng: np.random.Generator,
        *,
        reboot: Callable[[], None],
        announce: Callable[[str], None] = lambda _: None,
        link: Path | None = None,
    ) -> None:
        """reboot: how to reset the device. link: where a symbolic link to the port is kept, also after an unplug."""
        to_device, to_host, self._rng = rng.spawn(3)
        self._to_device, self._to_host = Pipe(plan, to_device), Pipe(plan, to_host, bursts=True)
        self._upstream, self._plan, self._reboot = upstream, plan, reboot
        self._announce, self._link = announce, link
        self._restamper = Restamper(plan.drift) if plan.drift else None
        self._begun: float | None = None  # when the host first said something
        self._happened: list[str] = []
        self._ends = contextlib.ExitStack()
        self._master = -1
        self.port = self._plug_in()

    def close(self) -> None:
        """Let go of the terminal; may be called again."""
        self._ends.close()
        self._master = -1

    def run(self, signals: Signals) -> None:
        """Serve until a signal says stop."""
        origin = time.monotonic()
        while not signals.stop:
            now = time.monotonic() - origin
            self._pass_on(now)
            self._happen(now)
            time.sleep(_NAP)

    def report(self) -> dict[str, Json]:
        """What was done, in frames, by direction, and what has happened besides."""
        return {
            "to_device": dict(self._to_device.done.as_dict()),
            "to_host": dict(self._to_host.done.as_dict()),
            "happened": list(self._happened),
        }

    def _pass_on(self, now: float) -> None:
        said = self._read()
        if said and self._begun is None:
            self._begun = now
        answered = self._upstream.read()
        if self._restamper is not None:
            said, answered = self._restamper.to_device(said), self._restamper.to_host(answered)
        self._to_device.feed(said, now)
        self._to_host.feed(answered, now)
        if due := self._to_device.take(now):
            self._upstream.write(due)
        if due := self._to_host.take(now):
            self._write(due)

    def _happen(self, now: float) -> None:
        if self._begun is None:
            return
        passed, plan = now - self._begun, self._plan
        if _due(plan.brown_out, passed) and self._once("brown-out"):
            self._write(self._rng.bytes(100))
        if _due(plan.brown_out, passed - _DARK) and self._once("reset after the brown-out"):
            self._reboot()
        if _due(plan.reset, passed) and self._once("reset"):
            self._reboot()
        if _due(plan.unplug, passed) and self._once("unplugged"):
            self.close()
        if _due(plan.unplug, passed - plan.unplugged) and self._once("plugged in again"):
            self.port = self._plug_in()

    def _once(self, what: str) -> bool:
        if what in self._happened:
            return False
        self._happened.append(what)
        self._announce(what)
        return True

    def _plug_in(self) -> str:
        self._to_host.cut()
        self._to_device.cut()
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        for end in (self._master, slave):
            self._ends.callback(os.close, end)
        port = os.ttyname(slave)
        self._ends.enter_context(linked(port, self._link))
        return port

    def _read(self) -> bytes:
        if self._master < 0:
            return b""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._master, 65_536)
        return b""

    def _write(self, data: bytes) -> None:
        """What fits: a terminal that nobody reads is full, and then frames are lost, as on a wire."""
        if self._master >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, data)


def _due(after: float, passed: float) -> bool:
    return passed >= (after or NEVER)
