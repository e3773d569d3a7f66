"""Whether what was recorded can have happened: something moves where it is told to, and velocities are velocities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.task.derivatives import derivative_pairs
from acclimate.task.episode import Window
from acclimate.task.spec import TaskSpec

_PUSHED = 0.05  # of full scale, r.m.s.: actions that must show
_STILL = 0.005  # of a channel's range, standard deviation: motion that may be nothing but noise …
_NOISE = (
    2.0  # … where its variance is no larger than this many variances of its steps; of white noise it is 0.5
)
_FITS = 0.5  # share of a position's steps that a velocity must explain before their ratio means anything
_RATIOS = (0.5, 2.0)  # of steps of a position to what its velocity says


class Column(NamedTuple):
    """One scalar sensor, with its number in the observation."""

    name: str
    unit: str
    span: float
    at: int


class Derivative(NamedTuple):
    """How the steps of a position relate to its velocity: `ratio` of the first to the second."""

    position: Column
    velocity: Column
    ratio: float
    explained: float  # share of the steps' variance that the velocity explains, 0 to 1


def implausible(task: TaskSpec, window: Window) -> str | None:
    """Why nothing must be learned from this window, as a sentence; None where it can have happened."""
    return _unanswered(task, window) or next(map(_contradiction, _wrong(task, window)), None)


def columns(task: TaskSpec) -> list[Column]:
    """The sensors of the device, one by one."""
    return [
        Column(name, c.unit, c.maximum - c.minimum, task.index(name))
        for c in task.observation
        if c.source == "device"
        for name in c.scalars
    ]


def derivatives(task: TaskSpec, obs: FloatArray, mask: FloatArray) -> list[Derivative]:
    """Of each position that has a velocity; obs (…, steps + 1, n_obs), mask (…, steps)."""
    found, valid = columns(task), mask > 0.0
    return [_derivative(found[p], found[v], obs, valid, task.control_dt) for p, v in derivative_pairs(found)]


def _derivative(
    position: Column, velocity: Column, obs: FloatArray, valid: NDArray[np.bool_], dt: float
) -> Derivative:
    x, v = obs[..., position.at].astype(float), obs[..., velocity.at].astype(float)
    steps = np.diff(x, axis=-1)[valid]
    said = (dt * (v[..., 1:] + v[..., :-1]) / 2)[valid]
    power, along = float(said @ said), float(said @ steps)
    total = float(steps @ steps)
    if not power or not total:
        return Derivative(position, velocity, 0.0, 0.0)
    return Derivative(position, velocity, along / power, along**2 / (power * total))


def _wrong(task: TaskSpec, window: Window) -> list[Derivative]:
    low, high = _RATIOS
    found = derivatives(task, window.obs, window.mask)
    return [d for d in found if d.explained > _FITS and not low <= d.ratio <= high]


def _contradiction(found: Derivative) -> str:
    return (
        f"{found.position.name!r} changes by {found.ratio:.3g} times what {found.velocity.name!r} says: "
        f"{reason(found.ratio)}"
    )


def reason(ratio: float) -> str:
    """What is probably wrong with a position that changes by `ratio` times what its velocity says."""
    if ratio < 0.0:
        return "one of the two has the wrong sign"
    for factor, what in ((180.0 / np.pi, "degrees"), (1e3, "thousandths")):
        for wrong, of in ((factor, "the first"), (1.0 / factor, "the second")):
            if 0.8 < ratio / wrong < 1.25:
                return f"{of} seems to be in {what}"
    return "one of the two has the wrong scale"


def _unanswered(task: TaskSpec, window: Window) -> str | None:
    pushed, still = _pushes(task, window), [_is_still(c, window) for c in _moving(task)]
    if pushed < _PUSHED or not still or not all(still):
        return None
    return (
        f"no sensor answers to actions of {pushed:.0%} of full scale; check the power of the motors, and that the "
        "sensors are on the machine"
    )


def _moving(task: TaskSpec) -> list[Column]:
    """The sensors but those that measure how fast others change, which say more about noise than about motion."""
    found = columns(task)
    rates = {v for _, v in derivative_pairs(found)}
    return [c for i, c in enumerate(found) if i not in rates]


def _pushes(task: TaskSpec, window: Window) -> float:
    """R.m.s. of the action, of full scale, over what is valid."""
    low = np.array([c.minimum for c in task.action for _ in c.scalars])
    high = np.array([c.maximum for c in task.action for _ in c.scalars])
    scaled = (np.clip(window.action[window.mask > 0.0], low, high) - (low + high) / 2) / ((high - low) / 2)
    return float(np.sqrt(np.mean(scaled**2))) if scaled.size else 0.0


def _is_still(column: Column, window: Window) -> bool:
    """Whether a sensor measures nothing but noise in every episode."""
    x = window.obs[..., column.at].astype(float)
    spread, steps = float(np.mean(np.var(x, axis=-1))), float(np.mean(np.diff(x, axis=-1) ** 2))
    return spread <= (_STILL * column.span) ** 2 and spread <= _NOISE * steps
