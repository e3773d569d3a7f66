"""How a long command shows that it is alive: a bar on a terminal, plain lines otherwise; always on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from acclimate_trainer.compiled.stopwatch import COMPILING, OPTIMIZER, ROLL_OUTS

_PLAIN_LINES = 10  # over the whole run
_WIDTH, _NARROWEST = 28, 8  # of the bar
_REDRAW = 0.1  # s


def headline(figures: Mapping[str, float], metric: str = "error") -> dict[str, float]:
    """The figures by which training is judged: the family's headline metric, errors, or returns."""
    judged = (metric, "error", "return")
    return {name: value for name, value in figures.items() if name.startswith(judged)}


class Pace(NamedTuple):
    """How fast a process has trained, and the shares of its time by what they went into."""

    iterations_per_s: float
    shares: Mapping[str, float]

    def __str__(self) -> str:
        parts = [f"{name} {100.0 * share:.0f} %" for name, share in self.shares.items() if share >= 0.005]
        return f"{self.iterations_per_s:.3g} iterations/s; of the time {', '.join(parts)}"


def pace(iterations: int, seconds: float, spent: Mapping[str, float]) -> Pace:
    """spent: seconds by name, of the whole; what has no name here is torch's."""
    seconds = max(seconds, 1e-9)
    named = {name: spent.get(name, 0.0) / seconds for name in (ROLL_OUTS, OPTIMIZER, COMPILING)}
    return Pace(iterations / seconds, {"torch": max(0.0, 1.0 - sum(named.values())), **named})


class ProgressBar:
    """Progress of `total` iterations, the first `done` of which an earlier run has made."""

    def __init__(self, title: str, total: int, done: int = 0, metric: str = "error") -> None:
        """metric: the name of the family's headline."""
        self._title, self._total, self._first, self._metric = title, total, done, metric
        self._begin = self._drawn = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def update(self, done: int, figures: Mapping[str, float]) -> None:
        """Show that `done` iterations are done, with the newest figures."""
        now = time.monotonic()
        last = done == self._total
        if self._terminal:
            if last or now - self._drawn >= _REDRAW:
                self._drawn = now
                line = self._bar(self._line(done, now, figures), done / self._total)
                print(f"\r{line}\x1b[K", end="\n" if last else "", file=sys.stderr, flush=True)
        elif last or done % max(1, self._total // _PLAIN_LINES) == 0:
            print(self._line(done, now, figures), file=sys.stderr, flush=True)

    def remark(self, text: str) -> None:
        """Say something in passing, on a line of its own."""
        print((f"\r{text}\x1b[K" if self._terminal else text), file=sys.stderr, flush=True)

    def leave(self, remark: str) -> None:
        """Stop before the end, with a remark on a line of its own."""
        print(("\n" if self._terminal else "") + remark, file=sys.stderr, flush=True)

    def _line(self, done: int, now: float, figures: Mapping[str, float]) -> str:
        elapsed = now - self._begin
        made = max(done - self._first, 1)
        left = elapsed / made * (self._total - done)
        times = f"{made / max(elapsed, 1e-9):.3g}/s  {elapsed:.0f} s, {left:.0f} s left"
        shown = "  ".join(f"{name} {value:.4f}" for name, value in headline(figures, self._metric).items())
        return f"{self._title} {done}/{self._total}  {times}  {shown}"

    @staticmethod
    def _bar(line: str, share: float) -> str:
        """A bar before the line, as one line that fits the terminal: one that wraps cannot be redrawn."""
        columns = _columns() - 1
        width = max(_NARROWEST, min(_WIDTH, columns - len(line) - 1))
        return f"{'█' * round(share * width):░<{width}} {line}"[:columns]


def _columns() -> int:
    """Width of the terminal; one that does not know its own is taken for a common one."""
    return os.get_terminal_size(sys.stderr.fileno()).columns or 80
