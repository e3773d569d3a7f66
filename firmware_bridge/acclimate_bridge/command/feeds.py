"""What a machine is to follow, told from outside: rows of a time and targets, from a file, stdin or a socket.

A row is numbers with commas or blanks between them: a time in s, then one target for each of `Columns.names`. A first
row of words, `time` and these names, puts them into another order. What follows a # is for people. Rates that a policy
observes are worked out from the targets.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.device import Clock, DeviceCaps
from acclimate.errors import UsageError
from acclimate.task.spec import TaskSpec

STDIN = "-"
HOLD = 1.0  # s that the newest row is held; then the machine goes to neutral until another comes
_RESTARTED = 1.0  # s that times may go back in rows that were overtaken; more, and the sender has begun anew
_CHUNK, _BREATH = (
    1 << 16,
    0.002,
)  # bytes at once, and s between: a flood of rows must not starve the control loop
_FEW = 4  # lines: what is parsed of a chunk in full, and what is said of rows that are wrong
_CONNECT = 5.0  # s to wait for a connection
_MARGIN = 0.05  # of the range of a sensor, that targets keep away from its ends


class Row(NamedTuple):
    """A time in s, and a target for each column."""

    time: float
    targets: tuple[float, ...]


class Columns:
    """Which targets there are, how far each may go, and where in the policy's reference they belong."""

    def __init__(self, task: TaskSpec, caps: DeviceCaps | None = None) -> None:
        """caps: of the device, whose sensors may reach less than the task asks for.

        Raises UsageError for a task that follows nothing.
        """
        tracks = task.reference.tracks if task.reference else ()
        self.rates = {t.target: t.rate for t in tracks if t.rate is not None}
        self.names = [name for name in task.reference_scalars if name not in self.rates.values()]
        if not self.names:
            raise UsageError(f"{task.name} follows nothing, so that --reference has nothing to say")
        self._width = task.n_references
        places = {name: i for i, name in enumerate(task.reference_scalars)}
        self._places = [places[name] for name in self.names]
        self._rates = [(k, places[self.rates[n]]) for k, n in enumerate(self.names) if n in self.rates]
        measured = {track.target: track.measured for track in tracks}
        ranges = {n: (c.minimum, c.maximum) for c in task.references for n in c.scalars}
        self.bounds = [_within(ranges[name], measured.get(name), caps) for name in self.names]
        self._fastest = {place: ranges[self.rates[self.names[k]]] for k, place in self._rates}

    def order(self, header: Sequence[str]) -> list[int]:
        """Where each column is in rows under this header. Raises UsageError for another set of names."""
        wanted = ["time", *self.names]
        if sorted(header) != sorted(wanted):
            raise UsageError(f"the columns are {', '.join(header)}, expected {', '.join(wanted)}")
        return [list(header).index(name) for name in wanted]

    def beyond(self, targets: Sequence[float]) -> str | None:
        """What to say of targets that are out of reach."""
        for name, value, (low, high) in zip(self.names, targets, self.bounds, strict=True):
            if not low <= value <= high:
                return f"{name} = {value:g} is outside of {low:.4g} to {high:.4g}"
        return None

    def within(self, targets: Sequence[float]) -> list[float]:
        """Targets brought within reach."""
        return [min(max(x, low), high) for x, (low, high) in zip(targets, self.bounds, strict=True)]

    def row(self, targets: Sequence[float], rates: Sequence[float]) -> FloatArray:
        """(n_ref,), in the order of the task."""
        out: FloatArray = np.zeros(self._width, np.float32)
        out[self._places] = targets
        for k, place in self._rates:
            low, high = self._fastest[place]
            out[place] = min(max(rates[k], low), high)
        return out

    def table(self, targets: FloatArray, dt: float) -> FloatArray:
        """(steps, columns) -> (steps, n_ref), a row each `dt` s."""
        out: FloatArray = np.zeros((len(targets), self._width), np.float32)
        out[:, self._places] = targets
        for k, place in self._rates:
            out[:, place] = np.clip(np.gradient(targets[:, k], dt), *self._fastest[place])
        return out


def _within(
    wanted: tuple[float, float], measured: str | None, caps: DeviceCaps | None
) -> tuple[float, float]:
    """What may be asked for: what the task allows, and no more than the sensor reaches."""
    low, high = wanted
    for sensor in caps.sensors if caps else ():
        if sensor.name == measured:
            margin = _MARGIN * (sensor.maximum - sensor.minimum)
            low, high = max(low, sensor.minimum + margin), min(high, sensor.maximum - margin)
    return low, high


class Parser:
    """Rows out of lines, under a header or without one."""

    def __init__(self, columns: Columns) -> None:
        self._columns, self._order = columns, list(range(len(columns.names) + 1))
        self._any = False  # whether there was a line that says something

    def __call__(self, line: str) -> Row | None:
        """None for a line that is empty, a header, or for people. Raises UsageError for one that is no row."""
        fields = line.partition("#")[0].replace(",", " ").split()
        if not fields:
            return None
        first, self._any = not self._any, True
        try:
            numbers = [float(field) for field in fields]
        except ValueError:
            if not first:
                raise UsageError(f"{' '.join(fields)!r} is no row of numbers") from None
            self._order = self._columns.order(fields)
            return None
        if len(numbers) != len(self._order) or not all(map(math.isfinite, numbers)):
            expected = ", ".join(["time", *self._columns.names])
            raise UsageError(f"{' '.join(fields)!r} is no row, expected {expected}, all finite")
        at, *targets = (numbers[i] for i in self._order)
        return Row(at, tuple(targets))


