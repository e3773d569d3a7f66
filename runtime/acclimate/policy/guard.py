"""Who decides whether an adapted state may go live, and whether it may stay."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from acclimate.bundle.manifest import Manifest
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.plausibility import implausible
from acclimate.task.episode import Window
from acclimate.task.metrics import quantity, worse
from acclimate.task.spec import Metric, TaskSpec


class Verdict(NamedTuple):
    """A decision with its reason in words; the reason is empty where all is well."""

    ok: bool
    reason: str = ""


class Guard:
    """Accepts an adaptation that is finite, small enough, and learned from enough valid transitions."""

    def __init__(
        self,
        trust_radius: float,
        *,
        min_valid: float = 0.5,
        worse_by: float = 0.1,
        task: TaskSpec | None = None,
    ) -> None:
        """trust_radius: largest step norm; min_valid: least share of unmasked transitions in a window;
        worse_by: by what share of itself the headline metric may become worse until `keep` says no;
        task: what the machine is, so that what cannot have happened to it is not learned from."""
        self._trust_radius = trust_radius
        self._min_valid = min_valid
        self._worse_by = worse_by
        self._task = task

    @classmethod
    def of(cls, manifest: Manifest) -> Guard:
        return cls(manifest.limits.trust_radius, task=manifest.task)

    def accept(self, result: AdaptResult, window: Window) -> Verdict:
        """May this result be committed?"""
        valid = float(np.mean(window.mask))
        if valid < self._min_valid:
            return Verdict(
                False, f"{valid:.0%} of the window is valid, at least {self._min_valid:.0%} is needed"
            )
        wrong = implausible(self._task, window) if self._task else None
        if wrong is not None:
            return Verdict(False, wrong)
        for name, value in result.info.items():
            if not math.isfinite(value):
                return Verdict(False, f"{name} is {value}")
        if not result.finite:
            return Verdict(False, "the adapted state holds values that are not finite")
        loss, left = (result.info.get(name) for name in ("loss", "left"))
        if loss is not None and left is not None and left > loss * (1.0 + self._worse_by):
            return Verdict(
                False, f"it explains its own window worse than before: error {left:.3g}, before {loss:.3g}"
            )
        norm = max(
            result.info.get("step_norm", 0.0), result.change
        )  # what a graph says of itself is not enough
        if norm > self._trust_radius:
            return Verdict(False, f"step norm {norm:.3g} is beyond the trust radius {self._trust_radius:g}")
        return Verdict(True)

    def keep(self, metric: Metric, before: float, after: float) -> Verdict:
        """May the state that gave `after` of the metric stay, where the one before it gave `before`?"""
        if worse(metric, before, after) <= self._worse_by:
            return Verdict(True)
        return Verdict(False, f"{metric.name} went from {before:.4g} to {quantity(metric, after)}")
