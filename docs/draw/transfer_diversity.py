"""transfer_diversity.png: zero-shot error on four sets of servos against the width of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.draw.ink import GREY, INK
from docs.draw.recorded import Tree, plot, tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "transfer_diversity"
AUTOMATIC = "automatic"
_COLOURS = {"training": GREY, "validation": "#b9791f", "test": "#2f6fb5", "outside": "#c4413b"}
_LEAST = 1e-3  # rad
_FEW = 2  # trainings, of which an interval says nothing
_TITLES = {"robust": "without memory", "rl2": "with memory (RL²)"}


def draw() -> Figure:
    from matplotlib.figure import Figure

    found = plot(NAME)
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True)
    for axes, (kind, widths) in zip(panels, found.items(), strict=True):
        _panel(axes, tree(widths))
        axes.set_title(_TITLES[kind], fontsize=10)
        axes.set_xlabel("width of the ranges trained on, of the family's own")
        axes.grid(alpha=0.25, which="both")
    panels[0].set(ylabel="zero-shot error, rad", yscale="log")
    panels[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _panel(axes: Axes, widths: Tree) -> None:
    hand = [tree(each) for name, each in widths.items() if name != AUTOMATIC]
    automatic = tree(widths[AUTOMATIC])
    places = [_number(each, "width") for each in hand]
    for name, colour in _COLOURS.items():
        figures = [tree(each[name]) for each in hand]
        axes.plot(places, [_number(f, "mean") for f in figures], "o-", ms=4, color=colour, label=name)
        if all(_number(f, "n") > _FEW for f in figures):
            low = [max(_number(f, "low"), _LEAST) for f in figures]  # the axis is logarithmic
            high = [_number(f, "high") for f in figures]
            axes.fill_between(places, low, high, color=colour, alpha=0.12, lw=0)
        mean = _number(tree(automatic[name]), "mean")
        axes.plot(_number(automatic, "width"), mean, "*", ms=12, color=colour, mec=INK, mew=0.6)
    axes.plot([], [], "*", ms=10, color="none", mec=INK, label="widened automatically")


def _number(figures: Tree, name: str) -> float:
    value = figures[name]
    return float(value) if isinstance(value, int | float) else float("nan")
