"""What a simulated device drives and measures, and which machine that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from acclimate_bridge.link.messages import Schema

ANY = "any"
"""As a kind of change: whatever may happen to machines of the family, drawn as in training."""


class Plant(Protocol):
    """A machine as its device meets it. Times are the device's own, in s, and never run back."""

    @property
    def time(self) -> float:
        """How far the plant has been advanced, in s."""
        ...

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        """Take actuator targets that arrive at `now`."""
        ...

    def advance(self, now: float) -> None:
        """Live on until `now`."""
        ...

    def measure(self) -> tuple[float, ...]:
        """Sensor values at the present time, in channel order."""
        ...

    def begin(self) -> bool:
        """Begin an episode anew, somewhere; False for a machine that nobody puts back, and that drives on instead."""
        ...


class Living(Plant, Protocol):
    """A plant of which the truth is known, and to which things may happen."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """What is true of it now, by the names of the task specification."""
        ...

    def change(self, kind: str, rng: np.random.Generator) -> None:
        """Let something happen to it: one of its specimen's `changes`. The state stays as it is."""
        ...

    def described(self) -> str:
        """What is true of it now, in words."""
        ...


class Specimen(Protocol):
    """One machine, as a value: it can be started any number of times, and is new each time."""

    @property
    def name(self) -> str:
        """What to call it: its type, or its family and number."""
        ...

    @property
    def schema(self) -> Schema:
        """Its sensors and actuators on the wire."""
        ...

    @property
    def rate(self) -> float:
        """Control rate, Hz."""
        ...

    @property
    def changes(self) -> tuple[str, ...]:
        """What may happen to it; empty where nothing ever does."""
        ...

    def start(self, rng: np.random.Generator) -> Living:
        """The machine as new. All its randomness comes from `rng`."""
        ...
