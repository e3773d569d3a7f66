"""Four rooms: what successor features and GPI earn over a sequence of tasks, beside Q-learning from scratch or carried.

40 of the paper's 250 tasks, 20,000 transitions each as there, 10 runs with tasks of their own. Everything is played
twice: as in the paper, where tables begin at zero, and with optimistic first values, which a small deterministic
world rewards. Step size and exploration of each player were found on other tasks, on the grid of
`rooms_tuning`. Plays in runs/bench/rooms_gpi, and goes on there with the next player if it was interrupted.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.stats import t_quantile
from acclimate_trainer.baselines.rooms_players import Settings, q_learning, sfql
from acclimate_trainer.tasks.four_rooms import N_FEATURES, Floats, FourRooms

from benchmarks._rl2 import interval
from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

TASKS, RUNS, STEPS = 40, 10, 20_000
FOLDER = Path("runs/bench/rooms_gpi")
Earned: TypeAlias = Mapping[str, Floats]  # (tasks, tenths, runs) by player


class Player(NamedTuple):
    """One way to learn, and its settings as in the paper; all have the same optimistic ones."""

    play: Callable[[FourRooms, Floats, int, Settings, np.random.Generator], Floats]
    settings: Settings


OPTIMISTIC = Settings(rate=1.0, epsilon=0.02, optimism=0.3)
PLAYERS: Mapping[str, Player] = {
    "scratch": Player(partial(q_learning, carry=False), Settings(rate=0.3, epsilon=0.02)),
    "carried": Player(partial(q_learning, carry=True), Settings(rate=1.0, epsilon=0.1)),
    "sfql": Player(sfql, Settings(rate=1.0, epsilon=0.2)),
    "sfql_told": Player(partial(sfql, told=True), Settings(rate=1.0, epsilon=0.2)),
}


def run(seed: int) -> Mapping[str, Figure]:
    """Reward of a whole run by player, and ratios between players in the same run, with intervals over runs.

    `ratio_to_scratch` and `ratio_to_carried`: of SFQL that infers w; `reward_first_tenth`: of the first 2,000
    transitions of every task alone; `worst_run.scratch`: the least that a ratio is over. `optimistic.…`: the same of
    optimistic players.
    """
    rooms = FourRooms()
    tasks = rooms.sample(TASKS * RUNS, np.random.default_rng(seed)).reshape(TASKS, RUNS, N_FEATURES)
    plain: dict[str, Floats] = {}
    optimistic: dict[str, Floats] = {}
    for index, name in enumerate(PLAYERS):
        plain[name], optimistic[name] = _played(
            name, rooms, tasks, np.random.default_rng([seed, index]), seed
        )
    panels: dict[str, Json] = {
        "tables start at zero": _sums(plain),
        "tables start optimistic": _sums(optimistic),
    }
    keep_plot("rooms_gpi", {"runs": RUNS, "panels": panels})
    return {
        **_figures(plain),
        **{f"optimistic.{name}": figure for name, figure in _figures(optimistic).items()},
    }


def _sums(earned: Earned) -> dict[str, Json]:
    """By player, the reward so far after each task: mean over runs, and half of its 95 % interval."""
    found: dict[str, Json] = {}
    for name, reward in earned.items():
        total = reward.sum(1).cumsum(0, dtype=np.float64)  # (tasks, runs)
        half = t_quantile(RUNS - 1) * total.std(1, ddof=1) / np.sqrt(RUNS)
        found[name] = {"mean": np.round(total.mean(1), 2).tolist(), "half": np.round(half, 2).tolist()}
    return found


def _figures(earned: Earned) -> dict[str, Figure]:
    totals = {name: e.sum((0, 1)) for name, e in earned.items()}
    first = {name: e[:, 0].sum(0) for name, e in earned.items()}
    return {
        "ratio_to_scratch": interval(totals["sfql"] / totals["scratch"]),
        "ratio_to_carried": interval(totals["sfql"] / totals["carried"]),
        "told_ratio_to_scratch": interval(totals["sfql_told"] / totals["scratch"]),
        **{f"reward.{name}": interval(total) for name, total in totals.items()},
        **{f"reward_first_tenth.{name}": interval(total) for name, total in first.items()},
        "worst_run.scratch": float(totals["scratch"].min()),
    }


def _played(
    name: str, rooms: FourRooms, tasks: Floats, rng: np.random.Generator, seed: int
) -> tuple[Floats, Floats]:
    """What `name` earned at zero and optimistically, played now, or read where it has been before."""
    path = FOLDER / f"seed{seed}" / f"{name}.npy"
    if not path.is_file():
        print(f"rooms_gpi: {name} plays {TASKS} tasks in {RUNS} runs", flush=True)
        play, settings = PLAYERS[name]
        earned = play(rooms, np.tile(tasks, (1, 2, 1)), STEPS, _beside(settings, OPTIMISTIC), rng)
        buffer = io.BytesIO()
        np.save(buffer, earned)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    both: Floats = np.load(path)
    return both[..., :RUNS], both[..., RUNS:]


def _beside(*settings: Settings) -> Settings:
    """RUNS runs with each of `settings`."""
    columns: Sequence[Sequence[float]] = list(zip(*settings, strict=True))
    return Settings(*(np.repeat(np.array(column, np.float32), RUNS) for column in columns))
