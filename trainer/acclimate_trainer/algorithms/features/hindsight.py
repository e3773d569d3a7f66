"""What a machine did, as if that had been asked of it: then every action was right, and no reward is needed to say so.

Where an action a_t was taken in an observation with target g_t (of rate ġ_t, where that is observed), and h ticks later
a sensor said m_{t+h}, the action is what leads there from here. So it answers the observation with the target

    g'_t = m_{t+h} − h·dt·ġ_t,

which would have been at m_{t+h} by then (Andrychowicz et al. 2017, "Hindsight Experience Replay", for targets that
move). That is an inverse model: commanded action as a function of state and of what motion is wanted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from acclimate.task.spec import TaskSpec, Track, TrackingReference
from torch import Tensor

from acclimate_trainer.contract.policy import Window


def tracks(spec: TaskSpec) -> tuple[Track, ...]:
    """What a machine follows; nothing where it has no reference that begins and moves as `TrackingReference` says."""
    return spec.reference.tracks if isinstance(spec.reference, TrackingReference) else ()


class Hindsight(NamedTuple):
    """Observations that the actions of a window were right answers to."""

    obs: Tensor  # (T, K, n, n_obs)
    action: Tensor  # in the channels' units (T, K, n, n_act)
    previous: Tensor  # the action before, 0 in the first tick (T, K, n, n_act)
    known: Tensor  # 1 where all ticks that it takes may be learned from (T, K, n)


def in_hindsight(spec: TaskSpec, window: Window, ahead: int) -> Hindsight:
    """Of the first n = S − ahead + 1 ticks of each episode."""
    steps = window.action.shape[2]
    n = steps - ahead + 1
    columns = list(window.obs[:, :, :n].unbind(-1))
    for track in tracks(spec):
        arrived = window.obs[:, :, ahead:, spec.index(track.measured)]
        coming = 0.0 if track.rate is None else ahead * spec.control_dt * columns[spec.index(track.rate)]
        columns[spec.index(track.target)] = arrived - coming
    known = torch.stack([window.mask[:, :, k : k + n] for k in range(ahead)]).amin(0)
    before = torch.cat([torch.zeros_like(window.action[:, :, :1]), window.action[:, :, : n - 1]], dim=2)
    return Hindsight(torch.stack(columns, dim=-1), window.action[:, :, :n], before, known)
