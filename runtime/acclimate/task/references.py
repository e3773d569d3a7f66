"""Random references to follow: steps and sums of sines, smoothed so that a machine can follow them.

One generator serves training and device, so that both mean the same task by "following". It draws what the spec's
`TrackingReference` says, all of it from one `numpy.random.Generator`: the same state gives the same numbers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.task.spec import TaskSpec, Track, TrackingReference

Doubles = NDArray[np.float64]


def draw(spec: TaskSpec, rng: np.random.Generator, start: NDArray[np.floating], steps: int) -> FloatArray:
    """Draw n references of `steps` ticks: (n, steps + 1, n_references), in the order of the spec's channels.

    start (n, n_sensors) is what the sensors read now, in the spec's order: each track begins at rest where its sensor
    stands. Tracks are drawn one after another.
    """
    columns = {name: i for i, name in enumerate(spec.reference_scalars)}
    out = np.empty((len(start), steps + 1, len(columns)), np.float32)
    kind = spec.reference
    if kind is None:
        return out
    for track in kind.tracks:
        begin = np.asarray(start[:, spec.sensor_scalars.index(track.measured)], np.float64)
        target, rate = follow(kind, track, rng, begin, steps, spec.control_dt)
        out[:, :, columns[track.target]] = target.T
        if track.rate is not None:
            out[:, :, columns[track.rate]] = rate.T
    return out


def follow(
    kind: TrackingReference, track: Track, rng: np.random.Generator, begin: Doubles, steps: int, dt: float
) -> tuple[FloatArray, FloatArray]:
    """Targets of one track and their rates, each (steps + 1, n), beginning at rest at `begin` (n,)."""
    raw = _raw(kind, rng, len(begin), steps, dt)
    return _smoothed(kind, rng, begin, track.center + track.amplitude * raw, track.amplitude, dt)


def _raw(kind: TrackingReference, rng: np.random.Generator, n: int, steps: int, dt: float) -> Doubles:
    """What a machine without inertia would follow, within ±1: (n, steps + 1). Half are steps, half are sines."""
    stepwise = rng.random(n) < 0.5
    raw = np.empty((n, steps + 1))
    raw[stepwise] = _steps(kind, rng, stepwise, steps, dt)
    raw[~stepwise] = _sines(kind, rng, ~stepwise, steps, dt)
    return raw


def _steps(
    kind: TrackingReference, rng: np.random.Generator, which: NDArray[np.bool_], steps: int, dt: float
) -> Doubles:
    """Random levels, each held for a random time; drawn for all, and worked out for those `which` (n,) need them."""
    n = len(which)
    count = math.ceil((steps + 1) * dt / kind.dwell[0]) + 1
    level = rng.uniform(-1.0, 1.0, (n, count))
    until = np.cumsum(rng.uniform(*kind.dwell, (n, count)), axis=1)[which]
    now = np.arange(steps + 1) * dt
    index = np.empty((len(until), steps + 1), np.intp)
    for each, found in zip(until, index, strict=True):
        found[...] = np.searchsorted(each, now, side="right")
    return np.take_along_axis(level[which], np.minimum(index, count - 1), axis=1)


def _sines(
    kind: TrackingReference, rng: np.random.Generator, which: NDArray[np.bool_], steps: int, dt: float
) -> Doubles:
    """Sums of sines, log-uniform in frequency; slow ones are larger. `which` as of `_steps`."""
    n = len(which)
    low, high = math.log(kind.sine_hz[0]), math.log(kind.sine_hz[1])
    frequency = np.exp(rng.uniform(low, high, (n, kind.sines, 1)))
    share = rng.uniform(0.1, 1.0, (n, kind.sines, 1)) / frequency**0.5
    share *= rng.uniform(0.4, 1.0, (n, 1, 1)) / share.sum(axis=1, keepdims=True)
    phase = rng.uniform(0.0, 2.0 * np.pi, (n, kind.sines, 1))
    now = np.arange(steps + 1) * dt
    share, frequency, phase = share[which], frequency[which], phase[which]
    return np.asarray((share * np.sin(2.0 * np.pi * frequency * now + phase)).sum(axis=1))


def _smoothed(
    kind: TrackingReference,
    rng: np.random.Generator,
    begin: Doubles,
    raw: Doubles,
    amplitude: float,
    dt: float,
) -> tuple[FloatArray, FloatArray]:
    """`raw` through a critically damped second-order filter of limited speed: value and rate, each (steps + 1, n)."""
    n, ticks = raw.shape
    tau = rng.uniform(*kind.smoothing, n)
    reach = (
        2.0 * tau * (amplitude * rng.uniform(*kind.speed, n))
    )  # a spring pulled by 2·τ·v settles at speed v
    x, v = begin.copy(), np.zeros(n)
    value, rate = np.empty((ticks, n), np.float32), np.empty((ticks, n), np.float32)
    wanted, least, stiffness, damping = np.ascontiguousarray(raw.T), -reach, tau**2, 1.0 + 2.0 * dt / tau
    for k in range(ticks):
        value[k], rate[k] = x, v
        pull = np.minimum(np.maximum(wanted[k] - x, least), reach)
        # semi-implicit Euler of x'' = pull/τ² − 2x'/τ, damping taken implicitly: stable at any τ
        v = (v + dt * pull / stiffness) / damping
        x = x + dt * v
    return value, rate
