"""A program in a process of its own that is asked, and answers: a line of JSON each.

Where an engine crashes on this board, or takes much memory, it does neither to the program that asks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from acclimate.errors import EngineError, GoldenError
from acclimate.fields import Json


class Home(NamedTuple):
    """Which Python runs the processes, and in which environment; None: that of this process."""

    python: str
    environment: Mapping[str, str] | None = None


HERE = Home(sys.executable)


class ChildProcess:
    """The program, as soon as it is ready; `ask` it as long as it is open.

    Its first line on stdout, blank lines aside, is a JSON object: {"refused": why, "kind": type of the error}, or
    whatever it has to tell. Then each line on stdin is a question, and each line on stdout the answer.
    """

    def __init__(self, program: str, arguments: Sequence[str], home: Home = HERE) -> None:
        """program: Python. Raises GoldenError where it computes otherwise, EngineError where it is refused or dies."""
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            [home.python, "-P", "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_own_environment() if home.environment is None else dict(home.environment),
            start_new_session=True,  # Ctrl-C is for the parent alone, which ends its children in order
        )
        try:
            first = self._line()
            self.first_line_ms = 1e3 * (time.perf_counter() - begin)
            self.told = json.loads(first if first.strip() else self._line())
            if "refused" in self.told:
                raise (GoldenError if self.told["kind"] == "GoldenError" else EngineError)(
                    self.told["refused"]
                )
        except BaseException:
            self.close()
            raise

    def ask(self, question: str) -> Json:
        """The answer. Raises EngineError where the process dies of the question."""
        pipe = _open(self._process.stdin)
        try:
            pipe.write(question + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._died() from None
        answer: Json = json.loads(self._line())
        return answer

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self) -> str:
        line = _open(self._process.stdout).readline()
        if not line:
            raise self._died()
        return line

    def _died(self) -> EngineError:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return EngineError(f"its process died ({how})")


def _own_environment() -> dict[str, str]:
    """That of this process, in which another one finds this package where this one has found it."""
    folders = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # all of them are pipes
    return pipe
