"""Who decides whether an adapted state may go live, and whether it may stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from acclimate.bundle.manifest import Manifest
from acclimate.policy.policy import AdaptResult
from acclimate.policy.window import Window


class Verdict(NamedTuple):
    """A decision with its reason in words; the reason is empty where all is well."""

    ok: bool
    reason: str = ""


class Guard:
    """Accepts an adaptation that is finite, small enough, and learned from enough valid transitions."""

    def __init__(self, trust_radius: float, *, min_valid: float = 0.5, worse_by: float = 0.1) -> None:
        """trust_radius: largest step norm; min_valid: least share of unmasked transitions in a window;
        worse_by: how much the error may grow, relative to before, until `keep` says no."""
        self._trust_radius = trust_radius
        self._min_valid = min_valid
        self._worse_by = worse_by

    @classmethod
    def of(cls, manifest: Manifest) -> Guard:
        return cls(manifest.limits.trust_radius)

    def accept(self, result: AdaptResult, window: Window) -> Verdict:
        """May this result be committed?"""
        valid = float(np.mean(window.mask))
        if valid < self._min_valid:
            return Verdict(
                False, f"{valid:.0%} of the window is valid, at least {self._min_valid:.0%} is needed"
            )
        for name, value in result.info.items():
            if not math.isfinite(value):
                return Verdict(False, f"{name} is {value}")
        if not result.finite:
            return Verdict(False, "the adapted state holds values that are not finite")
        norm = result.info.get("step_norm", result.change)
        if norm > self._trust_radius:
            return Verdict(False, f"step norm {norm:.3g} is beyond the trust radius {self._trust_radius:g}")
        return Verdict(True)

    def keep(self, before: Sequence[float], after: Sequence[float]) -> Verdict:
        """May the state that gave the errors `after` stay, where the one before it gave `before`?"""
        was, now = _rms(before), _rms(after)
        if now <= was * (1.0 + self._worse_by):
            return Verdict(True)
        return Verdict(False, f"the error rose from {was:.4g} to {now:.4g}")


def _rms(errors: Sequence[float]) -> float:
    return math.sqrt(sum(e * e for e in errors) / len(errors))
