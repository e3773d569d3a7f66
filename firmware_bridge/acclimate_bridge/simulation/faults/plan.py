"""What goes wrong on a link, as a value; and what has gone wrong, as counters."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from acclimate.errors import UsageError

KINDS = ("flip", "drop", "duplicate", "reorder", "merge", "split")
"""What may happen to a single frame, as the shares of `FaultPlan` are called."""


@dataclass(frozen=True)
class FaultPlan:
    """Shares are of the frames in each direction, at most one of them happens to a frame; times are in s.

    flip: one bit; drop; duplicate; reorder: behind the next frame that is whole; merge: with the next frame, for want
    of the zero in between; split: by a zero in the middle.
    latency, jitter: each frame takes the first, and up to the second on top. pace: bits per second of the line; 0: a
    line that takes no time. burst: the host gets what has come only this often, as from an adapter with a latency
    timer. drift: by what share the device's clock runs fast. stall: mean time between pauses of up to `stalled` in
    which nothing comes through. unplug, reset, brown_out: when each of these happens, once; 0: never.
    """

    flip: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    merge: float = 0.0
    split: float = 0.0
    latency: float = 0.0
    jitter: float = 0.0
    pace: float = 0.0
    burst: float = 0.0
    drift: float = 0.0
    stall: float = 0.0
    stalled: float = 0.2
    unplug: float = 0.0
    unplugged: float = 1.0
    reset: float = 0.0
    brown_out: float = 0.0

    def __post_init__(self) -> None:
        """Raises UsageError for what cannot be."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or (value < 0.0 and field.name != "drift"):
                raise UsageError(f"{field.name} must be 0 or more, found {value:g}")
        if sum(self.shares) > 1.0:
            raise UsageError(
                f"the shares of {', '.join(KINDS)} must add up to 1 at most, found {sum(self.shares):g}"
            )
        if abs(self.drift) > 0.1:
            raise UsageError(f"drift must be within ±0.1, found {self.drift:g}")

    @property
    def shares(self) -> tuple[float, ...]:
        """In the order of KINDS."""
        return tuple(getattr(self, kind) for kind in KINDS)


@dataclass
class Done:
    """What one direction has been through, in frames."""

    passed: int = 0  # all that came in
    flip: int = 0
    drop: int = 0
    duplicate: int = 0
    reorder: int = 0
    merge: int = 0  # pairs
    split: int = 0
    stall: int = 0  # pauses

    @property
    def damaged(self) -> int:
        """What the receiver must have dropped and counted."""
        return self.flip + self.merge + 2 * self.split

    @property
    def gone(self) -> int:
        """Frames that never arrived."""
        return self.drop + self.flip + self.split + 2 * self.merge

    def as_dict(self) -> dict[str, int]:
        return asdict(self) | {"damaged": self.damaged, "gone": self.gone}
