"""One direction of a link on which things go wrong: bytes and time in, bytes and time out; seeded."""

from __future__ import annotations

import heapq
import math
from itertools import accumulate

import numpy as np

from acclimate_bridge.simulation.faults.plan import KINDS, Done, FaultPlan

_BITS = 10  # of a byte on a serial line
NEVER = math.inf


class Pipe:
    """Takes bytes, cuts them into frames at the zeros, and lets the plan happen to each. Times must not run back."""

    def __init__(self, plan: FaultPlan, rng: np.random.Generator, *, bursts: bool = False) -> None:
        """bursts: whether this is the direction that the plan's `burst` holds up."""
        self.done = Done()
        self._plan, self._rng = plan, rng
        self._burst = plan.burst if bursts else 0.0
        self._bounds = list(accumulate(plan.shares))
        self._rest = b""
        self._due: list[tuple[float, int, bytes]] = []
        self._order = 0
        self._newest = self._free = 0.0  # when the last frame comes out; when the line is free again
        self._behind: bytes | None = None  # to come after the next frame that is whole
        self._open: bytes | None = None  # to be merged with the next frame
        self._stall_from = self._stall_until = self._next_stall(0.0)

    @property
    def next_due(self) -> float:
        """When the next bytes come out; infinity for never."""
        return self._due[0][0] if self._due else NEVER

    def feed(self, data: bytes, now: float) -> None:
        """Bytes that are sent at `now`."""
        *frames, self._rest = (self._rest + data).split(b"\0")
        for content in frames:
            if content:
                self._frame(content, now)

    def take(self, now: float) -> bytes:
        """All that has come out until `now`."""
        out = []
        while self._due and self._due[0][0] <= now:
            out.append(heapq.heappop(self._due)[2])
        return b"".join(out)

    def change(self, plan: FaultPlan) -> None:
        """From now on another plan; what is on its way arrives as it would have."""
        self._plan, self._bounds = plan, list(accumulate(plan.shares))
        self._stall_from = self._stall_until = self._next_stall(self._newest)

    def calm(self) -> None:
        """Nothing happens to frames from now on."""
        self._bounds = [0.0]

    def cut(self) -> None:
        """Lose whatever is on its way."""
        self._due.clear()
        self._rest, self._behind, self._open = b"", None, None

    def _frame(self, content: bytes, now: float) -> None:
        self.done.passed += 1
        if self._open is not None:
            content, self._open = self._open + content, None
            self._send(content + b"\0", now)
            return
        kind = self._drawn()
        if kind is not None:
            setattr(self.done, kind, getattr(self.done, kind) + 1)
        if kind == "merge":
            self._open = content
        elif kind == "reorder":
            self._behind = content + b"\0"
        elif kind != "drop":
            for part in self._changed(content, kind):
                self._send(part, now)
            if kind in (None, "duplicate"):
                self._send_late(now)

    def _drawn(self) -> str | None:
        bounds, drawn = self._bounds, self._rng.random()
        if drawn >= bounds[-1]:
            return None
        kind = KINDS[next(i for i, bound in enumerate(bounds) if drawn < bound)]
        # A second one cannot wait behind the first.
        return None if kind == "reorder" and self._behind is not None else kind

    def _changed(self, content: bytes, kind: str | None) -> list[bytes]:
        if kind == "flip":
            content = self._flipped(content)
        elif kind == "split" and len(content) > 1:
            at = int(self._rng.integers(1, len(content)))
            content = content[:at] + b"\0" + content[at:]
        return [content + b"\0"] * (2 if kind == "duplicate" else 1)

    def _flipped(self, content: bytes) -> bytes:
        """One bit, but none that would make a zero: that is `split`."""
        damaged = bytearray(content)
        while True:
            at, bit = int(self._rng.integers(len(content))), 1 << int(self._rng.integers(8))
            if damaged[at] != bit:
                damaged[at] ^= bit
                return bytes(damaged)

    def _send_late(self, now: float) -> None:
        if self._behind is not None:
            late, self._behind = self._behind, None
            self._send(late, now)

    def _send(self, data: bytes, now: float) -> None:
        plan = self._plan
        at = now + plan.latency + (plan.jitter * self._rng.random() if plan.jitter else 0.0)
        if plan.pace:
            at = self._free = max(at, self._free) + _BITS * len(data) / plan.pace
        at = self._after_stall(at)
        if self._burst:
            at = math.ceil(at / self._burst - 1e-9) * self._burst
        self._newest = at = max(at, self._newest)  # a line keeps the order
        heapq.heappush(self._due, (at, self._order, data))
        self._order += 1

    def _after_stall(self, at: float) -> float:
        while at >= self._stall_until:
            self._stall_from = self._next_stall(self._stall_until)
            self._stall_until = self._stall_from + self._rng.uniform(0.0, self._plan.stalled)
            self.done.stall += self._stall_from < NEVER
        return self._stall_until if at >= self._stall_from else at

    def _next_stall(self, after: float) -> float:
        return after + self._rng.exponential(self._plan.stall) if self._plan.stall else NEVER
