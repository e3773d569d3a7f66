"""The picture of `rooms_gpi`: reward that piles up over tasks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.stats import t_quantile
from acclimate_trainer.tasks.four_rooms import Floats

NAMES = {
    "sfql_told": "SFQL, told w",
    "sfql": "SFQL, w inferred",
    "carried": "Q-learning, carried over",
    "scratch": "Q-learning, from scratch",
}


def draw(panels: Mapping[str, Mapping[str, Floats]], path: Path) -> None:
    """Write a PNG: for each panel, by player, mean and 95 % interval over runs of (tasks, tenths, runs)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (title, earned) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, label in NAMES.items():
            tasks, tenths, runs = earned[name].shape
            total = earned[name].reshape(-1, runs).cumsum(0, dtype=np.float64)
            x = np.arange(1, len(total) + 1) / tenths
            half = t_quantile(runs - 1) * total.std(1, ddof=1) / np.sqrt(runs)
            (line,) = axes.plot(x, total.mean(1), label=label)
            axes.fill_between(
                x, total.mean(1) - half, total.mean(1) + half, color=line.get_color(), alpha=0.2
            )
        axes.set(title=title, xlabel="tasks", ylabel="reward so far", xlim=(0, tasks))
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
