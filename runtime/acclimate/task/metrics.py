"""How a drive is judged: every metric of the spec, of one episode or pooled over many.

Each metric is a mean (of squares, under a root, where its kind is rms). So episodes are pooled by adding their totals
and counts, and many short episodes are judged as one long one would be:

    pool = Pool(spec)
    pool.add(episode.obs, episode.applied)
    pool.values()["tracking_error"]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.errors import UsageError
from acclimate.task.spec import Metric, MetricKind, TaskSpec

Doubles = NDArray[np.float64]


class Mean(NamedTuple):
    """A mean before its division, so that means can be pooled. rooted: of squares, whose root is meant."""

    total: float
    n: int
    rooted: bool = False

    @property
    def value(self) -> float:
        """NaN of nothing."""
        mean = self.total / self.n if self.n else math.nan
        return math.sqrt(mean) if self.rooted else mean

    def pooled(self, other: Mean | None) -> Mean:
        """The mean over what is behind both."""
        if other is None:
            return self
        return Mean(self.total + other.total, self.n + other.n, self.rooted)


class _Driven(NamedTuple):
    """An episode, as the kinds of metrics look at it."""

    spec: TaskSpec
    obs: FloatArray  # (S, n_obs), after each action
    action: Doubles  # (S, n_act), within −1 to 1 of full scale
    reward: FloatArray | None  # (S,)


class Pool:
    """The metrics of all episodes that were added."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._means: dict[str, Mean] = {}

    def add(self, obs: FloatArray, action: FloatArray, reward: FloatArray | None = None) -> dict[str, float]:
        """Add an episode; arguments as of `measure`. Returns the episode's own values."""
        found = measure(self._spec, obs, action, reward)
        self._means = {name: mean.pooled(self._means.get(name)) for name, mean in found.items()}
        return {name: mean.value for name, mean in found.items()}

    def values(self) -> dict[str, float]:
        """By the metrics' names, in the spec's order; NaN where nothing was added."""
        nothing = Mean(0.0, 0)
        return {metric.name: self._means.get(metric.name, nothing).value for metric in self._spec.metrics}


def measure(
    spec: TaskSpec, obs: FloatArray, action: FloatArray, reward: FloatArray | None = None
) -> dict[str, Mean]:
    """Every metric of one episode, by name, in the spec's order.

    obs (S + 1, n_obs); action (S, n_act), clamped to the channels' limits here; reward (S,) where the observation has
    no channel for it. Raises UsageError where rewards are asked for and there are none.
    """
    # Limits as the loop has them: an action at a limit in float32 is at the limit.
    low, high = (np.array(limits, np.float32).astype(np.float64) for limits in spec.limits())
    scaled = 2.0 * (np.clip(action.astype(np.float64), low, high) - low) / (high - low) - 1.0
    driven = _Driven(spec, obs[1:], scaled, reward)
    return {metric.name: _KINDS[metric.kind](metric, driven) for metric in spec.metrics}


def worse(metric: Metric, before: float, after: float) -> float:
    """By what share of what it was `metric` has become worse; below 0 where it has become better."""
    loss = before - after if metric.higher_is_better else after - before
    if loss == 0.0:
        return 0.0
    return loss / abs(before) if before else math.copysign(math.inf, loss)


def described(metric: Metric) -> str:
    """Name and unit, for people: 'tracking_error, rad'."""
    return metric.name if metric.unit in ("", "1") else f"{metric.name}, {metric.unit}"


def quantity(metric: Metric, value: float) -> str:
    """A value with its unit, for people: '0.0123 rad'."""
    return f"{value:.4g}" if metric.unit in ("", "1") else f"{value:.4g} {metric.unit}"


def _rms(metric: Metric, of: _Driven) -> Mean:
    squares = _differences(metric, of) ** 2
    return Mean(float(squares.sum()), squares.size, rooted=True)


def _success(metric: Metric, of: _Driven) -> Mean:
    """In the last quarter, by when a machine should be there."""
    assert metric.bound is not None  # by the spec's rules
    within = np.abs(_differences(metric, of)).max(axis=1) <= metric.bound
    last = within[len(within) - math.ceil(len(within) / 4) :]
    return Mean(float(last.sum()), last.size)


def _reward(metric: Metric, of: _Driven) -> Mean:
    reward = of.reward
    if reward is None:
        if of.spec.reward is None:
            raise UsageError(
                f"metric {metric.name!r} of {of.spec.name} is a reward, and no observation channel has it; "
                "it can be measured only where rewards are at hand, as in training"
            )
        reward = of.obs[:, of.spec.index(of.spec.reward)]
    return Mean(float(reward.sum(dtype=np.float64)), reward.size)


def _chatter(metric: Metric, of: _Driven) -> Mean:
    changes = np.abs(np.diff(_actions(metric, of), axis=0))
    return Mean(float(changes.sum()), changes.size)


def _energy(metric: Metric, of: _Driven) -> Mean:
    squares = _actions(metric, of) ** 2
    return Mean(float(squares.sum()), squares.size)


def _saturated(metric: Metric, of: _Driven) -> Mean:
    at_a_limit = np.abs(_actions(metric, of)) >= 1.0
    return Mean(float(at_a_limit.sum()), at_a_limit.size)


_KINDS: Mapping[MetricKind, Callable[[Metric, _Driven], Mean]] = {
    "rms": _rms,
    "success": _success,
    "reward": _reward,
    "chatter": _chatter,
    "energy": _energy,
    "saturated": _saturated,
}


def _differences(metric: Metric, of: _Driven) -> Doubles:
    """Measured − wanted, (S, pairs)."""
    measured, wanted = ([of.spec.index(name) for name in names] for names in zip(*metric.pairs, strict=True))
    return of.obs[:, measured].astype(np.float64) - of.obs[:, wanted]


def _actions(metric: Metric, of: _Driven) -> Doubles:
    """Those that the metric is of, (S, n)."""
    names = of.spec.action_scalars
    return of.action[:, [names.index(name) for name in metric.actions]] if metric.actions else of.action
