"""Step size, exploration and first values of all players in four rooms: the grid that `rooms_gpi`'s settings are from.

Tasks are others than those of `rooms_gpi`, and the same at every point of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from acclimate_trainer.baselines.rooms_players import Settings
from acclimate_trainer.tasks.four_rooms import N_FEATURES, FourRooms

from benchmarks._rl2 import interval
from benchmarks.harness import Figure
from benchmarks.rooms_gpi import PLAYERS, STEPS

RATES, EPSILONS, OPTIMISMS = (0.1, 0.3, 1.0), (0.02, 0.1, 0.2), (0.0, 0.3, 1.0)
TASKS, RUNS = 10, 4


def run(seed: int) -> Mapping[str, Figure]:
    """PLAYER.RATE.EPSILON.OPTIMISM: reward per task, over runs of TASKS tasks."""
    grid = list(product(RATES, EPSILONS, OPTIMISMS))
    rooms = FourRooms()
    tasks = rooms.sample(TASKS * RUNS, np.random.default_rng([seed, 1])).reshape(TASKS, RUNS, N_FEATURES)
    settings = Settings(
        *(np.repeat(np.array(column, np.float32), RUNS) for column in zip(*grid, strict=True))
    )
    figures: dict[str, Figure] = {}
    for index, (name, player) in enumerate(PLAYERS.items()):
        everywhere = np.tile(tasks, (1, len(grid), 1))
        earned = player.play(rooms, everywhere, STEPS, settings, np.random.default_rng([seed, 2, index]))
        mean = earned.sum(1).mean(0).reshape(len(grid), RUNS)
        for (rate, epsilon, optimism), row in zip(grid, mean, strict=True):
            figures[f"{name}.{rate:g}.{epsilon:g}.{optimism:g}"] = interval(row)
    return figures
