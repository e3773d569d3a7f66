"""Commands run side by side, each in a process of its own, with a line about what is going on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from acclimate.errors import DeviceFault

ACCLIMATE = (sys.executable, "-c", "from acclimate.command.cli import main; raise SystemExit(main())")
SHORT_TRIAL = ("--shots", "1", "--episodes", "2")  # options of `run`, where a trial need not show anything
_POLL = 0.2  # s
_QUIET = 30.0  # s between two lines where stderr is not a terminal


@dataclass(frozen=True)
class Job:
    """One `acclimate` command. `status` gives a few words on how far it is; `log` takes what it prints.

    result: takes its stdout instead, where that is read.
    """

    title: str
    arguments: tuple[str, ...]
    log: Path
    status: Callable[[], str] = str
    result: Path | None = None


_Running: TypeAlias = tuple[Job, "subprocess.Popen[bytes]"]


def run_in_sight(title: str, job: Job) -> None:
    """Run one job whose progress goes to the terminal as it comes. Raises DeviceFault where it fails."""
    begin = time.monotonic()
    print(f"{title}:", file=sys.stderr, flush=True)
    with job.log.open("wb") as log:
        code = subprocess.run([*ACCLIMATE, *job.arguments], stdout=log, check=False).returncode
    if code != 0:
        raise DeviceFault(f"{title} ended with exit code {code}; see its output above")
    print(f"{title}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


@contextlib.contextmanager
def beside(title: str, job: Job) -> Iterator[None]:
    """Run a job while something else is done in sight, and then show how far it is until it ends.

    Raises DeviceFault with its last line where it fails; it is ended with what is done in sight, as on Ctrl-C.
    """
    _, process = _start(job)
    try:
        yield
        _until_done(title, [job], [(job, process)], 1)
    finally:
        process.terminate()
        process.wait()


class Iterations:
    """The status of a training: how many iterations its run has done, by the length of its metrics."""

    def __init__(self, run: Path) -> None:
        self._metrics = run / "metrics.jsonl"

    def __call__(self) -> str:
        try:
            return str(self._metrics.read_bytes().count(b"\n"))
        except OSError:
            return ""


def run_jobs(title: str, jobs: Sequence[Job], parallel: int) -> None:
    """Run all jobs, at most `parallel` at once, in order.

    Raises DeviceFault with the last line of a job that failed; the others are then ended, as they are on Ctrl-C.
    """
    running: list[_Running] = []
    try:
        _until_done(title, jobs, running, parallel)
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()


def _until_done(title: str, jobs: Sequence[Job], running: list[_Running], parallel: int) -> None:
    """Start what of `jobs` is not `running` yet, and wait for all; `running` stays true of what runs."""
    waiting = list(jobs[len(running) :])
    line = _StatusLine(title, len(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.append(_start(waiting.pop(0)))
            for job, process in list(running):
                if process.poll() is not None:
                    running.remove((job, process))
                    _check(job, process.returncode)
            line.show(len(jobs) - len(waiting) - len(running), [job for job, _ in running])
            time.sleep(_POLL)
    finally:
        line.close()


def _start(job: Job) -> _Running:
    with contextlib.ExitStack() as files:
        log = files.enter_context(job.log.open("wb"))
        result = files.enter_context(job.result.open("wb")) if job.result else log
        return job, subprocess.Popen([*ACCLIMATE, *job.arguments], stdout=result, stderr=log)


def _check(job: Job, code: int) -> None:
    if code != 0:
        lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "it said nothing"
        raise DeviceFault(f"{job.title} ended with exit code {code}: {reason} (all of it is in {job.log})")


class _StatusLine:
    """One line that changes on a terminal; elsewhere a line now and then."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._begin, self._said = time.monotonic(), -_QUIET
        self._terminal = sys.stderr.isatty()

    def show(self, done: int, running: Sequence[Job]) -> None:
        now = time.monotonic()
        if not self._terminal and now - self._said < _QUIET:
            return
        self._said = now
        doing = ", ".join(f"{job.title} {job.status()}".strip() for job in running)
        text = f"{self._title}: {done} of {self._total} done, {now - self._begin:.0f} s  {doing}"
        print(f"\r{text[:150]}\x1b[K" if self._terminal else text, end="" if self._terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip

    def close(self) -> None:
        took = f"{self._title}: {time.monotonic() - self._begin:.0f} s"
        print(f"\r{took}\x1b[K" if self._terminal else took, file=sys.stderr, flush=True)