def read_file(path: Path, columns: Columns) -> list[Row]:
    """All rows of a file, in the order of time. Raises UsageError, naming the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--reference {path} cannot be read: {error}") from None
    parse, rows = Parser(columns), list[Row]()
    for number, line in enumerate(lines, 1):
        try:
            row = parse(line)
        except UsageError as error:
            raise UsageError(f"--reference {path}, line {number}: {error}") from None
        if row is None:
            continue
        wrong = columns.beyond(row.targets)
        if wrong is None and rows and row.time <= rows[-1].time:
            wrong = f"time {row.time:g} does not come after {rows[-1].time:g}"
        if wrong is not None:
            raise UsageError(f"--reference {path}, line {number}: {wrong}")
        rows.append(row)
    if len(rows) < 2:
        raise UsageError(f"--reference {path} has {len(rows)} rows of numbers, expected at least 2")
    return rows


def seconds_of(rows: Sequence[Row]) -> float:
    """From the first row to the last."""
    return rows[-1].time - rows[0].time


def require_reach(rows: Sequence[Row], columns: Columns) -> None:
    """Raises UsageError for a row that goes where this device cannot."""
    for row in rows:
        if (said := columns.beyond(row.targets)) is not None:
            raise UsageError(f"--reference at {row.time:g} s: {said}, which is what this device reaches")


def tabulated(rows: Sequence[Row], columns: Columns, ticks: int, dt: float) -> FloatArray:
    """(ticks, n_ref): straight lines from row to row, counted from the first one; the last one is held."""
    times = np.array([row.time for row in rows]) - rows[0].time
    targets, now = np.array([row.targets for row in rows]), np.arange(ticks) * dt
    each = [np.interp(now, times, targets[:, k]) for k in range(targets.shape[1])]
    return columns.table(np.stack(each, axis=1).astype(np.float32), dt)


class _News(NamedTuple):
    """The newest row: when it came, what it asks for, how fast that changes, and for how long that can be believed."""

    came: float
    row: Row
    rates: tuple[float, ...]
    gap: float


class LiveFeed:
    """The newest row of a stream: older ones are overtaken, and a stale one is held, and then given up."""

    def __init__(
        self, columns: Columns, read: Callable[[], bytes], clock: Clock, tell: Callable[[str], None]
    ) -> None:
        """`read` waits for bytes, and gives none at the end of the stream; `tell` must not wait."""
        self._columns, self._clock, self._tell = columns, clock, tell
        self._newest: _News | None = None
        self._still = (0.0,) * len(columns.names)
        self.overtaken = self.wrong = 0
        self._ended = False
        # A daemon: nobody can interrupt a read that waits for somebody else.
        threading.Thread(target=self._listen, args=(read,), daemon=True).start()

    def rows(self) -> Iterator[FloatArray | None]:
        """What to follow now, as long as the stream lasts; None while there is nothing to go by."""
        while True:
            news = self._newest
            age = math.inf if news is None else self._clock.now() - news.came
            if news is None or age > HOLD:
                if self._ended:
                    return
                yield None
            else:
                rates = news.rates if age <= 1.5 * news.gap else self._still
                yield self._columns.row(news.row.targets, rates)

    def _listen(self, read: Callable[[], bytes]) -> None:
        parse, rest = Parser(self._columns), b""
        while chunk := _or_nothing(read):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_CHUNK:]
            # Of a flood the newest is enough, and the first, which may say what the columns are.
            for line in lines if len(lines) <= _FEW else [lines[0], lines[-1]]:
                self._hear(parse, line.decode(errors="replace"))
            time.sleep(_BREATH)
        self._ended = True

    def _hear(self, parse: Parser, line: str) -> None:
        try:
            row = parse(line)
        except UsageError as error:
            self.wrong += 1
            if self.wrong <= _FEW:
                self._tell(f"reference: {error}")
            return
        before = self._newest
        if row is None:
            return
        if before is not None and 0.0 <= before.row.time - row.time < _RESTARTED:
            self.overtaken += 1
            return
        if (said := self._columns.beyond(row.targets)) is not None:
            self.wrong += 1
            if self.wrong <= _FEW:
                self._tell(f"reference: {said}; it is taken as far as that goes")
            row = row._replace(targets=tuple(self._columns.within(row.targets)))
        self._newest = self._news(before, row)

    def _news(self, before: _News | None, row: Row) -> _News:
        gap = 0.0 if before is None else row.time - before.row.time
        rates = self._still
        if before is not None and 0.0 < gap < HOLD:
            rates = tuple((b - a) / gap for a, b in zip(before.row.targets, row.targets, strict=True))
        return _News(self._clock.now(), row, rates, gap)


def _or_nothing(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError:  # a connection that broke has ended, too
        return b""


def reader(where: str) -> Callable[[], bytes]:
    """How to read from stdin (-) or HOST:PORT. Raises UsageError where nobody listens there."""
    if where == STDIN:
        number = sys.stdin.fileno()
        return lambda: os.read(number, _CHUNK)
    host, _, port = where.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), timeout=_CONNECT)
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"--reference {where}: {error}") from None
    connection.settimeout(None)
    return lambda: connection.recv(_CHUNK)


def is_live(where: str) -> bool:
    """Whether a `--reference` means a stream and not a file."""
    host, _, port = where.rpartition(":")
    return where == STDIN or (bool(host) and port.isdecimal() and not Path(where).exists())
