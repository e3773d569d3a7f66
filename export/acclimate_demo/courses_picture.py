"""The picture of an evaluation over time: every controller's error by the time since the start and the change."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json

from acclimate_demo.report import ALL, Row, number, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"pid": "#9a9a9a", "robust": "#c98a3a", "maml": "#2f6fb5", "rl2": "#a5497f", "oracle": "#4c9a5b"}
_LINEAR = 1.0  # s; from here on the axis of time is logarithmic


def draw_curves(reports: Sequence[Mapping[str, Json]], path: Path) -> None:
    """Write a PNG with a row per report of `acclimate evaluate --seconds` or `--change`, over all servos."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(reports)), layout="constrained")
    axes = figure.subplots(len(reports), 2, squeeze=False, sharey="row")
    for report, (left, right) in zip(reports, axes, strict=True):
        points = [point for point in rows_of(report, "curves") if point["machine"] == ALL]
        family, change = points[0]["family"], report["change"]
        _draw(left, [p for p in points if p["since"] == "start"], f"{family}: since the start")
        _draw(right, [p for p in points if p["since"] == "change"], f"{family}: since the change ({change})")
        means = [number(point["mean"]) for point in points]
        left.set(ylabel="RMS tracking error, rad", ylim=(0.7 * min(means), 1.4 * max(means)))
        left.legend(fontsize=8)
        right.set_visible(change is not None)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _draw(axes: Axes, points: list[Row], title: str) -> None:
    for name in dict.fromkeys(str(point["controller"]) for point in points):
        of = [point for point in points if point["controller"] == name]
        middle = np.array([0.5 * (number(p["from"]) + number(p["to"])) for p in of])
        mean, low, high = (
            np.array([number(p[key] or p["mean"]) for p in of]) for key in ("mean", "low", "high")
        )
        (line,) = axes.plot(middle, mean, marker=".", linewidth=1.2, label=name, color=_COLOURS.get(name))
        axes.fill_between(middle, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.set(title=title, xlabel="s", yscale="log")
    axes.set_xscale("symlog", linthresh=_LINEAR)
    axes.set_xlim(left=0.0)
    axes.set_xticks([0.0, 0.5, 1.0, 2.0, 5.0, 10.0], ["0", "0.5", "1", "2", "5", "10"])
    axes.grid(alpha=0.3, which="both")
