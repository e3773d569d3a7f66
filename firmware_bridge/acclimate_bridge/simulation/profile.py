"""What a device is, apart from what it is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from acclimate.task.spec import HOLD, TaskSpec

from acclimate_bridge.link.messages import Schema
from acclimate_bridge.simulation.schema import schema_of

_WATCHDOG_MS, _WATCHDOG_PERIODS = 100, 3  # the longer of the two

Neutral: TypeAlias = float | Literal["hold"]


@dataclass(frozen=True)
class Profile:
    """What a device is, apart from what it is doing.

    neutral: the safe target of each actuator, or "hold": what the sensor of the same name reads. Where it is not given,
    zero, or what of the range is nearest to it. slew: how fast targets may change, in each actuator's unit per s, 0 for
    no limit; neutral is there at once.
    """

    schema: Schema
    rate_hz: float = 100.0
    watchdog_ms: int = 100
    watchdog_bounds_ms: tuple[int, int] = (20, 1000)
    firmware: str = "acclimate-sim 1"
    neutral: tuple[Neutral, ...] | None = None
    slew: tuple[float, ...] | None = None

    @property
    def neutral_targets(self) -> tuple[Neutral, ...]:
        """The safe target of each actuator, given or not."""
        return self.neutral or tuple(min(max(0.0, c.minimum), c.maximum) for c in self.schema.actuators)


def profile_of(spec: TaskSpec) -> Profile:
    """The device of any machine with this specification. Raises UsageError for what the wire cannot carry."""
    patience = max(_WATCHDOG_MS, round(1e3 * _WATCHDOG_PERIODS * spec.control_dt))
    return Profile(
        schema_of(spec),
        rate_hz=1.0 / spec.control_dt,
        watchdog_ms=patience,
        watchdog_bounds_ms=(20, max(1000, patience)),
        neutral=tuple(
            HOLD if c.neutral == HOLD else float(c.neutral) for c in spec.action for _ in c.scalars
        ),
    )
