"""What drives have shown: every metric of the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from acclimate.arrays import FloatArray
from acclimate.task.metrics import measure
from acclimate.task.spec import Metric, TaskSpec

Figures: TypeAlias = Mapping[str, float]
"""By the metrics' names, in the spec's order."""


def figures_of(spec: TaskSpec, obs: FloatArray, action: FloatArray) -> Figures:
    """Of one drive: obs (S + 1, n_obs), action (S, n_act)."""
    return {name: mean.value for name, mean in measure(spec, obs, action).items()}


def quantity(metric: Metric, value: float) -> str:
    """Such as "0.0123 rad"."""
    return f"{value:.4f}" if metric.unit == "1" else f"{value:.4f} {metric.unit}"


def beside(spec: TaskSpec, figures: Figures) -> str:
    """All but the headline, as in "chatter 0.12, energy 0.3"; empty where there are no others."""
    return ", ".join(f"{m.name} {figures[m.name]:.3g}" for m in spec.metrics[1:] if m.name in figures)
