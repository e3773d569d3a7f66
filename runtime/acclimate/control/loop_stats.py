"""How well the loop kept its promises: counted per tick, summarised on demand."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

_KEPT = 2**14  # latest ticks that the percentiles look at


@dataclass(frozen=True)
class LoopStats:
    """Counts are in ticks; times are in seconds.

    late:      ticks that began more than a tenth of a period after their deadline.
    skipped:   deadlines that passed altogether; they are not made up for.
    jitter_*:  percentiles of how long after its deadline a tick began.
    bias:      mean period minus the nominal one.
    stale:     ticks without a new reading.
    blind:     of these, ticks after too long without one: neutral was commanded.
    bad:       ticks without a usable reading (none, not finite, device in fault, or blind): neutral was commanded.
    nonfinite: ticks whose observation or action was not finite.
    clamped:   ticks whose action was beyond the channels' limits.
    slewed:    ticks whose action was held back by the slew limit.
    rearmed:   times that the device was armed again after its watchdog had tripped.
    """

    ticks: int
    late: int
    skipped: int
    jitter_p50: float
    jitter_p99: float
    bias: float
    stale: int
    blind: int
    bad: int
    nonfinite: int
    clamped: int
    slewed: int
    rearmed: int

    def as_dict(self) -> dict[str, float | int]:
        return dict(vars(self))


@dataclass
class Tally:
    """What the loop counts while it runs."""

    ticks: int = 0
    late: int = 0
    skipped: int = 0
    stale: int = 0
    blind: int = 0
    bad: int = 0
    nonfinite: int = 0
    clamped: int = 0
    slewed: int = 0
    rearmed: int = 0
    drift: float = 0.0  # s: the times from one tick to the next, less the nominal period, …
    periods: int = 0  # … summed over so many
    lateness: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))  # s, of the latest ticks

    def summary(self) -> LoopStats:
        p50, p99 = (float(p) for p in np.percentile(self.lateness, [50, 99])) if self.lateness else (0.0, 0.0)
        return LoopStats(
            ticks=self.ticks,
            late=self.late,
            skipped=self.skipped,
            jitter_p50=p50,
            jitter_p99=p99,
            bias=self.drift / max(self.periods, 1),
            stale=self.stale,
            blind=self.blind,
            bad=self.bad,
            nonfinite=self.nonfinite,
            clamped=self.clamped,
            slewed=self.slewed,
            rearmed=self.rearmed,
        )
