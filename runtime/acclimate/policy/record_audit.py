"""What a recorded drive says about the machine: is velocity the derivative of position, what answers to what?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.policy.plausibility import Column, Derivative, columns, derivatives
from acclimate.task.derivatives import derivative_pairs
from acclimate.task.spec import TaskSpec

_FITS = 0.5  # share of a position's steps that a velocity must explain to be taken for its own
LAGS = 30  # control periods within which an action must show
ANSWERS = 0.3  # correlation that is more than chance


class Response(NamedTuple):
    """How a sensor answers to an action: `correlation` with the change of its change, after `lag` periods."""

    action: str
    sensor: str
    lag: int
    correlation: float


class Drive(NamedTuple):
    """What was recorded: obs (n, steps + 1, n_obs), applied (n, steps, n_act), mask (n, steps)."""

    obs: FloatArray
    applied: FloatArray
    mask: FloatArray


def swapped(task: TaskSpec, drive: Drive) -> list[tuple[Derivative, Column]]:
    """Pairs of which the velocity is not the position's, with the position whose velocity it seems to be."""
    found, pairs = columns(task), derivative_pairs(columns(task))
    own = derivatives(task, drive.obs, drive.mask)
    out = []
    for (_, v), pair in zip(pairs, own, strict=True):
        others = {p: _explained(task, drive, found[p], found[v]) for p, _ in pairs}
        best = max(others, key=others.__getitem__)
        if others[best] > _FITS and pair.explained < _FITS * others[best]:
            out.append((pair, found[best]))
    return out


def _explained(task: TaskSpec, drive: Drive, position: Column, velocity: Column) -> float:
    x, v = (drive.obs[..., c.at].astype(float) for c in (position, velocity))
    steps, said = np.diff(x, axis=-1)[drive.mask > 0.0], (task.control_dt * v[..., 1:])[drive.mask > 0.0]
    power = float(steps @ steps) * float(said @ said)
    return float(steps @ said) ** 2 / power if power else 0.0


def responses(task: TaskSpec, drive: Drive) -> Iterator[Response]:
    """Of each action, the sensor that answers to it most."""
    moving = [
        c for i, c in enumerate(columns(task)) if i not in {v for _, v in derivative_pairs(columns(task))}
    ]
    for j, action in enumerate(task.action_scalars):
        answers = [_response(action, drive.applied[..., j], c.name, drive.obs[..., c.at]) for c in moving]
        if answers:
            yield max(answers, key=lambda each: abs(each.correlation))


def _response(action: str, applied: FloatArray, sensor: str, x: FloatArray) -> Response:
    bend = np.diff(x.astype(float), n=2, axis=-1)  # (n, steps − 1): by what the motion changed
    told = applied[:, 1:].astype(float)  # what is told at one tick shows at the next: that is no lag
    n = bend.shape[1]
    found = [_correlation(told[:, : n - lag], bend[:, lag:]) for lag in range(min(LAGS, n - 2))]
    lag = int(np.argmax(np.abs(found))) if found else 0
    return Response(action, sensor, lag, found[lag] if found else 0.0)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    power = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / power**0.5 if power else 0.0


def still(task: TaskSpec, drive: Drive) -> list[Column]:
    """Sensors that never change."""
    return [c for c in columns(task) if not np.ptp(drive.obs[..., c.at])]
