"""An hour on simulated time: a device's clock 1 % off, a program held up for .15 s every 3 s, bursts of 16 ms.

A servo that is always on the move, driven at 100 Hz by the real loop over the real link. Each pause trips the device's
watchdog, and must be cleared exactly once; no frame is lost on the way, and none may be missing in the counters.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks._long import long_drive
from benchmarks.harness import Figure

SECONDS = 3600.0


def run(seed: int) -> Mapping[str, Figure]:
    """`seconds` that it lasted, `ticks`, `pauses` and times `rearmed`, which must be as many; frames `received`, and
    `missed` by the counters; `stale`: ticks without a new reading, for which bursts are to blame; `drift` as found.
    """
    driven = long_drive(SECONDS, seed)
    return {
        "seconds": SECONDS,
        "ticks": float(driven.loop.ticks),
        "pauses": float(driven.pauses),
        "rearmed": float(driven.loop.rearmed),
        "received": float(driven.link.received),
        "missed": float(driven.missed),
        "stale": float(driven.loop.stale),
        "drift": driven.link.drift,
    }
