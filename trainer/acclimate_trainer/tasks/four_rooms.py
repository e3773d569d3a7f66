"""Four rooms full of objects: dynamics that never change, and a reward that is another one in every task.

The navigation tasks of Barreto et al., "Successor Features for Transfer in Reinforcement Learning" (2017), section 5
and appendix B.1, on a grid of 13 × 13 cells instead of a continuous square. One starts in the lower left corner; an
episode ends at the goal in the upper right one, or after 200 steps. Four actions move by one cell, and do nothing
against a wall. Of 12 objects, 4 each of 3 types, whatever is passed is picked up, once per episode; in the next
one all are back. A task is what the types are worth, each ~ U(−1, 1); the goal is worth 1 in all.

    r = φᵀw,   φ = (picked up one of type 1, of type 2, of type 3, reached the goal)

Observed is the cell, and which objects of its own room are gone: everything nearby, but not what is left in other
rooms. With all 12 flags there would be half a million states, of which an agent sees each at most a few times.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

MAZE = (
    "..2...#.....G",
    ".....1#..3...",
    "......#......",
    "..........1..",
    "......#......",
    "....2.#......",
    "##.######.###",
    "......#.3....",
    ".1....#......",
    "...........2.",
    "...3..#......",
    ".....2#.1....",
    "S.....#....3.",
)
"""`S` start, `G` goal, `#` wall, digits the types of objects."""
N_TYPES, N_ACTIONS, HORIZON = 3, 4, 200
N_FEATURES = N_TYPES + 1
MEAN_TASK = np.array([0.0, 0.0, 0.0, 1.0], np.float32)  # E[w]
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
_CENTRE = 6  # row and column of the walls between rooms
_NONE = -1


class RoomsState(NamedTuple):
    """Where n agents are."""

    cell: Indices  # (n,)
    taken: Flags  # objects that are gone, (n, 12)
    t: Indices  # step in the episode, (n,)


class RoomsStep(NamedTuple):
    """What a step led to, before any new episode begins."""

    state: RoomsState
    features: Floats  # φ, (n, 4)
    terminated: Flags  # at the goal, (n,)
    truncated: Flags  # out of time, (n,)


class FourRooms:
    """The grid as tables; batched over n agents that do not meet."""

    def __init__(self, maze: tuple[str, ...] = MAZE) -> None:
        places = [(r, c) for r, row in enumerate(maze) for c, mark in enumerate(row) if mark != "#"]
        marks = [maze[r][c] for r, c in places]
        number = {place: i for i, place in enumerate(places)}
        self.n_cells = len(places)
        self.places = tuple(places)
        self.start, self.goal = marks.index("S"), marks.index("G")
        self.objects = np.array([i for i, mark in enumerate(marks) if mark.isdigit()])  # their cells
        self.types = np.array([int(marks[i]) - 1 for i in self.objects])
        self._next = np.array(
            [[number.get((r + dr, c + dc), number[r, c]) for dr, dc in _MOVES] for r, c in places]
        )  # fmt: skip  (cells, actions)
        self._object_at = np.full(self.n_cells, _NONE)
        self._object_at[self.objects] = np.arange(len(self.objects))
        self._features = np.zeros(
            (self.n_cells, N_FEATURES), np.float32
        )  # of arriving while nothing is taken
        self._features[self.objects, self.types] = 1.0
        self._features[self.goal, N_TYPES] = 1.0
        room = np.array([2 * (r > _CENTRE) + (c > _CENTRE) for r, c in places])
        near = room[:, None] == room[self.objects]  # (cells, objects)
        self._bit = np.where(
            near, 1 << (near.cumsum(1) - 1), 0
        )  # of each object in what is observed from a cell
        width = self._bit.sum(1) + 1
        self._offset = np.concatenate([[0], width.cumsum()[:-1]])
        self.n_states = int(width.sum())

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """w of n tasks, (n, 4)."""
        worth = rng.uniform(-1.0, 1.0, (n, N_TYPES))
        return np.concatenate([worth, np.ones((n, 1))], axis=1).astype(np.float32)

    def reset(self, n: int) -> RoomsState:
        """All at the start, with every object in its place."""
        return RoomsState(
            np.full(n, self.start), np.zeros((n, len(self.objects)), np.bool_), np.zeros(n, np.int64)
        )

    def step(self, state: RoomsState, action: Indices) -> RoomsStep:
        """Move by `action` (n,), and pick up what is there."""
        cell = self._next[state.cell, action]
        here = self._object_at[cell]  # (n,)
        rows = np.arange(len(cell))
        features = self._features[cell]
        features[(here != _NONE) & state.taken[rows, here]] = 0.0
        taken = state.taken.copy()
        taken[rows, here] |= here != _NONE
        t = state.t + 1
        terminated = cell == self.goal
        return RoomsStep(RoomsState(cell, taken, t), features, terminated, ~terminated & (t >= HORIZON))

    def observe(self, state: RoomsState) -> Indices:
        """The observed state's number, below `n_states`, (n,)."""
        observed: Indices = self._offset[state.cell] + (state.taken * self._bit[state.cell]).sum(1)
        return observed

    def again(self, step: RoomsStep) -> RoomsState:
        """The state to go on from: a new episode where one has ended."""
        done = step.terminated | step.truncated
        cell, taken, t = step.state
        return RoomsState(np.where(done, self.start, cell), taken & ~done[:, None], np.where(done, 0, t))
