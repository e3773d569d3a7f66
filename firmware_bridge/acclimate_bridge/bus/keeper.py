"""The program that owns a bus: it reads and writes servos for a control process, and outlives it by 100 ms.

    python -m acclimate_bridge.bus.keeper FD

FD is its end of a socket pair. When the control process is silent while it drives, killed, stopped or swapped out, the
servos go to neutral and lose their torque; when its end is closed, they are also left as they came, and this ends.
"""

from __future__ import annotations

import contextlib
import math
import select
import signal
import socket
import sys
from collections.abc import Callable

from acclimate.control.clock import RealClock
from acclimate.errors import AcclimateError, DeviceFault

from acclimate_bridge.bus import words
from acclimate_bridge.bus.arming import Hands
from acclimate_bridge.bus.checking import known
from acclimate_bridge.bus.models import Mode
from acclimate_bridge.bus.plan import BusPlan
from acclimate_bridge.bus.port import Missed, ServoPort
from acclimate_bridge.bus.watching import Watch

WATCHDOG = 0.1  # s of silence, unless the control process asks for another
_BLIND = 0.05  # s without a reading, and …
_ROW = 4  # … in a row at least, which are a fault
_LEAD, _LONGEST = (
    0.2,
    0.0025,
)  # of a period, but at most so many s, that a reading is there before it is looked at
_LATEST = 1.5  # periods after a reading, however often it is told something
_ADAPT = 0.1  # share of the newest duration in the one that readings are expected to take

_now = RealClock.now


