"""How undecided a maximum-entropy policy acts: a draw from exp(Q/(α·temperature)), set between two ticks.

    set_temperature(policy, 0.3)      # 1 is as in training, less is more decided, 0 always the best action

A draw needs noise: where a policy is driven without, it does what is best at any temperature.
"""

from __future__ import annotations

import math

import numpy as np

from acclimate.bundle.manifest import Manifest
from acclimate.errors import UsageError
from acclimate.policy.policy import Policy

STATE = "temperature"
HOTTEST = 100.0


def check_temperature(manifest: Manifest, temperature: float) -> None:
    """Raises UsageError for a bundle that acts without a temperature, and for one that is none."""
    if not any(tensor.name == STATE and tensor.shape == (1,) for tensor in manifest.state):
        raise UsageError(
            f"bundle {manifest.name!r} acts without a temperature: it does not draw its actions by their values; "
            "a config with the section [entropy] trains one that does"
        )
    if not (math.isfinite(temperature) and 0.0 <= temperature <= HOTTEST):
        raise UsageError(f"temperature must be from 0 to {HOTTEST:g}, found {temperature:g}")


def set_temperature(policy: Policy, temperature: float) -> None:
    """What the next `act` draws at. Raises as `check_temperature`; PolicyError while an adaptation is running."""
    check_temperature(policy.manifest, temperature)
    policy.set_state(STATE, np.array([temperature], np.float32))
