"""What drives have shown: every metric of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from acclimate.arrays import FloatArray
from acclimate.control.trial import EpisodeKey
from acclimate.policy.window import Episode
from acclimate.task.metrics import Pool, measure
from acclimate.task.spec import Metric, TaskSpec

Figures: TypeAlias = Mapping[str, float]
"""By the metrics' names, in the spec's order."""


class Measured:
    """What the measuring episodes of a trial have shown, by the number of steps before them."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._pools: dict[int, Pool] = {}

    def __call__(self, key: EpisodeKey, episode: Episode) -> None:
        if key.purpose == "measure":
            pool = self._pools.setdefault(key.shot, Pool(self._spec))
            pool.add(episode.obs, episode.applied)

    def figures(self) -> tuple[Figures, ...]:
        """After 0, 1, … steps."""
        return tuple(self._pools[shot].values() for shot in sorted(self._pools))


def headline_error(spec: TaskSpec) -> Callable[[Episode], float]:
    """The headline metric of an episode, as something that should be small."""
    sign = -1.0 if spec.headline.higher_is_better else 1.0

    def error(episode: Episode) -> float:
        return sign * measure(spec, episode.obs, episode.applied)[spec.headline.name].value

    return error


def figures_of(spec: TaskSpec, obs: FloatArray, action: FloatArray) -> Figures:
    """Of one drive: obs (S + 1, n_obs), action (S, n_act)."""
    return {name: mean.value for name, mean in measure(spec, obs, action).items()}


def quantity(metric: Metric, value: float) -> str:
    """Such as "0.0123 rad"."""
    return f"{value:.4f}" if metric.unit == "1" else f"{value:.4f} {metric.unit}"


def beside(spec: TaskSpec, figures: Figures) -> str:
    """All but the headline, as in "chatter 0.12, energy 0.3"; empty where there are no others."""
    return ", ".join(f"{m.name} {figures[m.name]:.3g}" for m in spec.metrics[1:])
