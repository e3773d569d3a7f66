"""A window of driving, cut into stretches of a few ticks, and what a family's machines would have measured in them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.costs import limited
from acclimate_trainer.contract.family import Resumable
from acclimate_trainer.contract.policy import Window

_FAR = 1e3  # half ranges: farther than any machine goes


class Stretches(NamedTuple):
    """N stretches of H ticks on each of T machines, what is measured in half ranges from the middle of its range."""

    begin: Tensor  # what was measured before the first (T, N, n)
    past: Tensor  # actions before it, oldest first (T, N, n_past, n_act)
    action: Tensor  # (T, N, H, n_act)
    measured: Tensor  # after each (T, N, H, n)
    valid: Tensor  # 1 where all of it may be learned from (T, N)

    @property
    def ticks(self) -> Tensor:
        """How many may be learned from, (T,)."""
        return self.valid.sum(-1) * self.action.shape[2]

    def each(self, times: int) -> Stretches:
        """Each machine's, `times` times over: (T·times, …)."""
        return Stretches(*(each(part, times) for part in self))


class Cutter:
    """Cuts windows of a family's machines, and predicts what follows where a stretch begins; in float64, see `fit`."""

    def __init__(self, family: Complete[object], ticks: int) -> None:
        """ticks: of a stretch, H."""
        assert isinstance(family.family, Resumable)  # `needs` has asked
        self._family, self._machines, self._ticks = family, family.family, ticks
        self._mean, self._spread = family.typical.double()
        sensors = [c for c in family.spec.sensors for _ in range(c.size)]
        names = [name for channel in family.spec.sensors for name in channel.scalars]
        self._columns = torch.tensor([family.spec.index(name) for name in names])
        self._half = torch.tensor([0.5 * (c.maximum - c.minimum) for c in sensors], dtype=torch.float64)
        self._middle = torch.tensor([0.5 * (c.maximum + c.minimum) for c in sensors], dtype=torch.float64)
        self.n_sensors = len(sensors)

    @property
    def needs(self) -> int:
        """Ticks of an episode that has a stretch."""
        return self._machines.n_past + self._ticks

    def cut(self, window: Window) -> Stretches:
        """All that the window has room for, each after as many actions as a machine remembers."""
        past, ticks = self._machines.n_past, self._ticks
        obs = self._scaled(window.obs.index_select(-1, self._columns).double()).clamp(-_FAR, _FAR)
        action = limited(self._family.spec, window.action).double()
        mask = window.mask.double()
        count = (action.shape[2] - past) // ticks
        end = past + count * ticks

        def stretched(x: Tensor) -> Tensor:
            return x.reshape(len(x), -1, ticks, *x.shape[3:])

        before = [action[:, :, k : k + count * ticks : ticks].flatten(1, 2) for k in range(past)]
        known = [mask[:, :, k : k + count * ticks : ticks].flatten(1, 2) for k in range(past)]
        valid = torch.stack([stretched(mask[:, :, past:end]).amin(-1), *known], dim=-1).amin(-1)
        return Stretches(
            begin=obs[:, :, past:end:ticks].flatten(1, 2),
            past=torch.stack(before, dim=2) if past else action[:, :0],
            action=stretched(action[:, :, past:end]),
            measured=stretched(obs[:, :, past + 1 : end + 1]),
            valid=valid,
        )

    def predict(self, z: Tensor, stretches: Stretches) -> Tensor:
        """What machines z (D, P), in typical units, measure in each stretch, (D, N, H, n)."""
        machines = self._machines.made(self._family.physical(z * self._spread + self._mean))
        begin = stretches.begin * self._half + self._middle
        session = self._machines.resume(machines, begin, stretches.past, self._ticks)
        seen = []
        for action in stretches.action.unbind(2):
            session.step(action)
            seen.append(session.obs)
        return self._scaled(torch.stack(seen, dim=2)).clamp(-_FAR, _FAR)

    def _scaled(self, measured: Tensor) -> Tensor:
        return (measured - self._middle) / self._half


def each(part: Tensor, times: int) -> Tensor:
    """(T, …) with each entry `times` times: (T·times, …)."""
    return part.unsqueeze(1).expand(-1, times, *part.shape[1:]).flatten(0, 1)
