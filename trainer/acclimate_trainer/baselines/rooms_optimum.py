"""Four rooms solved exactly: what can be earned by whoever knows everything, all 12 flags included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from acclimate_trainer.tasks.four_rooms import N_ACTIONS, Floats, FourRooms, Indices, RoomsState

_LONGEST = 10_000  # steps; no way through the rooms is nearly as long


class Episode(NamedTuple):
    """The best one: what it earns, and how many steps it takes."""

    reward: float
    steps: int


class RoomsOptimum:
    """Value iteration over cells and flags; the tables of the dynamics are made once."""

    def __init__(self, rooms: FourRooms, gamma: float) -> None:
        self._gamma, n_objects = gamma, len(rooms.objects)
        codes = np.repeat(np.arange(1 << n_objects), rooms.n_cells)
        cells = np.tile(np.arange(rooms.n_cells), 1 << n_objects)  # a state is code · cells + cell
        bits = 1 << np.arange(n_objects)
        state = RoomsState(cells, (codes[:, None] & bits) > 0, np.zeros_like(cells))
        self._next = np.empty((N_ACTIONS, len(cells)), np.int64)
        self._features = np.empty((N_ACTIONS, len(cells), 4), np.float32)
        for action in range(N_ACTIONS):
            step = rooms.step(state, np.full(len(cells), action))
            self._next[action] = (step.state.taken @ bits) * rooms.n_cells + step.state.cell
            self._features[action] = step.features
        self._ends: Indices = np.flatnonzero(cells == rooms.goal)
        self._start, self._goal, self._cells = rooms.start, rooms.goal, rooms.n_cells

    def episode(self, w: Floats) -> Episode:
        """From the start, by the policy that is optimal for w (4,) and γ.

        Raises ArithmeticError where there is none.
        """
        reward = self._features @ w  # (A, states)
        value = np.zeros(reward.shape[1], np.float32)
        while (
            True
        ):  # a deterministic world is solved exactly after as many sweeps as the longest way has steps
            q = reward + self._gamma * value[self._next]
            better = q.max(0)
            better[self._ends] = 0.0
            if np.abs(better - value).max() < 1e-6:
                break
            value = better
        return self._follow(q.argmax(0), reward)

    def _follow(self, policy: Indices, reward: Floats) -> Episode:
        state, earned, steps = self._start, 0.0, 0
        while state % self._cells != self._goal and steps < _LONGEST:
            action = policy[state]
            earned += float(reward[action, state])
            state = int(self._next[action, state])
            steps += 1
        return Episode(earned, steps)
