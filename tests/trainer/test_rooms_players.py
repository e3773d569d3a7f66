"""Q-learning and SFQL in rooms so small that what they should find is known."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate_trainer.baselines.rooms_players import TENTHS, Settings, q_learning, sfql
from acclimate_trainer.tasks.four_rooms import Floats, FourRooms

CORRIDOR = FourRooms(("S1.G",))
"""Start, an object of type 1, a free cell, the goal: three steps."""
FORK = FourRooms(("1..", "S.G", "2.."))
"""Up is an object of type 1, down one of type 2; both are two steps off the way to the goal."""
CROSS = FourRooms(("1###", ".###", ".###", "S..G", ".###", ".###", "2###"))
"""The same with objects three steps up and down."""
CAREFUL = Settings(rate=0.5, epsilon=0.1, optimism=0.3)
STEPS = 2000


def tasks_of(*w: tuple[float, float, float], runs: int = 3) -> Floats:
    """The same sequence of tasks for every run; the goal is worth 1."""
    return np.tile(np.array([[*types, 1.0] for types in w], np.float32)[:, None], (1, runs, 1))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


PLAYERS = {
    "scratch": lambda *args: q_learning(*args, carry=False),
    "carried": lambda *args: q_learning(*args, carry=True),
    "sfql": sfql,
    "told": lambda *args: sfql(*args, told=True),
}


@pytest.mark.parametrize("name", PLAYERS)
@pytest.mark.parametrize("worth", [0.8, -0.3])
def test_every_player_learns_the_corridor(name: str, worth: float) -> None:
    """At best 1 + worth in every 3 steps, at ε = 0.1 a little less; the object is on the only way."""
    earned = PLAYERS[name](CORRIDOR, tasks_of((worth, 0.0, 0.0)), STEPS, CAREFUL, rng())
    assert earned.shape == (1, TENTHS, 3)
    best = (1.0 + worth) * STEPS / TENTHS / 3
    assert (earned[0, -1] > 0.8 * best).all()
    assert (earned[0, -1] <= best + 1.0).all()


@pytest.mark.parametrize("name", PLAYERS)
def test_every_player_picks_up_what_is_worth_it_and_leaves_the_rest(name: str) -> None:
    """Up, back, and to the goal: 1.9 in 4 steps, discounted more than the goal's 1 in 2."""
    earned = PLAYERS[name](FORK, tasks_of((0.9, -0.9, 0.0)), 3 * STEPS, CAREFUL, rng())
    per_step = earned[0, -1].mean() / (3 * STEPS / TENTHS)
    assert 0.85 * 1.9 / 4 < per_step < 1.9 / 4


@pytest.mark.parametrize("name", ["carried", "sfql", "told"])
def test_what_was_learned_serves_a_task_that_comes_again(name: str) -> None:
    """In the second task the first tenth is as good as the last of the first; from scratch it is not."""
    tasks = tasks_of((0.9, -0.9, 0.0), (0.9, -0.9, 0.0), runs=10)
    again = PLAYERS[name](FORK, tasks, 500, CAREFUL, rng()).mean(2)
    scratch = PLAYERS["scratch"](FORK, tasks, 500, CAREFUL, rng()).mean(2)
    assert again[1, 0] > 0.9 * again[0, -1]
    assert scratch[1, 0] < 0.9 * scratch[0, -1]


def test_gpi_finds_the_old_policy_that_a_task_needs() -> None:
    """Up was good, then down; a third task in which up is best again needs the first policy, and nothing but its w.

    What is learned of "up" in the second task is no help: it is to turn round after one step.
    """
    tasks = tasks_of((5.0, -5.0, 0.0), (-5.0, 5.0, 0.0), (5.0, -5.0, 0.0), runs=10)
    told = PLAYERS["told"](CROSS, tasks, 3000, CAREFUL, rng()).mean(2)
    carried = PLAYERS["carried"](CROSS, tasks, 3000, CAREFUL, rng()).mean(2)
    assert told[2, 0] > 0.97 * told[0, -1]
    assert carried[2, 0] < 0.5 * told[2, 0]


def test_the_same_seed_plays_the_same() -> None:
    tasks = FORK.sample(4, np.random.default_rng(3)).reshape(2, 2, 4)
    one, other = (sfql(FORK, tasks, 300, CAREFUL, rng()) for _ in range(2))
    assert (one == other).all()


def test_settings_may_differ_between_runs() -> None:
    """One that never learns, beside one that does."""
    beside = Settings(np.array([0.0, 0.5], np.float32), np.array([0.1, 0.1], np.float32))
    for play in PLAYERS.values():
        earned = play(CORRIDOR, tasks_of((0.5, 0.0, 0.0), runs=2), STEPS, beside, rng())
        assert earned[0, -1, 1] > 1.5 * earned[0, -1, 0]
