"""The picture of an evaluation over time: every controller's error by the time since the start and the change."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json

from acclimate_demo.picture import COLOURS
from acclimate_demo.report import ALL, Row, number, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINEAR = 1.0  # s; from here on the axis of time is logarithmic


def draw_curves(reports: Sequence[Mapping[str, Json]], path: Path) -> None:
    """Write a PNG with a row per report of `acclimate evaluate --seconds` or `--change`, over all machines."""
    buffer = io.BytesIO()
    figure_of(reports).savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def figure_of(reports: Sequence[Mapping[str, Json]]) -> Figure:
    """The curves of each report: since the start on the left, since the change on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(reports)), layout="constrained")
    axes = figure.subplots(len(reports), 2, squeeze=False, sharey="row")
    for report, (left, right) in zip(reports, axes, strict=True):
        points = [point for point in rows_of(report, "curves") if point["machine"] == ALL]
        family, change = points[0]["family"], report["change"]
        _draw(left, [p for p in points if p["since"] == "start"], f"{family}: since the start")
        _draw(right, [p for p in points if p["since"] == "change"], f"{family}: since the change ({change})")
        means = [number(point["mean"]) for point in points]
        left.set(ylabel=f"{report['metric']}, {report['unit']}", ylim=(0.7 * min(means), 1.4 * max(means)))
        left.legend(fontsize=8)
        right.set_visible(change is not None)
    n = rows_of(reports[0], "curves")[-1]["n"]
    figure.suptitle(
        f"Means over {n} simulated machines that training never saw; bands are 95 % intervals", fontsize=10
    )
    return figure


def _draw(axes: Axes, points: list[Row], title: str) -> None:
    for name in dict.fromkeys(str(point["controller"]) for point in points):
        of = [point for point in points if point["controller"] == name]
        middle = np.array([0.5 * (number(p["from"]) + number(p["to"])) for p in of])
        mean, low, high = (
            np.array([number(p[key] or p["mean"]) for p in of]) for key in ("mean", "low", "high")
        )
        (line,) = axes.plot(middle, mean, marker=".", linewidth=1.2, label=name, color=COLOURS.get(name))
        axes.fill_between(middle, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.set(title=title, xlabel="s (linear up to 1 s)", yscale="log")
    axes.set_xscale("symlog", linthresh=_LINEAR)
    axes.set_xlim(left=0.0)
    axes.set_xticks([0.0, 0.5, 1.0, 2.0, 5.0, 10.0], ["0", "0.5", "1", "2", "5", "10"])
    axes.grid(alpha=0.3, which="both")
