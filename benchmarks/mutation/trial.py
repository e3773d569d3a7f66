"""One bug under the tests that concern it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from benchmarks.harness import BenchmarkError
from benchmarks.mutation import child
from benchmarks.mutation.subjects import LEFT_OUT, ROOT, Subject

Verdict: TypeAlias = Literal["killed", "survived"]
_LEAST, _TIMES = 60.0, 10.0  # s that tests may take with a bug, and of what they take without one
_BUSIEST, _MORE = (
    3.0,
    5.0,
)  # of the processor time that they take without one, and s more: then a loop has no end
_CONTEXT = multiprocessing.get_context("forkserver")


class Outcome(NamedTuple):
    """code: pytest's; below 0 where processor time ran out, as in a loop without an end; None where all time did.

    seconds: how long it took; busy: s of processor time, as far as is known.
    """

    code: int | None
    seconds: float
    busy: float = 0.0

    @property
    def verdict(self) -> Verdict:
        return "survived" if self.code == 0 else "killed"


def prepare() -> None:
    """Have new processes begin with what all tests import."""
    _CONTEXT.set_forkserver_preload(list(child.PRELOADED))


class Limit(NamedTuple):
    """How long tests may take, in s, and how much processor time: however busy the machine, a loop takes no more."""

    seconds: float
    busy: int


def without_bug(subject: Subject) -> Limit:
    """What the tests of a subject may take. Raises BenchmarkError where they fail as it is."""
    outcome = _run(child.NOTHING, subject.tests, None)
    if outcome.code != 0:
        raise BenchmarkError(
            f"the tests of {subject.module} fail without a bug (pytest ended with {outcome.code}): "
            f"{' '.join(subject.tests)}"
        )
    return Limit(max(_TIMES * outcome.seconds, _LEAST), round(_BUSIEST * outcome.busy + _MORE))


def with_bug(subject: Subject, source: str, limit: Limit) -> Outcome:
    """What the tests of a subject say to another source of it, within a limit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.py"
        path.write_text(source, encoding="utf-8")
        return _run(f"{subject.module}={path}", subject.tests, limit)


def _run(bug: str, tests: tuple[str, ...], limit: Limit | None) -> Outcome:
    begin = time.monotonic()
    seconds, busy = limit or (None, resource.RLIM_INFINITY)
    told, tells = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=child.run_tests, args=(str(ROOT), bug, tests, LEFT_OUT, busy, tells))
    process.start()
    process.join(seconds)
    late = process.is_alive()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    took = told.recv() if told.poll() else 0.0
    return Outcome(None if late else process.exitcode, time.monotonic() - begin, took)
