"""The comparison's picture: a panel for each set of machines, a line for each method over the shots."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.atomic import write_atomically
from acclimate.fields import Json

from acclimate_transfer.sets import SETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_TITLES = {
    "training": "training: drawn from the source",
    "validation": "validation: held-out, decided on",
    "test": "test: held-out, looked at once",
    "outside": "outside the target's ranges",
}
_GREY = {"robust": "#8a929c", "scratch": "#c9ced4", "oracle": "#22272e"}


def draw_picture(report: Mapping[str, Json], path: Path) -> None:
    """Write a PNG of the report's JSON object."""
    buffer = io.BytesIO()
    figure_of([report]).savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def figure_of(reports: Sequence[Mapping[str, Json]]) -> Figure:
    """A row for each report; see the module."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 4.0 * len(reports)), layout="constrained")
    parts = figure.subfigures(len(reports), 1, squeeze=False)[:, 0]
    for part, report in zip(parts, reports, strict=True):
        _row(part, report)
    return figure


def _row(part: SubFigure, report: Mapping[str, Json]) -> None:
    panels = part.subplots(1, len(SETS), sharey=True)
    methods = _mapping(report["methods"])
    for axes, of_set in zip(panels, SETS, strict=True):
        lines = {name: _line(report, _mapping(entry), of_set) for name, entry in methods.items()}
        _panel(axes, lines, list(_numbers(report["shots"])))
        axes.set_title(_TITLES[of_set], fontsize=9.5)
        axes.set_xlabel(f"shots of {_number(report['shot_s']):g} s")
    unit = "" if report["unit"] == "1" else f", {report['unit']}"
    panels[0].set_ylabel(f"{report['metric']}{unit}")
    if not report["higher_is_better"]:
        panels[0].set_yscale("log")
    panels[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    part.suptitle(f"{report['source']} -> {report['target']}", fontsize=10.5, weight="bold")


def _panel(axes: Axes, lines: Mapping[str, list[tuple[float, float, float]]], shots: list[float]) -> None:
    from matplotlib import colormaps

    places, coloured = range(len(shots)), [name for name in lines if name not in _GREY]
    for name, line in lines.items():
        colour = _GREY.get(name) or colormaps["tab10"](coloured.index(name))
        style = "--" if name in _GREY else "-"
        if not line:
            axes.plot([], [], style, color=colour, label=name)
            continue
        mean, low, high = zip(*line, strict=True)
        axes.plot(places, mean, f"o{style}", ms=4, color=colour, label=name)
        axes.fill_between(places, low, high, color=colour, alpha=0.12, lw=0)
    axes.set_xticks(places, [f"{k:g}" for k in shots])
    axes.grid(alpha=0.25, which="both")


def _line(
    report: Mapping[str, Json], entry: Mapping[str, Json], of_set: str
) -> list[tuple[float, float, float]]:
    """Mean, low and high after each number of shots; empty where the set has no machines."""
    figures = _mapping(_mapping(_mapping(entry["sets"])[of_set])[str(report["metric"])])
    found = []
    for figure in figures.values():
        if figure is None:
            return []
        mean, low, high = (_mapping(figure)[name] for name in ("mean", "low", "high"))
        middle = _number(mean)
        found.append(
            (middle, middle if low is None else _number(low), middle if high is None else _number(high))
        )
    positive = min(mean for mean, _, _ in found)
    return [(m, max(low, 0.1 * positive) if positive > 0.0 else low, high) for m, low, high in found]


def _mapping(value: Json) -> Mapping[str, Json]:
    assert isinstance(value, dict)  # our own report
    return value


def _numbers(value: Json) -> list[float]:
    assert isinstance(value, list)
    return [_number(each) for each in value]


def _number(value: Json) -> float:
    assert isinstance(value, int | float)
    return float(value) if math.isfinite(value) else 0.0
