"""Which way a machine's motors turn, found out gently before a policy that takes it for known drives it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from acclimate.bundle.manifest import Manifest
from acclimate.control.device import Clock, Device
from acclimate.control.loop import ControlLoop
from acclimate.errors import MismatchError
from acclimate.task.spec import HOLD, TaskSpec

from acclimate_bridge.evaluation.pid import Pid

_TICKS = 50  # at once
_NO_GAINS = {"kp": 0.0, "ki": 0.0, "kd": 0.0, "kff": 0.0, "sign_test": 1.0}


class Wiring(NamedTuple):
    """What was found of one actuator: 1 as expected, −1 backwards, 0 where nothing moved."""

    actuator: str
    measured: str
    sign: int


def applies(manifest: Manifest) -> bool:
    """Whether each actuator has one quantity that it moves, by a push that is neutral in the middle."""
    task = manifest.task
    pairs = task.headline.pairs
    centred = all(c.neutral != HOLD and c.neutral == 0.5 * (c.minimum + c.maximum) for c in task.action)
    return "pid" in manifest.baselines and centred and len(pairs) == task.n_act


def find_signs(manifest: Manifest, device: Device, clock: Clock, max_action: float) -> list[Wiring]:
    """Pulse each actuator, weakly at first, until what it moves has moved. Raises DeviceFault."""
    task = manifest.task
    probe = Pid(_NO_GAINS, task)
    with ControlLoop(probe, device, clock, manifest, max_action=max_action) as loop:
        while not probe.ready:
            loop.run_episode(_still(task, loop.measure()))
    names = zip(task.action_scalars, task.headline.pairs, probe.directions, strict=True)
    return [Wiring(actuator, measured, sign) for actuator, (measured, _), sign in names]


def _still(task: TaskSpec, obs: np.ndarray) -> np.ndarray:
    """A reference that asks for what is: (steps + 1, n_ref)."""
    row = np.zeros(task.n_references, np.float32)
    for track in task.reference.tracks if task.reference else ():
        row[task.reference_scalars.index(track.target)] = obs[task.index(track.measured)]
    return np.tile(row, (_TICKS + 1, 1))


def require_wiring(manifest: Manifest, found: list[Wiring]) -> None:
    """Raises MismatchError for a motor that turns the other way than this policy takes for granted."""
    if any(p.scale == "sign" and p.low < p.high for p in manifest.task.parameters):
        return  # it was trained to find that out
    backwards = [wiring for wiring in found if wiring.sign < 0]
    if backwards:
        actuator, measured, _ = backwards[0]
        raise MismatchError(
            f"{measured!r} falls where {actuator!r} is driven up: wired backwards, and bundle {manifest.name!r} is not "
            "trained for that; swap the motor's leads, or change the sign in the firmware (--no-sign-test to drive it "
            "all the same)"
        )


def lines(found: list[Wiring]) -> list[str]:
    """For people; nothing where all is as expected."""
    words = {-1: "is driven backwards", 0: "has not moved at all, so that nobody knows which way it turns"}
    return [f"sign test of {w.actuator}: {w.measured} {words[w.sign]}" for w in found if w.sign in words]
