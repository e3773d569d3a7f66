"""Random numbers that everybody meets alike: a generator of its own for every purpose and machine."""

from __future__ import annotations

import zlib

import numpy as np

# What the numbers are for: the last entry of a key.
MACHINE, NOISE, REFERENCES, EXPLORATION, CHANGE, TUNING = range(6)


def generator(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for every key, independent of the others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def named(name: str) -> int:
    """A name as a part of a key: the order in which names are given then changes nothing."""
    return zlib.crc32(name.encode())
