"""What a servo on the wire did, out of what `acclimate run --record` left: position, target and action over time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.fields import Json

from acclimate_demo.report import steps

DT = 0.01  # s
_POSITION, _TARGET = 0, 2  # of a servo's observation
_MEASURED = 0  # as a purpose
_SHOWN = 2  # episodes of a measurement, of those that it has
_DIGITS = 4


class Trace(NamedTuple):
    """One stretch of driving: position and target in rad, duty in −1 to 1; `mark`: when something happened, s.

    Between two episodes is a None: a reference begins where the joint then stands.
    """

    title: str
    time: list[float | None]
    position: list[float | None]
    target: list[float | None]
    action: list[float | None]
    mark: float | None = None
    event: str = ""

    def tree(self) -> dict[str, Json]:
        """As JSON; `Trace(**tree)` is the same trace again."""
        return {**self._asdict()}


def steps_taken(path: Path) -> list[Trace]:
    """Before any step and after the last: the first episodes of both measurements, which have the same references."""
    with np.load(path) as recorded:
        measured = recorded["purpose"] == _MEASURED
        obs, action, shot = (recorded[name][measured] for name in ("obs", "applied", "shot"))
    last = int(shot.max())
    titles = {0: "before adapting", last: f"after {steps(last)}"}
    return [_trace(title, obs[shot == k][:_SHOWN], action[shot == k][:_SHOWN]) for k, title in titles.items()]


def change_in_mid_drive(path: Path, event: str, at: float) -> list[Trace]:
    """One drive without a pause."""
    with np.load(path) as recorded:
        obs, action = recorded["obs"], recorded["applied"]
    return [_trace("one drive, adapting all the time", obs, action)._replace(mark=at, event=event)]


def _trace(title: str, obs: np.ndarray, action: np.ndarray) -> Trace:
    """Of episodes, one after the other; obs (n, steps + 1, n_obs), action (n, steps, 1)."""
    episodes, steps = action.shape[:2]
    shown = obs[:, :steps]
    return Trace(
        title,
        _numbers(np.arange(episodes * steps).reshape(episodes, steps) * DT),
        _numbers(shown[..., _POSITION]),
        _numbers(shown[..., _TARGET]),
        _numbers(action[..., 0]),
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    """(n, steps) as one list."""
    found: list[float | None] = []
    for episode in np.round(values.astype(float), _DIGITS).tolist():
        found += [None, *episode] if found else episode
    return found