class Keeper:
    """Everything between words of the control process and bytes on the bus."""

    def __init__(
        self, talk: socket.socket, port: ServoPort, hands: Hands, watch: Watch, rate_hz: float
    ) -> None:
        self._talk, self._port, self._hands, self._watch = talk, port, hands, watch
        self._period = 1.0 / rate_hz
        self._patience = WATCHDOG
        self._armed = self._driving = False
        self._faults: frozenset[str] = frozenset({"stopped"})
        self._latches = self._seq = self._row = 0
        now = _now()
        self._heard = self._seen = self._looked = now
        self._read_at, self._slow_at = now, now + 1.0
        self._takes = 0.002  # s that a reading does
        self._unknown = [math.nan] * len(watch.values)
        self.ended = False
        self._words: dict[bytes, Callable[[bytes], None]] = {
            words.START: self._start,
            words.REARM: self._rearm,
            words.COMMAND: self._command,
            words.IDLE: self._idle,
            words.STOP: lambda _: self._latch("stopped"),
            words.CLOSE: lambda _: self._end(),
        }

    def run(self) -> None:
        """Until the control process is gone, or says so. Whatever happens, the servos are let go."""
        try:
            while not self.ended:
                self._listen()
                now = _now()
                if self._driving and now - self._heard > self._patience:
                    self._latch("watchdog")
                if now >= self._read_at:
                    self._look(now)
        finally:
            self._hands.leave()

    def _end(self) -> None:
        self.ended = True

    # -- what it is told

    def _listen(self) -> None:
        """Wait for a word until the next reading is due, and take all that have come; of commands the newest."""
        due = self._read_at
        if self._driving:
            due = min(due, self._heard + self._patience)
        ready, _, _ = select.select([self._talk], [], [], max(due - _now(), 0.0))
        newest: bytes | None = None
        while ready and not self.ended:
            try:
                word = self._talk.recv(words.MOST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                word = b""
            if not word:  # its end is closed: the process is gone
                return self._end()
            if word[:1] in (words.COMMAND, words.IDLE):
                newest = word
            else:
                newest = None  # what came before a start is not what to start with
                self._words[word[:1]](word)
        if newest is not None and not self.ended:
            self._words[newest[:1]](newest)
        return None

    def _start(self, word: bytes) -> None:
        told = words.untree(word)
        assert isinstance(told, dict)
        self._period, self._patience = float(told["period"]), float(told["patience"])
        try:
            self._take_in_hand()
        except DeviceFault as fault:
            self._send(words.tree(words.ERROR, {"text": str(fault), "usage": False}))
        else:
            self._faults = frozenset()
            self._look(_now())
            self._send(words.DONE)

    def _rearm(self, word: bytes) -> None:
        if self._faults != {"watchdog"} or words.untree(word) != self._latches:
            return
        try:
            self._take_in_hand()
        except DeviceFault as fault:
            self._faults = frozenset({str(fault)})
        else:
            self._faults = frozenset()

    def _take_in_hand(self) -> None:
        self._driving = False
        self._hands.take(max(self._patience, 4.0 * self._period))
        self._armed = self._watch.on = True
        self._row, self._seen = 0, _now()

    def _command(self, word: bytes) -> None:
        told = words.Targets.unpack(word)
        if _now() - told.t > self._patience:
            return  # this process was held up, and nobody knows what the other one wants by now
        self._heard = told.t
        self._driving = self._armed
        self._write(told.values)

    def _idle(self, word: bytes) -> None:
        self._driving = False
        self._write(words.Targets.unpack(word).values)

    def _write(self, targets: tuple[float, ...]) -> None:
        """Pass targets on, and have the next reading come just before the control process looks again."""
        lead = min(_LEAD * self._period, _LONGEST)
        soon = max(self._period - lead - self._takes, 0.0)
        self._read_at = min(_now() + soon, self._looked + _LATEST * self._period)
        if not self._armed:
            return
        try:
            self._hands.drive(self._goals(targets))
        except ValueError as error:
            self._latch(str(error))
        except Missed as missed:
            self._missed(missed)

    def _goals(self, targets: tuple[float, ...]) -> list[int]:
        limbs, angles = self._hands.limbs, self._watch.angles
        if self._hands.mode is Mode.PWM:
            return [limb.duty_counts(x, at) for limb, x, at in zip(limbs, targets, angles, strict=True)]
        return [limb.position_counts(x) for limb, x in zip(limbs, targets, strict=True)]

    # -- what it sees

    def _look(self, now: float) -> None:
        """Read all servos, and report; a reading that was missed has no numbers."""
        self._looked, self._read_at = now, now + self._period
        try:
            for _ in range(self._row):
                self._watch.fast()  # perhaps the late answer to one that was missed: nothing in it tells
            began = _now()
            values, faults = self._watch.fast()
            done = _now()
            self._takes += _ADAPT * (done - began - self._takes)
            self._row, self._seen = 0, done
        except Missed as missed:
            values, faults = self._unknown, ()
            self._missed(missed)
        for fault in faults:
            self._latch(fault)
        self._report(values)
        if now >= self._slow_at and not self._row:
            self._look_slowly(now)

    def _look_slowly(self, now: float) -> None:
        self._slow_at = now + self._watch.slow_every
        try:
            for fault in self._watch.slow():
                self._latch(fault)
        except Missed:
            pass  # the fast ones tell; this comes again

    def _missed(self, missed: Missed) -> None:
        self._row += 1
        blind = _now() - self._seen
        if missed.gone:
            self._latch(f"port {self._port.name} has vanished")
        elif self._armed and self._row >= _ROW and blind > _BLIND:
            self._hands.off()
            self._latch(f"bus: {self._watch.missing()}")

    def _latch(self, fault: str) -> None:
        """Neutral, then no torque, until it is armed again."""
        if self._armed:
            self._armed = self._driving = self._watch.on = False
            self._latches += 1
            self._faults = frozenset({fault})
            self._hands.off()
        elif fault != "stopped" and fault not in self._faults:
            self._faults = (self._faults | {fault}) - {"stopped"}

    def _report(self, values: list[float]) -> None:
        self._seq += 1
        port = self._port
        report = words.Report(
            _now() - 0.5 * self._takes, self._seq, self._latches, port.exchanges, port.missed, tuple(values),
            tuple(sorted(self._faults)),
        )  # fmt: skip
        self._send(report.pack())

    def _send(self, word: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # it does not listen: it will see the newest ones later
            try:
                self._talk.send(word, socket.MSG_DONTWAIT)
            except (BrokenPipeError, ConnectionResetError):
                self._end()


def keep(talk: socket.socket) -> None:
    """Learn the plan, look at the servos, and keep them until the control process is gone."""
    plan = words.untree(talk.recv(words.MOST))
    assert isinstance(plan, dict)
    bus = BusPlan.of_tree(plan)
    remarks: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            port = ServoPort(bus.port, bus.family, bus.baud)
            stack.callback(port.close)
            limbs = known(port, bus, remarks.append)
        except AcclimateError as error:
            usage = not isinstance(error, DeviceFault)
            talk.send(words.tree(words.ERROR, {"text": str(error), "usage": usage}))
            return
        about = [f"{limb.model.name} {limb.firmware}" for limb in limbs]
        talk.send(words.tree(words.READY, {"remarks": remarks, "models": about}))
        keeper = Keeper(talk, port, Hands(port, limbs), Watch(port, limbs), bus.rate_hz)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: keeper._end())
        keeper.run()


if __name__ == "__main__":
    keep(socket.socket(fileno=int(sys.argv[1])))
