"""Taking a machine slowly to where a policy may begin, and back: by the policy itself, on a short leash."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.envelope import require_inside
from acclimate.control.loop import ControlLoop
from acclimate.task.spec import TaskSpec, Track

from acclimate_bridge.command.watch import Watch

_SPEED = 0.2  # of a track's amplitude per second
_LEASH = 0.3  # of the largest amplitude: an error of more ends it
_INSIDE = 0.1  # of the envelope's width, that the place to go to is away from its edge
_SETTLING = 0.5  # s at the end


def approach(loop: ControlLoop, manifest: Manifest, abort_error: float) -> None:
    """Go to the nearest place where `manifest` may begin. Raises Diverged, MismatchError where it is not reached."""
    task, obs = manifest.task, loop.measure()
    goals = {}
    for track in _tracks(task):
        low, high = manifest.start.get(track.measured, (-math.inf, math.inf))
        room = _INSIDE * (high - low) if math.isfinite(high - low) else 0.0
        here = float(obs[task.index(track.measured)])
        goals[track.measured] = here if low <= here <= high else min(max(here, low + room), high - room)
    _go(loop, task, goals, abort_error)
    require_inside(manifest, loop.measure())


def go_back(loop: ControlLoop, task: TaskSpec, to: FloatArray, abort_error: float) -> None:
    """Go to where the machine stood at `to` (n_obs,). Raises Diverged."""
    _go(loop, task, {t.measured: float(to[task.index(t.measured)]) for t in _tracks(task)}, abort_error)


def _tracks(task: TaskSpec) -> tuple[Track, ...]:
    return task.reference.tracks if task.reference else ()


def _go(loop: ControlLoop, task: TaskSpec, goals: Mapping[str, float], abort_error: float) -> None:
    obs, tracks = loop.measure(), _tracks(task)
    here = {track.measured: float(obs[task.index(track.measured)]) for track in tracks}
    if here == goals:
        return
    leash = min(abort_error, _LEASH * max(track.amplitude for track in tracks))
    Watch(task, leash).of(loop)
    loop.follow(_ramps(task, here, goals))


def _ramps(task: TaskSpec, here: Mapping[str, float], goals: Mapping[str, float]) -> Iterator[FloatArray]:
    """Straight lines from here to there, all tracks at once, and some time to come to rest."""
    tracks, dt = _tracks(task), task.control_dt
    ways = [goals[t.measured] - here[t.measured] for t in tracks]
    seconds = max(abs(way) / (_SPEED * t.amplitude) for way, t in zip(ways, tracks, strict=True))
    ticks = max(math.ceil(seconds / dt), 1)
    columns = {name: i for i, name in enumerate(task.reference_scalars)}
    for k in range(ticks + round(_SETTLING / dt)):
        row: FloatArray = np.zeros(task.n_references, np.float32)
        for track, way in zip(tracks, ways, strict=True):
            row[columns[track.target]] = here[track.measured] + way * min(k / ticks, 1.0)
            if track.rate is not None and k < ticks:
                row[columns[track.rate]] = way / (ticks * dt)
        yield row
