"""Four rooms: the grid as drawn, objects that are there once per episode, and what is observed of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.tasks.four_rooms import (
    HORIZON,
    MAZE,
    MEAN_TASK,
    N_ACTIONS,
    N_TYPES,
    FourRooms,
    FourRoomsFamily,
    RoomsState,
    RoomsTasks,
)
from acclimate_trainer.testing import FamilyConformance
from torch.testing import assert_close

ROOMS = FourRooms()
UP, RIGHT, DOWN, LEFT = range(N_ACTIONS)


class TestFourRoomsConformance(FamilyConformance):
    def family(self) -> FourRoomsFamily:
        return FourRoomsFamily()


def walked(family: FourRoomsFamily, tasks: RoomsTasks, actions: torch.Tensor) -> tuple[Window, torch.Tensor]:
    """What was observed and what was paid on walks of moves (T, E, S)."""
    session = family.open(tasks, actions.shape[1], actions.shape[2], np.random.default_rng(0))
    obs, reward = [session.obs], []
    for move in actions.float().unsqueeze(-1).unbind(2):
        reward.append(session.step(move).reward)
        obs.append(session.obs)
    window = Window(torch.stack(obs, 2), actions.float().unsqueeze(-1), torch.ones(actions.shape))
    return window, torch.stack(reward, 2)


def test_rewards_are_what_the_features_of_the_observations_are_worth() -> None:
    """Over long random walks, in which every object is picked up and the goal is reached."""
    family, rng = FourRoomsFamily(), np.random.default_rng(0)
    tasks = family.sample(20, rng)
    window, reward = walked(family, tasks, torch.from_numpy(rng.integers(0, 4, (20, 10, 400))))
    phi, known = family.features(window)
    w = torch.cat([tasks.worth, torch.ones(20, 1)], 1)
    assert known.all()
    assert (phi.sum((0, 1, 2)) > 2).all()
    assert_close(torch.einsum("tesd,td->tes", phi, w), reward)
    assert torch.equal(window.obs[:, :, 1:, -1], reward)


def test_the_network_sees_the_place_and_what_is_gone() -> None:
    family = FourRoomsFamily()
    moves = torch.tensor(["urdl".index(move) for move in "urrrrr"]).view(1, 1, -1)  # onto an object of type 2
    window, _ = walked(family, RoomsTasks(torch.zeros(1, 3)), moves)
    x = family.inputs(window.obs)[0, 0]
    assert x[0].nonzero().flatten().tolist() == [12, 13]  # row 12, column 0
    assert x[-1].nonzero().flatten().tolist()[:2] == [11, 18]
    assert x[-1].sum() == 3.0


def test_the_goal_is_seen_as_the_last_reward_from_the_start_of_the_next_episode() -> None:
    family = FourRoomsFamily()
    session = family.open(RoomsTasks(torch.zeros(1, 3)), 1, 400, np.random.default_rng(0))
    for move in "rr" + "u" * 6 + "u" * 3 + "r" * 10 + "u" * 3:
        step = session.step(torch.tensor([[[float("urdl".index(move))]]]))
    assert step.terminated.all()
    assert step.reward.tolist() == [[1.0]]
    assert session.obs[0, 0, [0, 1, -1]].tolist() == [12.0, 0.0, 1.0]


def walk(actions: str, state: RoomsState | None = None) -> tuple[RoomsState, list[list[float]]]:
    """One agent's state after a walk of "urdl", and the features on its way."""
    state, seen = state or ROOMS.reset(1), []
    for action in actions:
        step = ROOMS.step(state, np.array(["urdl".index(action)]))
        seen.append(step.features[0].tolist())
        state = step.state
    return state, seen


def place(state: RoomsState) -> tuple[int, int]:
    return ROOMS.places[int(state.cell[0])]


def distances() -> np.ndarray:
    """Steps from the start to every cell, by flooding."""
    found = np.full(ROOMS.n_cells, -1)
    found[ROOMS.start], front = 0, [ROOMS.start]
    while front:
        cells = np.repeat(front, N_ACTIONS)
        state = RoomsState(cells, np.zeros((len(cells), 12), np.bool_), np.zeros(len(cells), np.int64))
        arrived = ROOMS.step(state, np.tile(np.arange(N_ACTIONS), len(front))).state.cell
        new = sorted({int(cell) for cell in arrived if found[cell] < 0})
        found[new], front = found[front[0]] + 1, new
    return found


def test_the_maze_is_as_the_yardstick_has_it() -> None:
    assert [len(row) for row in MAZE] == [13] * 13
    assert len(ROOMS.objects) == 12
    assert np.bincount(ROOMS.types).tolist() == [4, 4, 4]
    assert ROOMS.places[ROOMS.start] == (12, 0)
    assert ROOMS.places[ROOMS.goal] == (0, 12)
    assert (distances() >= 0).all()
    assert distances()[ROOMS.goal] == 24


