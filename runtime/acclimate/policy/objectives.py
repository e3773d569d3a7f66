"""What a running policy drives for: the weights w of its objectives, by name, set between two ticks.

    set_objective(policy, {"quiet": 2.0, "fast": 1.0})      # what is not named stays as it is

The next `act` reads them. Nothing is trained and nothing is loaded for it: see `acclimate.bundle.manifest.Objectives`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from acclimate.policy.policy import Policy
from acclimate.task.spec import Feature


def parse_objective(text: str, features: Sequence[Feature]) -> dict[str, float]:
    """NAME=WEIGHT,NAME=WEIGHT… as in quiet=2,fast=1. Raises UsageError, listing the valid names."""
    changes: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"objective {text!r} is not NAME=WEIGHT,…; valid names: {_names(features)}")
        if name in changes:
            raise UsageError(f"objective {text!r} names {name!r} twice")
        try:
            changes[name] = float(value)
        except ValueError:
            raise UsageError(
                f"objective {text!r}: the weight of {name!r} is {value!r}, expected a number"
            ) from None
        _check(features, name, changes[name])
    return changes


def objective(policy: Policy) -> dict[str, float]:
    """The weights that the next `act` reads, by name. Raises UsageError for a policy without objectives."""
    names = _listed(features_of(policy.manifest))
    return dict(zip(names, map(float, policy.state(_weights_of(policy.manifest))), strict=True))


def set_objective(policy: Policy, weights: Mapping[str, float] | Sequence[float] | FloatArray) -> None:
    """Set weights by name, or all of them in the manifest's order, (d,); between two ticks, from the loop's thread.

    Raises UsageError for another number of weights, an unknown name, a weight that is not finite or out of its range,
    and for weights that are all 0; PolicyError while an adaptation is running. The weights are then unchanged.
    """
    features = features_of(policy.manifest)
    names = _listed(features)
    if not isinstance(weights, Mapping):
        if np.shape(weights) != (len(names),):
            raise UsageError(
                f"w has shape {list(np.shape(weights))}, expected [{len(names)}], "
                f"a weight for each of {', '.join(names)}"
            )
        weights = dict(zip(names, map(float, weights), strict=True))
    for name, weight in weights.items():
        _check(features, name, weight)
    w = np.array([{**objective(policy), **weights}[name] for name in names], np.float32)
    if not w.any():
        raise UsageError(
            f"the weights of all objectives would be 0; at least one of {', '.join(names)} must count"
        )
    policy.set_state(_weights_of(policy.manifest), w)


def described(policy: Policy) -> str:
    """The weights that count, in words, as in accurate=1, quiet=0.1."""
    return ", ".join(f"{name}={weight:.3g}" for name, weight in objective(policy).items() if weight) or "none"


def features_of(manifest: Manifest) -> tuple[Feature, ...]:
    """What there is a weight for. Raises UsageError for a bundle that was trained for one objective alone."""
    if manifest.objectives is None:
        raise UsageError(
            f"bundle {manifest.name!r} has no objectives to choose from: it was trained for one alone; "
            "a config with the section [objectives] trains one that has"
        )
    return manifest.features


def _weights_of(manifest: Manifest) -> str:
    assert manifest.objectives is not None  # as `features_of` has found
    return manifest.objectives.state


def _check(features: Sequence[Feature], name: str, weight: float) -> None:
    feature = next((f for f in features if f.name == name), None)
    if feature is None:
        raise UsageError(f"there is no objective {name!r}{did_you_mean(name, _listed(features))}")
    if not math.isfinite(weight) or not feature.minimum <= weight <= feature.maximum:
        raise UsageError(
            f"the weight of {name!r} is {weight:g}, expected a number from {feature.minimum:g} to {feature.maximum:g}"
        )


def _listed(features: Sequence[Feature]) -> list[str]:
    return [feature.name for feature in features]


def _names(features: Sequence[Feature]) -> str:
    return ", ".join(_listed(features))
