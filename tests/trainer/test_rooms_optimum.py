"""The exact optimum of rooms: by hand where they are small, and above all that was learned."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate_trainer.baselines.rooms_optimum import RoomsOptimum
from acclimate_trainer.baselines.rooms_players import GAMMA, Settings, q_learning
from acclimate_trainer.tasks.four_rooms import FourRooms

FORK = FourRooms(("1..", "S.G", "2.."))


@pytest.mark.parametrize(
    ("worth", "reward", "steps"),
    [((-0.5, -0.5), 1.0, 2), ((0.9, -0.5), 1.9, 4), ((0.02, 0.01), 1.0, 2), ((0.9, 0.8), 2.7, 6)],
)
def test_a_fork_by_hand(worth: tuple[float, float], reward: float, steps: int) -> None:
    """Up to object 1 and back takes two steps more, both objects four; what is hardly worth anything is left."""
    found = RoomsOptimum(FORK, GAMMA).episode(np.array([*worth, 0.0, 1.0], np.float32))
    assert found.steps == steps
    assert found.reward == pytest.approx(reward)


def test_with_all_objects_bad_it_walks_around_them_to_the_goal() -> None:
    rooms = FourRooms()
    found = RoomsOptimum(rooms, GAMMA).episode(np.array([-1.0, -1.0, -1.0, 1.0], np.float32))
    assert (found.reward, found.steps) == (1.0, 24)


def test_what_is_learned_in_a_small_room_is_the_optimum() -> None:
    w = np.array([0.7, 0.4, 0.0, 1.0], np.float32)
    best = RoomsOptimum(FORK, GAMMA).episode(w)
    steps = 6000
    earned = q_learning(
        FORK, w[None, None], steps, Settings(1.0, 0.02, 2.0), np.random.default_rng(0), carry=False
    )
    rate = float(earned[0, -1, 0]) / (steps / 10)
    assert 0.93 * best.reward / best.steps < rate < 1.03 * best.reward / best.steps
