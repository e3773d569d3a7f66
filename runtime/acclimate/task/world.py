"""Machines of a family as plain numbers, driven tick by tick: what simulated devices and evaluations are made of.

A package that can simulate a family registers it in the entry-point group `acclimate.worlds`, under the family's
name, or under "*" for any family whose code is at hand (see `Opener`). So the part that simulates need not know the
part that trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.fields import Json
from acclimate.task.spec import TaskSpec


class Machine(Protocol):
    """One machine. Actions and readings are in the units of the spec's channels, and in its order."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """What is true of it now, by the spec's names: what an oracle is told."""
        ...

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """Begin an episode somewhere; what its sensors read, (n_sensors,). All randomness comes from `rng`."""
        ...

    def step(self, action: FloatArray) -> FloatArray:
        """One control period under `action` (n_act,); what the sensors read after it, (n_sensors,)."""
        ...

    def change(self, rng: np.random.Generator) -> bool:
        """Something happens to it, as in training; False where nothing ever does to machines of this family."""
        ...


class World(Protocol):
    """All machines of a family."""

    @property
    def spec(self) -> TaskSpec: ...

    def held_out(self, seed: int, number: int) -> Machine:
        """A machine that training does not meet: the same for the same two numbers."""
        ...

    def with_parameters(self, values: Mapping[str, float]) -> Machine:
        """A typical machine, but for these. Raises UsageError for an unknown name, listing the valid ones."""
        ...


class Opener(Protocol):
    """What an entry of the group `acclimate.worlds` is."""

    def __call__(self, name: str, use: str | None, options: Mapping[str, Json]) -> World:
        """name: the family's; use: the file and class that it comes from, FILE.py:Class, where it is not built in.

        Raises UsageError where the family cannot be opened.
        """
        ...
