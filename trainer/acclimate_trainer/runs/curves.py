"""The picture of a training run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.task.spec import Metric

from acclimate_trainer.runs.reporting import headline

_SMOOTHED = 0.05  # of all iterations


def draw_curve(metrics: Sequence[dict[str, float]], title: str, metric: Metric, path: Path) -> None:
    """Write a PNG of every error, or return, over iterations, as moving averages."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    names = dict.fromkeys(name for line in metrics for name in headline(line, metric.name))
    returns = metric.higher_is_better or any(name.startswith("return") for name in names)
    for name in names:
        points = [(line["iteration"], line[name]) for line in metrics if name in line]
        x, y = np.array(points).T
        width = max(1, round(_SMOOTHED * len(y)))
        axes.plot(x[width - 1 :], np.convolve(y, np.full(width, 1.0 / width), mode="valid"), label=name)
    axes.set(title=title, xlabel="iteration", ylabel="return" if returns else f"{metric.name}, {metric.unit}",
             yscale="linear" if returns else "log")  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