def test_tasks_are_drawn_uniformly_and_the_goal_is_worth_one() -> None:
    w = ROOMS.sample(20_000, np.random.default_rng(0))
    assert (w[:, N_TYPES] == 1.0).all()
    assert w[:, :N_TYPES].min() >= -1.0
    assert w[:, :N_TYPES].max() <= 1.0
    np.testing.assert_allclose(w.mean(0), MEAN_TASK, atol=0.02)
    np.testing.assert_allclose(w[:, :N_TYPES].var(0), 1.0 / 3.0, atol=0.01)


def test_four_actions_move_by_one_cell_and_not_through_walls() -> None:
    assert place(walk("u")[0]) == (11, 0)
    assert place(walk("rr")[0]) == (12, 2)
    assert place(walk("ud")[0]) == (12, 0)
    assert place(walk("rl")[0]) == (12, 0)
    assert place(walk("dl")[0]) == (12, 0)  # the edge
    assert place(walk("rrrrrr")[0]) == (12, 5)  # the wall
    assert place(walk("rruuuuuu")[0]) == (6, 2)  # a door
    assert place(walk("rruuuuuull")[0]) == (6, 2)  # and its posts


def test_an_object_is_picked_up_once() -> None:
    """The nearest one: type 2 at row 11, column 5."""
    state, seen = walk("urrrrrlr")
    assert seen == [[0.0] * 4] * 5 + [[0.0, 1.0, 0.0, 0.0]] + [[0.0] * 4] * 2
    assert state.taken.sum() == 1


def test_every_object_has_its_type() -> None:
    for cell, kind in zip(ROOMS.objects, ROOMS.types, strict=True):
        row, column = ROOMS.places[cell]
        assert int(MAZE[row][column]) - 1 == kind
        before = [
            i for i, (r, c) in enumerate(ROOMS.places) if (r, c) in ((row, column - 1), (row, column + 1))
        ]
        action = RIGHT if ROOMS.places[before[0]][1] < column else LEFT
        state = RoomsState(np.array(before[:1]), np.zeros((1, 12), np.bool_), np.zeros(1, np.int64))
        assert ROOMS.step(state, np.array([action])).features[0].argmax() == kind


def test_the_goal_ends_an_episode_and_all_objects_are_back() -> None:
    state, _ = walk("urrrrr")
    beside = RoomsState(np.array([ROOMS.places.index((0, 11))]), state.taken, state.t)
    step = ROOMS.step(beside, np.array([RIGHT]))
    assert step.features.tolist() == [[0.0, 0.0, 0.0, 1.0]]
    assert step.terminated.all()
    assert not step.truncated.any()
    again = ROOMS.again(step)
    assert (place(again), int(again.t[0]), int(again.taken.sum())) == ((12, 0), 0, 0)


def test_time_runs_out() -> None:
    state = ROOMS.reset(1)._replace(t=np.array([HORIZON - 2]))
    step = ROOMS.step(state, np.array([LEFT]))
    assert not step.truncated.any()
    step = ROOMS.step(ROOMS.again(step), np.array([LEFT]))
    assert step.truncated.all()
    assert not step.terminated.any()
    assert ROOMS.again(step).t.tolist() == [0]


def test_what_is_observed_tells_cells_and_what_is_gone_nearby_and_no_more() -> None:
    rng = np.random.default_rng(0)
    n = 5000
    state = RoomsState(rng.integers(ROOMS.n_cells, size=n), rng.random((n, 12)) < 0.5, np.zeros(n, np.int64))
    observed = ROOMS.observe(state)
    assert 0 <= observed.min() < observed.max() < ROOMS.n_states
    corner = np.array([2 * (ROOMS.places[c][0] > 6) + (ROOMS.places[c][1] > 6) for c in range(ROOMS.n_cells)])
    near = corner[state.cell][:, None] == corner[ROOMS.objects]
    told = {(int(c), tuple(gone)) for c, gone in zip(state.cell, state.taken & near, strict=True)}
    assert len(told) == len(set(observed.tolist()))
    both = {
        (int(c), tuple(gone), int(o))
        for c, gone, o in zip(state.cell, state.taken & near, observed, strict=True)
    }
    assert len(both) == len(told)


def test_agents_do_not_meet() -> None:
    rng = np.random.default_rng(1)
    actions = rng.integers(N_ACTIONS, size=(300, 3))
    together, alone = ROOMS.reset(3), [ROOMS.reset(1) for _ in range(3)]
    for action in actions:
        together = ROOMS.again(ROOMS.step(together, action))
        alone = [ROOMS.again(ROOMS.step(s, action[i : i + 1])) for i, s in enumerate(alone)]
    for i, s in enumerate(alone):
        assert s.cell[0] == together.cell[i]
        assert (s.taken[0] == together.taken[i]).all()


@pytest.mark.parametrize("action", range(N_ACTIONS))
def test_a_step_leaves_the_state_before_it_alone(action: int) -> None:
    state, _ = walk("urrrr")
    taken = state.taken.copy()
    ROOMS.step(state, np.array([action]))
    assert (state.taken == taken).all()
