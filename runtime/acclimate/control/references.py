"""Random references to track: steps and sums of sines, smoothed so that a servo can follow.

One generator serves the trainer and the device, so that both mean the same task by "tracking".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

RANGE = 1.0  # rad; raw targets lie within ± this
SPEED = (0.5, 1.5)  # rad/s; the speed limit of an episode is drawn from this range
SMOOTHING = (0.06, 0.15)  # s; time constant of the critically damped filter
DWELL = (0.3, 1.0)  # s; between two steps
SINE_HZ = (0.2, 1.5)
SINES = 3


class Reference(NamedTuple):
    """`position` (rad) and `velocity` (rad/s), each float32 [n, steps + 1]."""

    position: Array
    velocity: Array


def tracking_reference(
    rng: np.random.Generator, start: NDArray[np.floating], steps: int, dt: float
) -> Reference:
    """Draw n references of `steps` ticks of `dt` seconds, each beginning at rest at `start` [n] (rad).

    Half are steps to random positions, half sums of three sines. Both pass a critically damped second-order
    filter whose speed is limited, so that the reference is continuous in position and velocity.
    """
    begin = np.asarray(start, dtype=np.float64)
    n = begin.shape[0]
    raw = np.where(rng.random((n, 1)) < 0.5, _steps(rng, n, steps, dt), _sines(rng, n, steps, dt))
    tau = rng.uniform(*SMOOTHING, n)
    reach = 2.0 * tau * rng.uniform(*SPEED, n)  # a spring pulled by 2·τ·v settles at speed v
    position, velocity = begin.copy(), np.zeros(n)
    out = np.empty((2, n, steps + 1), dtype=np.float32)
    for k in range(steps + 1):
        out[0, :, k], out[1, :, k] = position, velocity
        pull = np.clip(raw[:, k] - position, -reach, reach)
        # semi-implicit Euler of x'' = pull/τ² − 2x'/τ, damping taken implicitly: stable at any τ
        velocity = (velocity + dt * pull / tau**2) / (1.0 + 2.0 * dt / tau)
        position = position + dt * velocity
    return Reference(out[0], out[1])


def _steps(rng: np.random.Generator, n: int, steps: int, dt: float) -> NDArray[np.float64]:
    count = int(np.ceil((steps + 1) * dt / DWELL[0])) + 1
    level = rng.uniform(-RANGE, RANGE, (n, count))
    until = np.cumsum(rng.uniform(*DWELL, (n, count)), axis=1)
    now = np.arange(steps + 1) * dt
    index = (now[None, :, None] >= until[:, None, :]).sum(axis=2)
    return np.take_along_axis(level, np.minimum(index, count - 1), axis=1)


def _sines(rng: np.random.Generator, n: int, steps: int, dt: float) -> NDArray[np.float64]:
    low, high = math.log(SINE_HZ[0]), math.log(SINE_HZ[1])
    frequency = np.exp(rng.uniform(low, high, (n, SINES, 1)))
    amplitude = rng.uniform(0.1, 1.0, (n, SINES, 1)) / frequency**0.5
    amplitude *= RANGE * rng.uniform(0.4, 1.0, (n, 1, 1)) / amplitude.sum(axis=1, keepdims=True)
    phase = rng.uniform(0.0, 2.0 * np.pi, (n, SINES, 1))
    now = np.arange(steps + 1) * dt
    return np.asarray((amplitude * np.sin(2.0 * np.pi * frequency * now + phase)).sum(axis=1))
