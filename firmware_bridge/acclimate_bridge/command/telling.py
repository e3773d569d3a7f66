"""Lines for people while a machine is driven, written by a thread of their own: a slow terminal delays nothing."""

from __future__ import annotations

import contextlib
import queue
import threading
from types import TracebackType
from typing import Self, TextIO

_WAITING = 100  # lines; where more wait, nobody reads them


class Teller:
    """Call it with a line: it never waits. What a stream does not take in time is dropped, and how much is said."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def __call__(self, line: str) -> None:
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self, timeout: float = 1.0) -> None:
        """Give what waits up to `timeout` s to be written."""
        if self._dropped:
            self(f"({self._dropped} more lines were not shown)")
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
            self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            # A stream that is closed or full takes nothing, and that is no reason to stop driving.
            with contextlib.suppress(OSError, ValueError):
                print(line, file=self._stream, flush=True)
