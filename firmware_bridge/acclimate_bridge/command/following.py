"""The verb `run` on something that comes in while it drives, or without an end: nothing is kept but sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate.control.signals import Stopped
from acclimate.fields import Json
from acclimate.task.references import draw
from acclimate.task.spec import TaskSpec

from acclimate_bridge.command.traffic import Counters
from acclimate_bridge.evaluation.figures import quantity
from acclimate_bridge.simulation.seeding import generator

_PIECE = 20.0  # s of a random reference that are drawn at once


class Followed(NamedTuple):
    """What came of it. seconds: of driving; error: of the headline over all of them, NaN where that is none."""

    seconds: float
    error: float
    overtaken: int
    wrong: int
    stats: LoopStats
    link: Counters


def follow(
    loop: ControlLoop, rows: Iterator[FloatArray | None], ticks: int | None, between: Callable[[], None]
) -> int:
    """Drive along rows for as long as there are any, or for so many ticks; returns how many there were.

    A person or a service manager that ends it is the way to end it. Raises as `ControlLoop.follow`.
    """
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        between()

    try:
        loop.follow(rows if ticks is None else islice(rows, ticks), tick)
    except (Stopped, KeyboardInterrupt):
        if ticks is not None:
            raise
    return done


def endless(task: TaskSpec, obs: FloatArray, seed: int) -> Iterator[FloatArray]:
    """Random references one after the other, each from where the last one ended; obs (n_obs,) is where it begins.

    The next one is drawn by another thread while one is followed.
    """
    steps = round(_PIECE / task.control_dt)
    start = np.array([obs[task.index(name)] for name in task.sensor_scalars], np.float32)
    piece = draw(task, generator(seed, 0, 0), start[None], steps)[0]
    with ThreadPoolExecutor(1) as beside:
        for number in count(1):
            start = _end(task, start, piece[-1])
            coming = beside.submit(draw, task, generator(seed, 0, number), start[None], steps)
            yield from piece[:-1]
            piece = coming.result()[0]


def _end(task: TaskSpec, start: FloatArray, row: FloatArray) -> FloatArray:
    """What the sensors read where the machine has followed to this row."""
    after = start.copy()
    for track in task.reference.tracks if task.reference else ():
        after[task.sensor_scalars.index(track.measured)] = row[task.reference_scalars.index(track.target)]
    return after


def tree(task: TaskSpec, followed: Followed) -> dict[str, Json]:
    """What only this way of running has; docs/cli.md documents the fields."""
    figures: dict[str, Json] = {} if math.isnan(followed.error) else {task.headline.name: followed.error}
    return {
        "seconds": followed.seconds,
        "figures": figures,
        "overtaken": followed.overtaken,
        "wrong": followed.wrong,
    }


def lines(task: TaskSpec, followed: Followed) -> list[str]:
    """The same for people."""
    driving = f"{followed.seconds:g} s of driving"
    if math.isnan(followed.error):
        return [driving]
    said = [f"{driving:<20} {task.headline.name} {quantity(task.headline, followed.error)}"]
    if followed.overtaken or followed.wrong:
        said.append(
            f"{'reference':<20} {followed.overtaken} rows were overtaken, {followed.wrong} could not be followed"
        )
    return said
