"""What the time of a process goes into, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ROLL_OUTS, COMPILING, OPTIMIZER = "compiled roll-outs", "compiling", "optimizer"


@dataclass
class Stopwatch:
    """Seconds by name. What is named inside another is its own, and no part of the other."""

    seconds: dict[str, float] = field(default_factory=dict)
    ticks: int = 0
    """Control ticks that were simulated, of all episodes together."""
    _inner: list[float] = field(
        default_factory=list
    )  # of all that is going on, the time of what was inside it

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Inside, time goes into `name`."""
        begin = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - begin
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._inner.pop()
            if self._inner:
                self._inner[-1] += whole

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """What has come to `seconds` as they were before."""
        return {name: seconds - before.get(name, 0.0) for name, seconds in self.seconds.items()}


STOPWATCH = Stopwatch()
"""That of this process, in whose main thread all training runs."""
