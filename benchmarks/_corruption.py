"""Frames that are corrupted in every way that a wire has, by the million: does any of them become another frame?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from acclimate_bridge.link.messages import Cmd, Mode, Schema, Type, WireChannel
from acclimate_bridge.link.wire import Decoder, Frame, encode
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_CHANNEL = WireChannel("x", "rad", 2.0**-20, -100.0, 100.0)
_ACTUATORS = (1, 2, 6, 27)
_POOL, _BLOCK = 2_000, 20_000  # frames that are sent; corrupted ones at a time
SESSION = 0xABCD


class Found(NamedTuple):
    """Of corrupted frames: how many there were, how many were dropped, and how many passed for another one."""

    corrupted: int
    dropped: int
    wrong: int


def corrupt(frames: int, seed: int) -> Found:
    """At least `frames` of them, of devices with one to 27 actuators, in equal shares of every kind of damage."""
    rng, total = np.random.default_rng(seed), Found(0, 0, 0)
    while total.corrupted < frames:
        for actuators in _ACTUATORS:
            found = _block(actuators, rng)
            total = Found(*(a + b for a, b in zip(total, found, strict=True)))
    return total


def _block(actuators: int, rng: np.random.Generator) -> Found:
    schema = Schema((_CHANNEL,), tuple(_CHANNEL._replace(name=f"x{i}") for i in range(actuators)))
    pool = [_command(actuators, rng) for _ in range(_POOL)]
    sent, known = _matrix([encode(frame, schema.layout) for frame in pool]), set(pool)
    decoder = Decoder(schema.layout)
    corrupted = wrong = 0
    for damaged, changed in _damaged(sent, rng):
        wrong += sum(frame not in known for frame in decoder.feed(damaged + b"\0"))
        corrupted += changed
    return Found(corrupted, decoder.counters.dropped, wrong)


def _command(actuators: int, rng: np.random.Generator) -> Frame:
    seq, t_us = int(rng.integers(1 << 16)), int(rng.integers(1 << 32))
    targets = tuple(rng.integers(-(2**31) + 1, 2**31, actuators).tolist())
    return Frame(Type.CMD, seq, t_us, SESSION, Cmd(100, Mode.DRIVE, targets).pack())


def _matrix(encoded: list[bytes]) -> Bytes:
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(len(encoded), -1)


def _damaged(sent: Bytes, rng: np.random.Generator) -> Iterator[tuple[bytes, int]]:
    """A block of each kind of damage, as a stream, and how many of its frames are not what was sent."""
    for damage in (_flips, _burst, _cut, _splice, _shift):
        rows = sent[rng.integers(len(sent), size=_BLOCK)]
        yield damage(rows, rng)


def _changed(rows: Bytes, damaged: Bytes) -> tuple[bytes, int]:
    return damaged.tobytes(), int((rows != damaged).any(axis=1).sum())


def _flips(rows: Bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """One to eight bits, anywhere, the zero at the end included."""
    damaged, n = rows.copy(), len(rows)
    for k in range(8):
        hit = rng.integers(1, 9, n) > k
        at, bit = rng.integers(rows.shape[1], size=n), rng.integers(8, size=n)
        damaged[np.arange(n), at] ^= np.where(hit, 1 << bit, 0).astype(np.uint8)
    return _changed(rows, damaged)


def _burst(rows: Bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """A run of up to 16 bytes of noise."""
    n, width = rows.shape
    begin, length = rng.integers(width, size=(n, 1)), rng.integers(1, 17, size=(n, 1))
    column = np.arange(width)[None]
    hit = (column >= begin) & (column < begin + length)
    noise = rng.integers(256, size=rows.shape).astype(np.uint8)
    return _changed(rows, np.where(hit, noise, rows).astype(np.uint8))


def _cut(rows: Bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """One to four bytes lost, anywhere: also the zero between two frames."""
    keep = np.ones(rows.shape, np.bool_)
    for _ in range(4):
        keep[np.arange(len(rows)), rng.integers(rows.shape[1], size=len(rows))] = False
    return rows[keep].tobytes(), len(rows)


def _splice(rows: Bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """The beginning of one frame and the end of another."""
    other = rows[rng.permutation(len(rows))]
    at = rng.integers(1, rows.shape[1], size=(len(rows), 1))
    spliced = np.where(np.arange(rows.shape[1])[None] < at, rows, other).astype(np.uint8)
    different = (rows != spliced).any(axis=1) & (other != spliced).any(axis=1)
    return spliced.tobytes(), int(different.sum())


def _shift(rows: Bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """All bytes shifted by some bits, as where a start bit was missed."""
    by = rng.integers(1, 8, size=(len(rows), 1))
    wide = rows.astype(np.uint16)
    shifted = ((wide << by) | (np.roll(wide, 1, axis=1) >> (8 - by))).astype(np.uint8)
    return _changed(rows, shifted)
