"""The other end of `child`: starts a process per subject, and lets them take turns, so that what else the machine does
falls on all of them. Nothing is pinned, and no priority is raised: no user would have done that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from acclimate.command.bench.percentiles import Times
from acclimate.engines import AUTO
from acclimate.engines.child_process import HERE, ChildProcess, Home
from acclimate.errors import EngineError, GoldenError

PACES = {"hot": 0.0, "100 Hz": 0.01, "1 kHz": 0.001}  # s from call to call
CPU_RATE = 50.0  # Hz
_PROGRAM = "from acclimate.command.bench.child import main; main()"
_ROUNDS = 5
_HOT_CALLS = {"act": 10_000, "adapt": 1_000}  # at most
_WARM = 5  # calls before any that count; from their times follows how many calls a budget allows
Progress = Callable[[str], None]


class Effort(NamedTuple):
    """How long to measure: `seconds` per pace at 100 Hz, less for the rest; `starts` processes for the start."""

    seconds: float = 10.0
    starts: int = 5

    def budget(self, pace: str) -> float:
        """s per graph and pace."""
        return {"hot": self.seconds / 5, "100 Hz": self.seconds, "1 kHz": self.seconds / 3}[pace]

    @property
    def driving(self) -> float:
        """s of driving for the CPU's share."""
        return self.seconds / 2


class Start(NamedTuple):
    """One process, from its start to the first action (ms), and its resident memory then (10⁶ bytes).

    anon_mb: the part of it that is no file's, and cannot be read again when memory gets scarce.
    import_ms: of this package and numpy; load_ms: of the engine, the bundle and its graphs, the golden check and the
    first action. Neither holds the interpreter's own start.
    """

    first_action_ms: float
    import_ms: float
    load_ms: float
    rss_mb: float
    anon_mb: float


@dataclass
class Measured:
    """All that was measured of one subject; `refused` says why nothing was, in one sentence."""

    name: str
    refused: str = ""
    starts: list[Start] = field(default_factory=list)
    us: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # by graph and pace
    cpu_shares: list[float] = field(default_factory=list)

    def times(self) -> dict[tuple[str, str], Times]:
        """The percentiles of each graph and pace that was measured."""
        return {key: Times.of(us) for key, us in self.us.items()}


class Process(ChildProcess):
    """One process of `child`, brought up; `ask` it as long as it is open."""

    def __init__(self, path: Path, name: str, *, once: bool = False, home: Home = HERE) -> None:
        """Raises as `ChildProcess`."""
        super().__init__(_PROGRAM, [str(path), name, *(["once"] if once else [])], home)
        self.start = Start(self.first_line_ms, *(self.told[name] for name in Start._fields[1:]))
        self.graphs: list[str] = self.told["graphs"]
        self.choice: list[str] = self.told["choice"]


def measure(path: Path, names: Sequence[str], effort: Effort, progress: Progress) -> list[Measured]:
    """Everything of every subject, in the order of `names`; a subject that is refused has a reason instead."""
    with ExitStack() as stack:
        found: list[Measured] = []
        running: list[tuple[Measured, Process]] = []
        for name in names:
            progress(f"bringing up {name}")
            found.append(Measured(name))
            try:
                running.append((found[-1], stack.enter_context(Process(path, name))))
            except (EngineError, GoldenError) as error:
                found[-1].refused = str(error)
        for number in range(effort.starts):
            for of, _ in running:
                progress(f"starting {of.name}, {number + 1} of {effort.starts}")
                of.starts.append(started(path, of.name))
        for number in range(_ROUNDS):
            for of, process in running:
                progress(f"measuring {of.name}, round {number + 1} of {_ROUNDS}")
                _round(of, process, effort)
        return found


def chosen(path: Path) -> list[str]:
    """What "auto" takes for this bundle on this machine, and why, a line each. Raises EngineError."""
    with Process(path, AUTO) as process:
        return process.choice


def started(path: Path, name: str, home: Home = HERE) -> Start:
    """One process from its start to the first action, and no further."""
    process = Process(path, name, once=True, home=home)
    process.close()
    return process.start


def times(process: Process, graph: str, calls: int, period: float) -> list[float]:
    """µs of each of `calls` calls."""
    answer = process.ask(f"times {graph} {calls} {period}")
    assert isinstance(answer, list)
    return [float(us) for us in answer]  # type: ignore[arg-type]  # numbers all


def idle_ms(process: Process, graph: str, seconds: float) -> float:
    """CPU time in ms that is used in `seconds` after a call, while nothing is asked."""
    answer = process.ask(f"idle {graph} {seconds}")
    assert isinstance(answer, float)
    return answer


def cpu_share(process: Process, rate: float, seconds: float) -> float:
    """Share of one core that driving at `rate` (Hz) takes."""
    answer = process.ask(f"cpu {rate} {seconds}")
    assert isinstance(answer, float)
    return answer


def _round(of: Measured, process: Process, effort: Effort) -> None:
    try:
        for graph in process.graphs:
            took = sorted(times(process, graph, _WARM, 0.0))[_WARM // 2] * 1e-6
            for pace, period in PACES.items():
                if period and took > period:
                    continue  # it would not be paced any more
                calls = min(_HOT_CALLS[graph], effort.budget(pace) / max(took, period))
                part = max(math.ceil(calls / _ROUNDS), 1)
                of.us.setdefault((graph, pace), []).extend(times(process, graph, part, period))
        of.cpu_shares.append(cpu_share(process, CPU_RATE, effort.driving / _ROUNDS))
    except EngineError as error:
        of.refused = str(error)
