"""Which channel measures how fast another one changes, as far as names and units say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_WORDS = (
    ("position", "velocity"),
    ("position", "speed"),
    ("angle", "velocity"),
    ("angle", "rate"),
    ("place", "speed"),
)
_SUFFIXES = ("velocity", "speed", "rate")


class Named(Protocol):
    """A channel with one value."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...


def derivative_pairs(channels: Sequence[Named]) -> list[tuple[int, int]]:
    """Pairs of a position and its velocity, by their numbers.

    Units must be U and U/s; and either the names say that they belong together, as position.1 and velocity.1 or elbow
    and elbow_velocity do, or there is one channel of each unit only.
    """
    by_name = {channel.name: i for i, channel in enumerate(channels)}
    found = []
    for i, channel in enumerate(channels):
        named = [by_name.get(name) for name in _counterparts(channel.name)]
        same = [k for k, other in enumerate(channels) if other.unit == f"{channel.unit}/s"]
        alone = sum(other.unit == channel.unit for other in channels) == 1 and len(same) == 1
        fitting = [k for k in named if k in same] or (same if alone else [])
        if fitting and fitting[0] is not None:
            found.append((i, fitting[0]))
    return found


def _counterparts(name: str) -> list[str]:
    replaced = [name.replace(position, velocity) for position, velocity in _WORDS if position in name]
    return [*replaced, *(f"{name}_{suffix}" for suffix in _SUFFIXES)]
