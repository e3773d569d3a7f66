"""Targets that go where they are wanted no faster than a device allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from acclimate_bridge.link.messages import WireChannel

Targets = tuple[float, ...]
STEP_US = 1000


class Ramp:
    """What is applied, and what is wanted. It moves in steps of `STEP_US`, each a whole number of wire integers."""

    def __init__(self, actuators: Sequence[WireChannel], slew: Sequence[float] | None) -> None:
        """slew: of each actuator in its unit per s, 0 for no limit."""
        self._actuators = tuple(actuators)
        rates = slew or (0.0,) * len(self._actuators)
        self._steps = tuple(_step(rate, c.scale) for rate, c in zip(rates, self._actuators, strict=True))
        self.applied: Targets = ()
        self._wanted: Targets = ()

    @property
    def arrived(self) -> bool:
        """Whether nothing is left to do."""
        return self.applied == self._wanted

    def rest(self, targets: Targets) -> None:
        """Neutral is there at once, and where the next drive begins."""
        self.applied = self._wanted = targets

    def want(self, targets: Targets) -> Targets:
        """What is applied now that `targets`, within the channels' ranges, are wanted."""
        self._wanted = targets
        began = zip(self.applied, targets, self._steps, self._actuators, strict=True)
        self.applied = tuple(
            [
                to if not step or math.isnan(at) else min(max(at, channel.minimum), channel.maximum)
                for at, to, step, channel in began
            ]
        )
        return self.applied

    def step(self) -> Targets:
        """What is applied after one step more."""
        moves = zip(self.applied, self._wanted, self._steps, strict=True)
        self.applied = tuple([at + min(max(to - at, -step), step) for at, to, step in moves])
        return self.applied


def _step(rate: float, scale: float) -> float:
    """In the channel's unit; 0 for no limit."""
    return max(round(rate / scale * STEP_US * 1e-6), 1) * scale if rate else 0.0
