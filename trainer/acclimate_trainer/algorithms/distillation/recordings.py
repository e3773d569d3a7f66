"""Recordings of any controller, as `acclimate run --record` writes them: what it saw, and what it did then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.arrays import FloatArray
from acclimate.control.recording import Record, load_record
from acclimate.errors import UsageError
from acclimate.task.spec import ActionChannel, ObservationChannel, TaskSpec
from torch import Tensor


class Recorded(NamedTuple):
    """Episodes of one length; those that were shorter end in ticks of no weight."""

    obs: Tensor  # (n, S, n_obs)
    action: Tensor  # what the device was told (n, S, n_act)
    weight: Tensor  # 1 where the controller had a reading and drove, (n, S)


def read_all(paths: Sequence[str], spec: TaskSpec, gap: int) -> Recorded:
    """Every episode in which anything was driven, channels in the order of the spec.

    gap: ticks in a row that may lack a reading. Raises UsageError that names file, row and channel.
    """
    parts = [_read(Path(path), spec, gap) for path in paths]
    longest = max(part.weight.shape[1] for part in parts)
    padded = [_padded(part, longest - part.weight.shape[1]) for part in parts]
    return Recorded(*(torch.cat(column) for column in zip(*padded, strict=True)))


def _padded(part: Recorded, ticks: int) -> Recorded:
    return Recorded(
        F.pad(part.obs, (0, 0, 0, ticks)),
        F.pad(part.action, (0, 0, 0, ticks)),
        F.pad(part.weight, (0, ticks)),
    )


def _read(path: Path, spec: TaskSpec, gap: int) -> Recorded:
    record = load_record(path)
    if record.task is None:
        raise UsageError(
            f"{path} does not say what was recorded; `acclimate run --record FILE` writes it down"
        )
    if record.task.control_dt != spec.control_dt:
        raise UsageError(
            f"{path} was recorded at a period of {record.task.control_dt:g} s, expected {spec.control_dt:g} s, that of "
            f"{spec.name}"
        )
    theirs, ours = record.task, spec
    obs = _ordered(record.obs[:, :-1], path, "observation", theirs.observation, ours.observation)
    action = _ordered(record.applied, path, "action", theirs.action, ours.action)
    drove = np.flatnonzero(record.mask.any(axis=1))
    if not len(drove):
        raise UsageError(f"{path} holds no episode in which anything was driven")
    for name, values, channels in (("obs", obs, ours.observation), ("applied", action, ours.action)):
        _require_finite(values[drove], path, name, channels, record.rows[drove])
    _require_whole(record, drove, path, spec, gap)
    return Recorded(*(torch.from_numpy(x[drove].astype(np.float32)) for x in (obs, action, record.mask)))


def _ordered(
    values: FloatArray,
    path: Path,
    kind: str,
    theirs: Sequence[ObservationChannel | ActionChannel],
    ours: Sequence[ObservationChannel | ActionChannel],
) -> FloatArray:
    """Columns in our order, by name. Raises UsageError for a channel that there is not, or in another unit or shape."""
    starts = np.cumsum([0, *(channel.size for channel in theirs)])
    found = {c.name: (c, int(start)) for c, start in zip(theirs, starts, strict=False)}
    columns: list[int] = []
    for channel in ours:
        if channel.name not in found:
            raise UsageError(
                f"{path} has no {kind} channel {channel.name!r} ({channel.unit}); it records {', '.join(found)}"
            )
        there, start = found[channel.name]
        if (there.unit, there.shape) != (channel.unit, channel.shape):
            raise UsageError(
                f"{path}: {kind} channel {channel.name!r} is {there.size} in {there.unit}, expected {channel.size} in "
                f"{channel.unit}"
            )
        columns.extend(range(start, start + channel.size))
    return values[..., columns]


def _require_finite(
    values: FloatArray,
    path: Path,
    array: str,
    channels: Sequence[ObservationChannel | ActionChannel],
    rows: np.ndarray,
) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        episode, tick, column = wrong[0]
        names = [name for channel in channels for name in channel.scalars]
        raise UsageError(
            f"{path}: {array}, row {rows[episode]}, tick {tick}: {names[column]} is {values[tuple(wrong[0])]}, "
            f"expected a finite number ({len(wrong)} such values in all)"
        )


def _require_whole(record: Record, drove: np.ndarray, path: Path, spec: TaskSpec, gap: int) -> None:
    for episode in drove:
        missing = np.concatenate([[False], record.mask[episode] == 0.0, [False]])
        edges = np.flatnonzero(np.diff(missing.astype(np.int8)))
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            if end - first > gap:
                raise UsageError(
                    f"{path}: obs, row {record.rows[episode]}, ticks {first} to {end - 1}: no valid reading of "
                    f"{', '.join(channel.name for channel in spec.sensors)} for {end - first} ticks, expected at most "
                    f"{gap}; leave that episode out, or set [imitation] gap"
                )
