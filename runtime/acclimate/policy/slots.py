"""Where a policy's state lives, and which array each graph reads and writes.

Tensors that `adapt` writes have two slots: one is live, the other spare. Tensors that `act` writes are one
running set, carried from output to input after every tick. Tensors that nobody writes are shared by everyone.
What may change while `adapt` runs, since `act` writes it or an episode resets it, `adapt` reads in a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest, StateTensor


class StateMemory:
    """All state arrays of one policy; they are allocated here and keep their addresses for life."""

    def __init__(self, manifest: Manifest, initial: Mapping[str, FloatArray]) -> None:
        self._tensors = manifest.state
        self._initial = initial
        self._slots = tuple(_copies(initial, self._written_by("adapt")) for _ in range(2))
        self._running = _copies(initial, self._written_by("act"))
        self._shared = _copies(initial, self._written_by(None))
        passing = [t.name for t in self._tensors if t.written_by is None and t.reset == "episode"]
        self._snapshot = _copies(initial, [*self._running, *passing])
        self.live = 0  # index of the live slot; assigning it is atomic, so a swap falls between two ticks

    def _written_by(self, writer: str | None) -> list[str]:
        return [t.name for t in self._tensors if t.written_by == writer]

    def names(self) -> list[str]:
        return [t.name for t in self._tensors]

    def act_inputs(self, slot: int) -> dict[str, FloatArray]:
        """State as `act` reads it while `slot` is live."""
        return {**self._slots[slot], **self._running, **self._shared}

    def adapt_inputs(self, slot: int) -> dict[str, FloatArray]:
        """State as `adapt` reads it while `slot` is live: of what changes meanwhile it sees a snapshot."""
        return {**self._slots[slot], **self._shared, **self._snapshot}

    def slot(self, slot: int) -> dict[str, FloatArray]:
        return self._slots[slot]

    def running(self) -> dict[str, FloatArray]:
        return self._running

    def take_snapshot(self) -> None:
        for name, array in self._snapshot.items():
            np.copyto(array, self.current(name))

    def current(self, name: str) -> FloatArray:
        """The array that the next `act` will read for tensor `name`."""
        return self.act_inputs(self.live)[name]

    def reset(self, scope: str) -> None:
        """Put back the initial value of the tensors of this scope."""
        self._restore(self.within(scope))

    def within(self, scope: str) -> list[StateTensor]:
        """The tensors of this scope; a new trial also begins a new episode."""
        scopes = {"episode"} if scope == "episode" else {"episode", "trial"}
        return [t for t in self._tensors if t.reset in scopes]

    def restore_all(self) -> None:
        """As on the day of export, `never` tensors included."""
        self._restore(self._tensors)

    def _restore(self, tensors: list[StateTensor] | tuple[StateTensor, ...]) -> None:
        for tensor in tensors:
            np.copyto(self.current(tensor.name), self._initial[tensor.name])


def _copies(initial: Mapping[str, FloatArray], names: list[str]) -> dict[str, FloatArray]:
    return {name: initial[name].copy() for name in names}
