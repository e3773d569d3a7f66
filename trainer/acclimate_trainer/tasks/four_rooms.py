"""Four rooms full of objects: dynamics that never change, and a reward that is another one in every task.

The navigation tasks of Barreto et al., "Successor Features for Transfer in Reinforcement Learning" (2017), section 5
and appendix B.1, on a grid of 13 × 13 cells instead of a continuous square. One starts in the lower left corner; an
episode ends at the goal in the upper right one, or after 200 steps. Four actions move by one cell, and do nothing
against a wall. Of 12 objects, 4 each of 3 types, whatever is passed is picked up, once per episode; in the next
one all are back. A task is what the types are worth, each ~ U(−1, 1); the goal is worth 1 in all.

    r = φᵀw,   φ = (picked up one of type 1, of type 2, of type 3, reached the goal)

Observed is the cell, and which objects of its own room are gone: everything nearby, but not what is left in other
rooms. With all 12 flags there would be half a million states, of which an agent sees each at most a few times.

`FourRooms` is the grid as tables, which exact methods and tabular players use; `FourRoomsFamily` is the task family.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from acclimate.task.spec import ActionChannel, Feature, Metric, ObservationChannel, Parameter, TaskSpec
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.family import Step
from acclimate_trainer.contract.policy import Window

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
CONTROL_DT = 0.1  # s; a move takes no time, but on a wire everything does
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
        self.next = np.array(
            [[number.get((r + dr, c + dc), number[r, c]) for dr, dc in _MOVES] for r, c in places]
        )  # (cells, actions)
        self._object_at = np.full(self.n_cells, _NONE)
        self._object_at[self.objects] = np.arange(len(self.objects))
        self.features = np.zeros((self.n_cells, N_FEATURES), np.float32)  # of arriving while nothing is taken
        self.features[self.objects, self.types] = 1.0
        self.features[self.goal, N_TYPES] = 1.0
        room = np.array([2 * (r > _CENTRE) + (c > _CENTRE) for r, c in places])
        near = room[:, None] == room[self.objects]  # (cells, objects)
        place = np.where(near, near.cumsum(1) - 1, 0)  # of each object among those of the cell's room
        # Which objects are those of each cell's room, in order; the last column for rooms that have fewer.
        self.nearby = np.full((self.n_cells, int(near.sum(1).max())), len(self.objects))
        self.nearby[np.nonzero(near)[0], place[near]] = np.nonzero(near)[1]
        self._bit = np.where(near, 1 << place, 0)  # of each object in what is observed from a cell
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
        cell = self.next[state.cell, action]
        here = self._object_at[cell]  # (n,)
        rows = np.arange(len(cell))
        features = self.features[cell]
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


class RoomsTasks(NamedTuple):
    """T tasks: what picking up an object of each type is worth; the goal is worth 1."""

    worth: Tensor  # (T, 3)


class RoomsSession:
    """E walks through the rooms for each of T tasks."""

    def __init__(self, rooms: FourRooms, tasks: RoomsTasks, episodes: int) -> None:
        self._rooms, self._worth = rooms, tasks.worth
        self._shape = (len(tasks.worth), episodes)
        self._state = rooms.reset(len(tasks.worth) * episodes)
        self._reward = torch.zeros(self._shape)

    @property
    def obs(self) -> Tensor:
        """Row, column, which objects of the room are gone, and the reward of the move before."""
        cell, taken, _ = self._state
        places = np.array(self._rooms.places)[cell]  # (n, 2)
        gone = np.pad(taken, ((0, 0), (0, 1)))[np.arange(len(cell))[:, None], self._rooms.nearby[cell]]
        seen = torch.from_numpy(np.concatenate([places, gone], axis=1).astype(np.float32))
        return torch.cat([seen.view(*self._shape, -1), self._reward.unsqueeze(-1)], dim=-1)

    def step(self, action: Tensor) -> Step:
        """Make the moves whose numbers are nearest to `action` (T, E, 1)."""
        move = action.round().clamp(0, N_ACTIONS - 1).flatten().long().numpy()
        step = self._rooms.step(self._state, move)
        w = torch.cat([self._worth, torch.ones_like(self._worth[:, :1])], dim=1)  # (T, 4)
        phi = torch.from_numpy(step.features).view(*self._shape, N_FEATURES)
        self._state, self._reward = self._rooms.again(step), (phi @ w.unsqueeze(-1)).squeeze(-1)
        ends = (torch.from_numpy(end).view(self._shape) for end in (step.terminated, step.truncated))
        return Step(self._reward, *ends)

    def become(self, tasks: RoomsTasks, where: Tensor) -> None:
        self._worth = torch.where(where.unsqueeze(-1), tasks.worth, self._worth)


@dataclass(frozen=True)
class FourRoomsFamily:
    """Section [family.options] of a config: four rooms, where a task is what objects are worth."""

    episodes: int = 4
    """Episodes of a trial."""

    @cached_property
    def rooms(self) -> FourRooms:
        return FourRooms()

    @cached_property
    def spec(self) -> TaskSpec:
        height, width, nearby = len(MAZE), len(MAZE[0]), self.rooms.nearby.shape[1]
        kinds = range(1, N_TYPES + 1)
        return TaskSpec(
            name="four_rooms",
            control_dt=CONTROL_DT,
            observation=(
                ObservationChannel("row", "1", 0.0, height - 1.0),
                ObservationChannel("column", "1", 0.0, width - 1.0),
                ObservationChannel("gone", "1", 0.0, 1.0, shape=(nearby,)),
                ObservationChannel("reward", "1", -1.0, 1.0, source="reward"),
            ),
            action=(ActionChannel("move", "1", 0.0, N_ACTIONS - 1.0),),
            parameters=tuple(Parameter(f"worth_{kind}", "1", -1.0, 1.0) for kind in kinds),
            metrics=(Metric("reward", "reward"),),
            features=(
                *(
                    Feature(f"object_{kind}", f"picked up an object of type {kind}", -1.0, 1.0)
                    for kind in kinds
                ),
                Feature("goal", "reached the goal", -1.0, 1.0),
            ),
            choices=tuple((float(move),) for move in range(N_ACTIONS)),
            horizon=HORIZON,
            episodes=self.episodes,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> RoomsTasks:
        del progress  # no task is harder than another
        return RoomsTasks(torch.from_numpy(self.rooms.sample(n, rng)[:, :N_TYPES]))

    def parameters(self, tasks: RoomsTasks) -> Tensor:
        return tasks.worth

    def open(self, tasks: RoomsTasks, episodes: int, steps: int, rng: np.random.Generator) -> RoomsSession:
        del steps, rng  # nothing is random, and an episode that has ended begins anew
        return RoomsSession(self.rooms, tasks, episodes)

    def inputs(self, obs: Tensor) -> Tensor:
        """Row and column, one-hot, and which objects of the room are gone."""
        place = obs[..., :2].round().unsqueeze(-1)
        row, column = (
            place[..., i, :] == torch.arange(float(n)) for i, n in enumerate((len(MAZE), len(MAZE[0])))
        )
        return torch.cat([row.to(obs.dtype), column.to(obs.dtype), obs[..., 2:-1]], dim=-1)

    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        """φ of a move, by where it begins and what is gone there: no door leads straight onto an object."""
        obs, tables = window.obs[:, :, :-1], self._tables
        row, column = obs[..., :2].round().clamp(0, len(MAZE) - 1).long().unbind(-1)
        move = window.action.squeeze(-1).round().clamp(0, N_ACTIONS - 1).long()
        cell = tables.cells[row, column]
        arrived = tables.next[cell, move]  # (T, K, S)
        gone = ((tables.nearby[cell] == arrived.unsqueeze(-1)) * obs[..., 2:-1]).amax(-1, keepdim=True)
        return tables.features[arrived] * (1.0 - gone), torch.ones_like(window.mask)

    @cached_property
    def _tables(self) -> _Tables:
        rooms = self.rooms
        cells = np.zeros((len(MAZE), len(MAZE[0])), np.int64)
        cells[tuple(np.transpose(rooms.places))] = np.arange(rooms.n_cells)
        nearby = np.append(rooms.objects, _NONE)[rooms.nearby]
        return _Tables(*map(torch.from_numpy, (cells, rooms.next, nearby, rooms.features)))


class _Tables(NamedTuple):
    """The grid as tensors."""

    cells: Tensor  # the cell's number by row and column; 0 for walls
    next: Tensor  # the cell that each action leads to (cells, actions)
    nearby: Tensor  # cells of the objects in the same room (cells, most)
    features: Tensor  # φ of arriving while nothing is taken (cells, 4)
