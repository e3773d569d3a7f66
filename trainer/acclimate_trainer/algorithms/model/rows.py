"""A window of driving as rows to learn a machine's dynamics from: what was measured and done, and what came of it.

A row begins at a tick t. It holds what the sensors said then, the actions of the `past` ticks before it, some of which
may still be on their way, and those of the `ahead` ticks that follow; to be predicted is by how much each sensor has
changed after these. Several ticks ahead, because a single one hardly rises out of the encoders' noise.

All of it is about 1 in size: actions of full scale; sensors, and what they change by, of their standard deviation under
random actions, over the family.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Window
from acclimate_trainer.networks.view import View

_MACHINES, _TICKS, _SEED = 64, 100, 20261130  # from which the scales are taken
_SIGMA, _MEMORY = 0.4, 0.9  # of the random actions there
_FAR = 10.0  # standard deviations: sensors that say more have gone wrong
_LEAST = 1e-6


class Rows(NamedTuple):
    """N rows of each of T machines."""

    x: Tensor  # (T, N, n_x)
    y: Tensor  # (T, N, n_y)
    weight: Tensor  # 1 where all of it may be learned from, else 0 (T, N)


class _Scales(NamedTuple):
    """Of each sensor, in its unit, (n_y,)."""

    center: Tensor
    spread: Tensor
    change: Tensor  # of its changes over `ahead` ticks, in `spread`


class Layout:
    """What a row is for a family's machines: see the module."""

    def __init__(self, view: View, past: int, ahead: int) -> None:
        self.view, self.past, self.ahead = view, past, ahead
        spec = view.family.spec
        names = [name for channel in spec.sensors for name in channel.scalars]
        self.columns = torch.tensor([spec.index(name) for name in names])  # of the sensors, in an observation
        self.n_y = len(names)
        self.n_x = self.n_y + (past + ahead) * view.n_act

    def steps(self, rows: int) -> int:
        """Ticks of an episode that has so many rows."""
        return rows + self.past + self.ahead - 1

    def rows(self, window: Window) -> Rows:
        """All that a window (T, K, S) has room for."""
        past, ahead = self.past, self.ahead
        count = window.action.shape[2] - past - ahead + 1
        sensors = self.scaled(window.obs.index_select(-1, self.columns))
        action, mask = self.view.taken(window.action), window.mask
        now = sensors[:, :, past : past + count]
        then = sensors[:, :, past + ahead : past + ahead + count]
        around = range(past + ahead)
        x = torch.cat([now, *(action[:, :, k : k + count] for k in around)], dim=-1)
        weight = torch.stack([mask[:, :, k : k + count] for k in around], dim=-1).amin(-1)
        y = (then - now) / self._scales.change
        return Rows(x.flatten(1, 2), y.flatten(1, 2), weight.flatten(1, 2))

    def scaled(self, sensors: Tensor) -> Tensor:
        """What sensors say (…, n_y), of their standard deviation."""
        return ((sensors - self._scales.center) / self._scales.spread).clamp(-_FAR, _FAR)

    def measured(self, scaled: Tensor) -> Tensor:
        """The inverse of `scaled`."""
        return scaled * self._scales.spread + self._scales.center

    def after(self, scaled: Tensor, y: Tensor) -> Tensor:
        """Scaled sensors (…, n_y) when they have changed by y."""
        return (scaled + y * self._scales.change).clamp(-_FAR, _FAR)

    @cached_property
    @torch.no_grad()
    def _scales(self) -> _Scales:
        seen = self._random_driving().index_select(-1, torch.arange(self.n_y))  # (T, S + 1, n_y)
        center = 0.5 * (seen.amax((0, 1)) + seen.amin((0, 1)))
        spread = seen.std((0, 1)).clamp_min(_LEAST)
        change = ((seen[:, self.ahead :] - seen[:, : -self.ahead]) / spread).std((0, 1)).clamp_min(_LEAST)
        return _Scales(*(_rounded(x) for x in (center, spread, change)))

    def _random_driving(self) -> Tensor:
        """What machines of the family measure under smooth random actions, (T, S + 1, n_y)."""
        rng, family = np.random.default_rng(_SEED), self.view.family
        session = family.open(family.sample(_MACHINES, rng), 1, _TICKS, rng)
        seen, action = [session.obs], torch.zeros(_MACHINES, 1, self.view.n_act)
        for _ in range(_TICKS):
            new = torch.from_numpy(rng.standard_normal(tuple(action.shape), dtype=np.float32))
            action = _MEMORY * action + _SIGMA * (1.0 - _MEMORY**2) ** 0.5 * new
            session.step(self.view.physical(action.clamp(-1.0, 1.0)))
            seen.append(session.obs)
        return torch.stack(seen, dim=2).squeeze(1)


def _rounded(x: Tensor) -> Tensor:
    """To two digits, so that another machine's rounding gives the same numbers."""
    return torch.tensor([float(f"{value:.1e}") for value in x.tolist()])
