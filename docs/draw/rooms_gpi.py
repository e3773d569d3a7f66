"""rooms_gpi.png: the reward that adds up over tasks in four rooms, by player."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from docs.draw import ink
from docs.draw.recorded import numbers, plot, tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "rooms_gpi"
LABELS = {
    "sfql_told": "SFQL, told w",
    "sfql": "SFQL, w inferred",
    "carried": "Q-learning, carried over",
    "scratch": "Q-learning, from scratch",
}
_COLOURS = dict(
    zip(LABELS, (ink.LINES[name] for name in ("export", "runtime", "trainer", "demo")), strict=True)
)


def draw() -> Figure:
    """A panel for each way to begin; by player, mean and 95 % interval over runs."""
    from matplotlib.figure import Figure

    shown = plot(NAME)
    panels = {title: tree(players) for title, players in tree(shown["panels"]).items()}
    picture = Figure(figsize=(10.5, 4.2), layout="constrained")
    for axes, (title, players) in zip(
        picture.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        for name, label in LABELS.items():
            mean, half = (np.array(numbers(tree(players[name])[key])) for key in ("mean", "half"))
            x = np.arange(1, len(mean) + 1)
            axes.plot(x, mean, color=_COLOURS[name], label=label, lw=1.5)
            axes.fill_between(x, mean - half, mean + half, color=_COLOURS[name], alpha=0.18, linewidth=0)
        axes.set(xlabel="tasks played", xlim=(0, len(mean)))
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
    picture.axes[0].set_ylabel("reward so far")
    picture.axes[0].legend(fontsize=9)
    picture.suptitle(f"Four rooms: mean over {shown['runs']} runs; bands are 95 % intervals", fontsize=10.5)
    return picture
