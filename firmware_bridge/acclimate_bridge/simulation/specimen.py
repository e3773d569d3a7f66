"""Machines that can be put behind the wire: which ones there are, and what is true of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from acclimate_bridge.simulation.plant import Plant
from acclimate_bridge.simulation.profile import Profile

ANY = "any"
"""As a kind of change: whatever may happen to machines of the family, drawn as in training."""


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
    def profile(self) -> Profile:
        """What its device is: channels, control rate, watchdog."""
        ...

    @property
    def changes(self) -> tuple[str, ...]:
        """What may happen to it; empty where nothing ever does."""
        ...

    def start(self, rng: np.random.Generator) -> Living:
        """The machine as new. All its randomness comes from `rng`."""
        ...
