"""The demo's picture: the errors of all controllers, and one servo on the wire before and after adapting."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json

from acclimate_demo.report import ALL, Row, number, rows_of, steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"pid": "#9a9a9a", "robust": "#c98a3a", "maml": "#2f6fb5", "oracle": "#4c9a5b"}
_ORDER = ("pid", "robust", "maml", "oracle")
_MEASURE, _POSITION, _TARGET = 0, 0, 2
_DT = 0.01  # s
_GAP = 0.15  # s, between two episodes in the picture


def draw_picture(report: Mapping[str, Json], trials: Mapping[str, Path], path: Path) -> None:
    """Write a PNG with a row per family. `trials`: what `acclimate run --record` left, by family."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(trials)), layout="constrained")
    axes = figure.subplots(len(trials), 2, squeeze=False, width_ratios=(2, 3))
    for (family, trial), (left, right) in zip(trials.items(), axes, strict=True):
        _bars(
            left,
            [r for r in rows_of(report, "rows") if r["family"] == family and r["machine"] == ALL],
            family,
        )
        _trace(right, trial, family)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _bars(axes: Axes, rows: list[Row], preset: str) -> None:
    rows = sorted(rows, key=lambda r: (_ORDER.index(str(r["controller"])), number(r["shots"])))
    for x, row in enumerate(rows):
        mean = number(row["mean"])
        ends = None if row["low"] is None else [[mean - number(row["low"])], [number(row["high"]) - mean]]
        axes.bar(x, mean, yerr=ends, color=_COLOURS[str(row["controller"])], capsize=4)
    names = [f"{r['controller']}\n{steps(str(r['shots']))}" if r["controller"] == "maml" else str(r["controller"])
             for r in rows]  # fmt: skip
    axes.set_xticks(range(len(rows)), names, fontsize=8)
    axes.set(title=f"{preset}: unseen servos", ylabel="RMS tracking error, rad")
    axes.grid(axis="y", alpha=0.3)


def _trace(axes: Axes, trial: Path, preset: str) -> None:
    """Tracking error before, after one and after two steps: the reference begins where the joint then stands."""
    with np.load(trial) as recorded:
        measured = recorded["purpose"] == _MEASURE
        obs, shot = recorded["obs"][measured], recorded["shot"][measured]
    time = np.arange(obs.shape[1]) * _DT
    for k in np.unique(shot):
        error = obs[shot == k, :, _POSITION] - obs[shot == k, :, _TARGET]  # (episodes, steps + 1)
        gaps = np.full((len(error), 1), np.nan)
        clock = time + (time[-1] + _GAP) * np.arange(len(error))[:, None]
        label = f"after {steps(int(k))}" if k else "before"
        axes.plot(
            np.hstack([clock, gaps]).ravel(), np.hstack([error, gaps]).ravel(), linewidth=1.2, label=label
        )
    axes.axhline(0.0, color="k", linewidth=0.8)
    axes.set(title=f"{preset}: one servo on the wire, in real time", xlabel="s", ylabel="tracking error, rad")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=3)
