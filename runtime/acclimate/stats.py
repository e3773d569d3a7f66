"""Means with honest intervals: Student's t, exact for the small samples that device tests have, and a bootstrap where
several trainings have met the same machines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from statistics import NormalDist, fmean
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
_ASYMPTOTIC = 400  # degrees of freedom from which the expansion in 1/dof is exact to 1e-7


class Interval(NamedTuple):
    """A mean and its confidence interval; `low` and `high` are NaN where one sample leaves them undefined."""

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """JSON form: `mean`, `low`, `high` (null where undefined) and `n`."""
        return {"mean": _finite(self.mean), "low": _finite(self.low), "high": _finite(self.high), "n": self.n}


def mean_interval(x: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean of `x` with its two-sided Student-t interval.

    Raises ValueError for no samples, or for a confidence outside (0, 1).
    """
    values = [float(v) for v in x]
    if not values:
        raise ValueError("mean_interval needs at least one sample, got none")
    n, mean = len(values), fmean(values)
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    half = t_quantile(n - 1, confidence) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)


def clustered_interval(
    table: ArrayLike, *, draws: int = 4000, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """Mean over trainings and the machines that each of them met, with an interval that counts both as drawn.

    table: (trainings, machines).

    Trainings and machines are drawn anew, each with replacement (Owen 2007, "The pigeonhole bootstrap"): one
    training's machines share its luck, and are no independent samples. With few trainings the percentiles would be too
    narrow, by √(n/(n − 1)) and by what Student's t has over the normal distribution; both are made up for. `n` counts
    trainings; of one there is no interval.

    Raises ValueError for a table that is empty, or not of two axes.
    """
    values = np.asarray(table, np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"need a table of trainings and machines, got shape {list(values.shape)}")
    trainings, machines = values.shape
    mean = float(values.mean())
    if trainings == 1:
        return Interval(mean, math.nan, math.nan, 1)
    rng = np.random.default_rng(seed)
    rows = rng.integers(trainings, size=(draws, trainings, 1))
    columns = rng.integers(machines, size=(draws, 1, machines))
    found = values[rows, columns].mean((1, 2))
    low, high = np.quantile(found, [0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence])
    normal = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    wider = t_quantile(trainings - 1, confidence) / normal * math.sqrt(trainings / (trainings - 1))
    return Interval(mean, mean - wider * (mean - float(low)), mean + wider * (float(high) - mean), trainings)


@lru_cache(maxsize=256)
def t_quantile(dof: int, confidence: float = 0.95) -> float:
    """The t for which |T| < t with probability `confidence`, for `dof` degrees of freedom (>= 1)."""
    if dof < 1 or not 0.0 < confidence < 1.0:
        raise ValueError(f"need dof >= 1 and 0 < confidence < 1, got dof={dof}, confidence={confidence}")
    if dof >= _ASYMPTOTIC:
        return _expansion(dof, confidence)
    low, high = 0.0, 0.5 * math.pi  # bisect over θ = atan(t/√dof), where the probability is monotone
    while high - low > 1e-15:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if _probability_within(middle, dof) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(dof) * math.tan(0.5 * (low + high))


def _probability_within(theta: float, dof: int) -> float:
    """P(|T| < √dof·tan θ) as a finite series (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    sine, cosine2 = math.sin(theta), math.cos(theta) ** 2
    odd = dof % 2 == 1
    term = math.cos(theta) if odd else 1.0
    total = 0.0 if dof == 1 else term
    for k in range(3 if odd else 2, dof - 1, 2):
        term *= cosine2 * (k - 1) / k
        total += term
    return (theta + sine * total) * 2.0 / math.pi if odd else sine * total


def _expansion(dof: int, confidence: float) -> float:
    """Quantile of t from the normal one, to order 1/dof² (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    return z + first / dof + second / dof**2


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
