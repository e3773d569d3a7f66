"""transfer_entropy.png: where a policy goes that keeps every direction open, and where one that does not; its worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from docs.draw import ink
from docs.draw.recorded import figures, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "transfer_entropy"
_STARTS = {
    "maximum_entropy": ("maximum entropy", "runtime"),
    "deterministic": ("deterministic", "trainer"),
    "random": ("random parameters", "demo"),
}


def draw() -> Figure:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(12.0, 4.0), layout="constrained")
    left, middle, right = picture.subplots(1, 3)
    _paths(left, "maximum_entropy")
    _paths(middle, "deterministic")
    _steps(right)
    return picture


def _paths(axes: Axes, start: str) -> None:
    """Episodes of 6 s from the origin, before anybody has said where to go."""
    label, colour = _STARTS[start]
    paths = np.array(plot(NAME)[start], float)  # (episodes, ticks, 2)
    axes.plot(paths[..., 0].T, paths[..., 1].T, color=ink.LINES[colour], lw=0.8, alpha=0.7)
    axes.plot(0.0, 0.0, "o", color=ink.INK, ms=4)
    axes.set(xlim=(-12.0, 12.0), ylim=(-12.0, 12.0), aspect="equal", xlabel="x, m", ylabel="y, m")
    axes.set_title(f"{label}: {len(paths)} episodes of being fast anywhere", fontsize=9.5)
    axes.grid(alpha=0.25)


def _steps(axes: Axes) -> None:
    found = figures(NAME)
    labels = []
    for place, (start, (label, colour)) in enumerate(_STARTS.items()):
        steps, arrived = found[f"steps.{start}"], found[f"arrived.{start}"]
        axes.bar(place, steps.mean, color=ink.LINES[colour], width=0.6)
        if steps.n > 1:  # of one training there is no interval
            axes.vlines(place, max(steps.low, 0.0), steps.high, color=ink.INK, lw=1.2)
        labels.append(f"{label}\n{arrived.mean:.0%} arrived")
    axes.set_xticks(range(len(labels)), labels, fontsize=8.5)
    axes.set_ylabel("control ticks of fine-tuning until it goes there")
    n = found["steps.maximum_entropy"].n
    axes.set_title(f"to one of 8 directions, from three starts; trainings: {n}", fontsize=9.5)
