"""Machines of any family as plain numbers, for simulated devices: its sessions, one machine and one episode at a time.

An entry of the group `acclimate.worlds`; see `acclimate.task.world`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

import numpy as np
import torch
from acclimate.arrays import FloatArray
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.task.spec import TaskSpec
from acclimate.task.world import Machine, World
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Differentiable, HasHeldOut, Session, TaskFamily, Tasks
from acclimate_trainer.settings.tables import Value
from acclimate_trainer.tasks.registry import open_family

_HELD_OUT, _TYPICAL = 20261130, 20261201  # keys of seeds that no training uses
_CHUNK, _ENDLESS = (
    4096,
    1_000_000,
)  # steps that a session is opened for: one that can be gone on from, and others


def open_world(name: str, use: str | None, options: Mapping[str, Json]) -> World:
    """See `acclimate.task.world.Opener`."""
    settings: dict[str, Value] = {key: _plain(value) for key, value in options.items()}
    opened = open_family(name if use is None else None, use, settings, where=use or name)
    return SessionWorld(opened.family)


class SessionWorld(Generic[Tasks]):
    """All machines of a family; see `acclimate.task.world.World`."""

    def __init__(self, family: TaskFamily[Tasks]) -> None:
        self._family: Complete[Tasks] = Complete.of(family)

    @property
    def spec(self) -> TaskSpec:
        return self._family.spec

    def held_out(self, seed: int, number: int) -> Machine:
        """One of the family's own held-out machines, or else one drawn as in training, by seeds of its own."""
        rng, own = np.random.default_rng([_HELD_OUT, seed, number]), self._family.family
        if isinstance(own, HasHeldOut):
            other = Complete.of(own.held_out())
            return SessionMachine(other, other.sample(1, rng))
        return SessionMachine(self._family, self._family.sample(1, rng))

    def with_parameters(self, values: Mapping[str, float]) -> Machine:
        """A machine of typical parameters, but for these."""
        family = self._family
        tasks = family.sample(1, np.random.default_rng(_TYPICAL), progress=0.0)
        names = [p.name for p in self.spec.parameters]
        for name in values:
            if name not in names:
                raise UsageError(
                    f"{self.spec.name} has no parameter {name!r}; it has: {', '.join(names) or 'none'}"
                )
        fields = getattr(tasks, "_fields", ())
        if values and not set(names) <= set(fields):
            raise UsageError(
                f"machines of the family {self.spec.name} cannot be made by their parameters: its tasks are no tuple "
                "with a field for each; choose one by its number"
            )
        typical = dict(zip(names, family.physical(family.typical[0]).tolist(), strict=True))
        wanted = {name: values.get(name, typical[name]) for name in names if name in fields}
        signs = {p.name for p in self.spec.parameters if p.scale == "sign"} - values.keys()
        changed = {n: torch.full_like(getattr(tasks, n), x) for n, x in wanted.items() if n not in signs}
        replaced: Tasks = tasks._replace(**changed) if fields else tasks  # type: ignore[attr-defined]
        return SessionMachine(family, replaced)


class SessionMachine(Generic[Tasks]):
    """One machine; see `acclimate.task.world.Machine`."""

    def __init__(self, family: Complete[Tasks], tasks: Tasks) -> None:
        self._family, self._tasks = family, tasks
        self._session: Session[Tasks] | None = None
        self._rng = np.random.default_rng(0)
        self._left = 0
        sensors = [name for channel in family.spec.sensors for name in channel.scalars]
        self._reward = None if family.spec.reward is None else sensors.index(family.spec.reward)

    @property
    def parameters(self) -> Mapping[str, float]:
        values = self._family.parameters(self._tasks)[0].tolist()
        return {p.name: value for p, value in zip(self._family.spec.parameters, values, strict=True)}

    def reset(self, rng: np.random.Generator) -> FloatArray:
        """A reward that is measured stays what the last step paid: the next episode begins with it, as in training."""
        before, self._rng, self._session = self._session, rng, None
        values = self._read(self._opened())
        if before is not None and self._reward is not None:
            values[self._reward] = self._read(before)[self._reward]
        return values

    @torch.no_grad()
    def step(self, action: FloatArray) -> FloatArray:
        session = self._opened()
        session.step(torch.from_numpy(np.asarray(action, np.float32)).view(1, 1, -1))
        self._left -= 1
        return self._read(session)

    def change(self, rng: np.random.Generator) -> bool:
        if not self._family.changes:
            return False
        self._tasks = self._family.change(self._tasks, rng)
        if self._session is not None:
            self._session.become(self._tasks, torch.ones(1, dtype=torch.bool))
        return True

    def _opened(self) -> Session[Tasks]:
        """The session, or one that goes on from where it has come to its end."""
        before = self._session
        if before is not None and self._left > 0:
            return before
        session = self._family.open(self._tasks, 1, _CHUNK, self._rng)
        self._left = _CHUNK
        if not isinstance(session, Differentiable):  # it cannot be gone on from, and so must not end
            session = self._family.open(self._tasks, 1, _ENDLESS, self._rng)
            self._left = _ENDLESS
        elif before is not None:
            session.state = _state_of(before)
        self._session = session
        return session

    @staticmethod
    def _read(session: Session[Tasks]) -> FloatArray:
        values: FloatArray = session.obs[0, 0].detach().numpy().astype(np.float32)
        return values


def _state_of(session: object) -> tuple[Tensor, ...]:
    assert isinstance(session, Differentiable)  # as every session of its family is
    return session.state


def _plain(value: Json) -> Value:
    """JSON without null, as options are. Raises UsageError."""
    if value is None:
        raise UsageError("an option of a family is null, expected a number, a text, a list or a table")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
