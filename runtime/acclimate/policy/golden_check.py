"""Replaying the golden sequence: does this board's engine compute what the desktop computed?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Tolerance
from acclimate.engines import Engine
from acclimate.errors import GoldenError
from acclimate.policy.adapt_result import AdaptResult
from acclimate.task.episode import Window


class Replayable(Protocol):
    """What is replayed: a policy."""

    @property
    def engine(self) -> Engine: ...
    def restore(self) -> None: ...
    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray: ...
    def adapt(self, window: Window) -> AdaptResult: ...
    def commit(self) -> None: ...
    def state(self, name: str) -> FloatArray: ...


class Deviation(NamedTuple):
    """How far a recorded tensor is from the computed one; `expected` and `found` at the worst entry."""

    graph: str
    tensor: str
    max_abs: float
    max_rel: float  # max_abs relative to the largest |expected| of the tensor
    allowed: float
    expected: float
    found: float

    @property
    def ok(self) -> bool:
        return self.max_abs <= self.allowed  # False for NaN


def check(policy: Replayable, bundle: Bundle) -> tuple[Deviation, ...]:
    """Replay everything, from the initial state. Raises GoldenError for the worst tensor beyond tolerance.

    Ends with the policy as exported.
    """
    deviations = tuple(replay(policy, bundle))
    policy.restore()
    bad = [d for d in deviations if not d.ok]
    if bad:
        worst = max(bad, key=lambda d: np.nan_to_num(d.max_abs / d.allowed, nan=np.inf))
        raise GoldenError(
            f"{bundle.path}: golden check of {worst.graph}: {worst.tensor!r} is {worst.found:.7g} on engine "
            f"{policy.engine.name!r}, expected {worst.expected:.7g} within {worst.allowed:.2g}; "
            "this engine must not drive a device with this bundle"
        )
    return deviations


def replay(policy: Replayable, bundle: Bundle) -> Iterator[Deviation]:
    """The deviations of `act`, then of `adapt`."""
    tolerance = bundle.manifest.tolerance_of(policy.engine.suffix)
    policy.restore()
    yield from _replay_act(policy, bundle, tolerance)
    yield from _replay_adapt(policy, bundle, tolerance)


def _replay_act(policy: Replayable, bundle: Bundle, tolerance: Tolerance) -> Iterator[Deviation]:
    golden = bundle.golden
    found = {"action": np.empty_like(golden.action)}
    found |= {f"next.{name}": np.empty_like(values) for name, values in golden.next.items()}
    for k in range(golden.ticks):
        found["action"][k] = policy.act(golden.obs[k], golden.noise[k])
        for name in golden.next:
            found[f"next.{name}"][k] = policy.state(name)
    yield _deviation("act", "action", golden.action, found["action"], tolerance)
    for name, values in golden.next.items():
        yield _deviation("act", f"next.{name}", values, found[f"next.{name}"], tolerance)


def _replay_adapt(policy: Replayable, bundle: Bundle, tolerance: Tolerance) -> Iterator[Deviation]:
    golden = bundle.golden.adapt
    if golden is None:
        return
    policy.restore()
    result = policy.adapt(golden.window)
    policy.commit()
    for name, values in golden.next.items():
        yield _deviation("adapt", f"next.{name}", values, policy.state(name), tolerance)
    for name, values in golden.info.items():
        found = np.array([result.info[name]], np.float32)
        yield _deviation("adapt", f"info.{name}", values, found, tolerance)


def _deviation(
    graph: str, tensor: str, expected: FloatArray, found: FloatArray, tolerance: Tolerance
) -> Deviation:
    difference = np.abs(found.astype(np.float64) - expected)
    worst = int(np.argmax(difference))  # a NaN counts as the largest
    scale = float(np.abs(expected).max())
    max_abs = float(difference.flat[worst])
    allowed = tolerance.golden_abs + tolerance.golden_rel * scale
    at = float(expected.flat[worst]), float(found.flat[worst])
    return Deviation(graph, tensor, max_abs, max_abs / max(scale, 1e-30), allowed, *at)
