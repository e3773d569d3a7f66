"""How well w is recovered from rewards, by the graph that a device runs: error by number of transitions.

The features are those of four rooms, indicators of rare events; independent normal ones; and badly conditioned ones,
in units from 1e-3 to 1e3 and of condition number 300 beside that. Rewards are exact, but for their float32, or have
noise of a tenth of their own spread. An error is of the reward that the worst feature makes at its largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.stats import mean_interval
from acclimate_trainer.tasks.four_rooms import FourRooms
from numpy.typing import NDArray

from benchmarks._regression import Device, export_regression
from benchmarks.harness import Figure

TASKS = 200
WINDOW = 50  # transitions
COUNTS = (4, 10, 20, 50, 100, 200, 500, 1000, 2000)
NOISE = 0.1
DIMENSIONS, CONDITION = 6, 300.0
_DRIFT = (0.35, 0.35, 0.15, 0.15)  # up, right, down, left: a walk that gets to the goal now and then


class Seen(NamedTuple):
    """What devices have seen, float64 but exactly representable in float32."""

    features: NDArray[np.float64]  # (tasks, transitions, d)
    w: NDArray[np.float64]  # (tasks, d)


def run(seed: int) -> Mapping[str, Figure]:
    """`error_noise_free`: the worst of all tasks, families and numbers of transitions, wherever φ spans.

    FAMILY.NOISE.error_N and FAMILY.spans_N: mean over tasks, after N transitions; where φ does not span, w is 0.
    """
    figures: dict[str, Figure] = {}
    worst = 0.0
    for index, (name, draw) in enumerate(FAMILIES.items()):
        seen = draw(np.random.default_rng([seed, index]))
        device = Device(export_regression(seen.w.shape[1], WINDOW), seen.w.shape[1], WINDOW)
        for kind, noise in (("exact", 0.0), ("noisy", NOISE)):
            error, spans = _errors(device, seen, noise, np.random.default_rng([seed, index, 1]))
            for i, count in enumerate(COUNTS):
                figures[f"{name}.{kind}.error_{count}"] = mean_interval(error[:, i])
            if kind == "exact":
                worst = max(worst, float(error[spans].max()))
                figures |= {f"{name}.spans_{n}": float(spans[:, i].mean()) for i, n in enumerate(COUNTS)}
                figures[f"{name}.worst_exact"] = float(error[spans].max())
    return {"error_noise_free": worst, **figures}


def _errors(
    device: Device, seen: Seen, noise: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The error, and whether φ spans, (tasks, counts)."""
    tasks = len(seen.w)
    error, spans = np.empty((tasks, len(COUNTS))), np.empty((tasks, len(COUNTS)), np.bool_)
    for task, (features, w) in enumerate(zip(seen.features, seen.w, strict=True)):
        exact = features @ w
        reward = exact + noise * exact.std() * rng.standard_normal(len(exact))
        largest = np.abs(features).max(0)
        device.reset(np.zeros(len(w), np.float32))
        for i, (begin, end) in enumerate(zip((0, *COUNTS), COUNTS, strict=False)):
            device.adapt(_float32(features[begin:end]), _float32(reward[begin:end]))
            error[task, i] = np.max(np.abs(device.task_vector - w) * largest)
            spans[task, i] = device.info("rank") == len(w)
    return error, spans


def _float32(x: NDArray[np.float64]) -> FloatArray:
    return x.astype(np.float32)


def _rooms(rng: np.random.Generator) -> Seen:
    rooms = FourRooms()
    w, state = rooms.sample(TASKS, rng), rooms.reset(TASKS)
    features = []
    for _ in range(COUNTS[-1]):
        step = rooms.step(state, rng.choice(len(_DRIFT), size=TASKS, p=_DRIFT))
        features.append(step.features)
        state = rooms.again(step)
    return Seen(np.stack(features, axis=1).astype(np.float64), w.astype(np.float64))


def _normal(rng: np.random.Generator) -> Seen:
    features = rng.standard_normal((TASKS, COUNTS[-1], DIMENSIONS))
    return Seen(_float32(features).astype(np.float64), rng.standard_normal((TASKS, DIMENSIONS)))


def _badly_conditioned(rng: np.random.Generator) -> Seen:
    left, right = (np.linalg.qr(rng.standard_normal((TASKS, DIMENSIONS, DIMENSIONS)))[0] for _ in range(2))
    mix = left * np.geomspace(1.0, 1.0 / CONDITION, DIMENSIONS) @ right
    unit = 10.0 ** rng.uniform(-3.0, 3.0, (TASKS, 1, DIMENSIONS))
    features = rng.standard_normal((TASKS, COUNTS[-1], DIMENSIONS)) @ mix * unit
    rounded = _float32(features).astype(np.float64)
    return Seen(rounded, rng.standard_normal((TASKS, DIMENSIONS)) / np.abs(rounded).max(1))


FAMILIES: Mapping[str, Callable[[np.random.Generator], Seen]] = {
    "rooms": _rooms,
    "normal": _normal,
    "badly_conditioned": _badly_conditioned,
}
