"""What the optimal policy earns in four rooms: the ceiling of `rooms_gpi`, on tasks of its first run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from acclimate_trainer.baselines.rooms_optimum import RoomsOptimum
from acclimate_trainer.baselines.rooms_players import GAMMA
from acclimate_trainer.tasks.four_rooms import N_FEATURES, FourRooms

from benchmarks._rl2 import interval
from benchmarks.harness import Figure
from benchmarks.rooms_gpi import RUNS, STEPS, TASKS


def run(seed: int) -> Mapping[str, Figure]:
    """reward_per_task: of 20,000 transitions of the best episode, over and over; and that episode's steps."""
    rooms = FourRooms()
    tasks = rooms.sample(TASKS * RUNS, np.random.default_rng(seed)).reshape(TASKS, RUNS, N_FEATURES)
    optimum = RoomsOptimum(rooms, GAMMA)
    episodes = [optimum.episode(w) for w in tasks[:, 0]]
    return {
        "reward_per_task": interval(STEPS * e.reward / e.steps for e in episodes),
        "steps": interval(e.steps for e in episodes),
    }
