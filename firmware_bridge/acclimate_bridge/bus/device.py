"""Servos on a bus as an `acclimate.Device`; the bus itself belongs to a keeper, a process of its own."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.device import Clock, DeviceCaps, Sample
from acclimate.control.patience import Patience
from acclimate.errors import DeviceFault, UsageError

from acclimate_bridge.bus import words
from acclimate_bridge.bus.arming import halt
from acclimate_bridge.bus.plan import BusPlan

_WATCHDOG = (0.05, 1.0)  # s of silence that can be asked for
_OPENING, _ARMING, _CLOSING = 30.0, 5.0, 5.0  # s; a servo that is not there is looked for at all baud rates
_SILENCE = 0.5  # s without a word from the keeper


class BusDevice:
    """One bus. See `acclimate.control.device.Device`."""

    def __init__(self, plan: BusPlan, clock: Clock, tell: Callable[[str], None]) -> None:
        """Start the keeper, and have it look at every servo; nothing moves.

        Raises UsageError for what must not be driven, DeviceFault where the keeper does not answer.
        """
        self.plan, self._clock = plan, clock
        self._talk, theirs = words.pair()
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "acclimate_bridge.bus.keeper", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and Ctrl-Z in the terminal are not for it
        )
        theirs.close()
        self._closed = False
        self._report: words.Report | None = None
        try:
            self._talk.send(words.tree(words.PLAN, plan.tree()))
            about = words.untree(self._answer(words.READY, _OPENING))
            assert isinstance(about, dict)
        except BaseException:
            self.close()
            raise
        for remark in about["remarks"]:
            tell(remark)
        self._caps = DeviceCaps(
            plan.sensors,
            plan.actuators,
            plan.rate_hz,
            random.getrandbits(32),
            f"{plan.family} bus with {', '.join(about['models'])}",
            _WATCHDOG,
        )
        self._heard = clock.now()

    @property
    def caps(self) -> DeviceCaps:
        return self._caps

    def start(self, period: float) -> None:
        """Torque on, where each stands. Raises DeviceFault where a servo does not do as it is told."""
        patience = Patience.of(period, _WATCHDOG)
        self._say(words.tree(words.START, {"period": period, "patience": patience.watchdog}))
        self._answer(words.DONE, _ARMING)

    def rearm(self, sample: Sample) -> None:
        """Torque on again after the watchdog, if it is the very latching that `sample` tells of."""
        self._say(words.tree(words.REARM, sample.latches))

    def latest(self) -> Sample | None:
        """The newest reading. Raises DeviceFault where the keeper is gone."""
        self._listen()
        report = self._report
        if report is None:
            return None
        if self._clock.now() - self._heard > max(_SILENCE, 5.0 / self.plan.rate_hz):
            raise DeviceFault(f"the keeper of {self.plan.port} has fallen silent; look at the machine")
        values = np.array(report.values, np.float32)
        return Sample(values, report.t, report.seq, False, frozenset(report.faults), report.latches)

    def command(self, targets: FloatArray) -> None:
        self._tell(words.COMMAND, targets)

    def idle(self, targets: FloatArray) -> None:
        """Duty 0, or where it stands."""
        self._tell(words.IDLE, targets)

    def stop(self) -> None:
        """Neutral, then torque off. Never raises: without a keeper there is nobody to tell."""
        with contextlib.suppress(DeviceFault):
            self._say(words.STOP)

    def close(self) -> None:
        """Torque off, every servo in the mode that it came in, the port free."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._talk.send(words.CLOSE)
        self._talk.close()
        try:
            self._keeper.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()

    def counters(self) -> dict[str, float]:
        """Exchanges with servos, and those that were missed."""
        report = self._report
        return {"exchanges": report.exchanges, "missed": report.missed} if report else {}

    @property
    def keeper(self) -> int:
        """Its process id."""
        return self._keeper.pid

    def _tell(self, kind: bytes, targets: FloatArray) -> None:
        numbers: list[float] = targets.tolist()
        self._say(words.Targets(self._clock.now(), tuple(numbers)).pack(kind))

    def _say(self, word: bytes) -> None:
        try:
            self._talk.send(word, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # the keeper is held up, and its servos stop by themselves where they can
        except OSError as error:
            raise DeviceFault(self._gone()) from error

    def _gone(self) -> str:
        """Said once the servos were told to stop from here."""
        halted = halt(self.plan)
        state = "were stopped from here" if halted else "may still be driven: cut their power"
        return f"the keeper of {self.plan.port} has ended; its servos {state}. Look at the machine"

    def _listen(self) -> None:
        while True:
            try:
                word = self._talk.recv(words.MOST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                raise DeviceFault(self._gone()) from error
            if not word:
                raise DeviceFault(self._gone())
            if word[:1] == words.READING:
                self._take(word)

    def _take(self, word: bytes) -> None:
        self._report, self._heard = words.Report.unpack(word), self._clock.now()

    def _answer(self, kind: bytes, seconds: float) -> bytes:
        """The next word of a kind; readings are taken meanwhile. Raises what the keeper says is wrong."""
        self._talk.settimeout(seconds)
        try:
            while word := self._talk.recv(words.MOST):
                if word[:1] == kind:
                    return word
                if word[:1] == words.READING:
                    self._take(word)
                if word[:1] == words.ERROR:
                    raise _said(words.untree(word))
        except OSError as error:
            raise DeviceFault(f"the keeper of {self.plan.port} does not answer ({error})") from error
        finally:
            self._talk.settimeout(None)
        raise DeviceFault(self._gone())


def _said(told: object) -> UsageError | DeviceFault:
    assert isinstance(told, dict)
    return UsageError(told["text"]) if told["usage"] else DeviceFault(told["text"])


class SeveralBuses:
    """Several buses as one device: its channels are theirs, one after the other."""

    def __init__(self, buses: Sequence[BusDevice]) -> None:
        self.buses = buses
        first = buses[0].caps
        self._caps = DeviceCaps(
            tuple(c for bus in buses for c in bus.caps.sensors),
            tuple(c for bus in buses for c in bus.caps.actuators),
            first.rate_hz,
            first.boot_id,
            "; ".join(bus.caps.firmware for bus in buses),
            first.watchdog,
        )
        self._counts = [len(bus.caps.actuators) for bus in buses]

    @property
    def caps(self) -> DeviceCaps:
        return self._caps

    def start(self, period: float) -> None:
        """All of them, or none. Raises DeviceFault."""
        try:
            for bus in self.buses:
                bus.start(period)
        except BaseException:
            self.stop()
            raise

    def rearm(self, sample: Sample) -> None:
        """Those whose watchdog has tripped, if it is what `sample` tells of."""
        newest = self.latest()
        if newest is None or newest.latches != sample.latches:
            return
        for bus in self.buses:
            own = bus.latest()
            if own is not None and own.faults == {"watchdog"}:
                bus.rearm(own)

    def latest(self) -> Sample | None:
        """The newest of all; as old as the oldest, and new only where all are."""
        samples = [sample for bus in self.buses if (sample := bus.latest()) is not None]
        if len(samples) < len(self.buses):
            return None
        return Sample(
            np.concatenate([sample.values for sample in samples]),
            min(sample.t for sample in samples),
            min(sample.seq for sample in samples),
            False,
            frozenset().union(*(sample.faults for sample in samples)),
            sum(sample.latches for sample in samples),
        )

    def command(self, targets: FloatArray) -> None:
        for bus, part in zip(self.buses, self._split(targets), strict=True):
            bus.command(part)

    def idle(self, targets: FloatArray) -> None:
        for bus, part in zip(self.buses, self._split(targets), strict=True):
            bus.idle(part)

    def stop(self) -> None:
        for bus in self.buses:
            bus.stop()

    def close(self) -> None:
        for bus in self.buses:
            bus.close()

    def counters(self) -> dict[str, float]:
        counted = [bus.counters() for bus in self.buses]
        return {name: sum(each.get(name, 0.0) for each in counted) for name in ("exchanges", "missed")}

    def _split(self, targets: FloatArray) -> list[FloatArray]:
        return np.split(targets, np.cumsum(self._counts)[:-1])
