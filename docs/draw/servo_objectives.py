"""servo_objectives.png: error against energy as the weights move, and a change of them in mid-drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from docs.draw import ink
from docs.draw.recorded import Estimate, Tree, figures, numbers, plot, tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

NAME = "servo_objectives"
_DT = 0.01  # s
_AROUND = 150  # ticks that are shown before and after the change


def draw() -> Figure:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(12.0, 4.6), layout="constrained")
    left, right = picture.subfigures(1, 2, squeeze=False)[0]
    _trade(left.subplots(), figures(NAME))
    _switch(right, tree(plot(NAME)["switch"]))
    return picture


def _trade(axes: Axes, found: dict[str, Estimate]) -> None:
    """accurate=1, frugal=λ: the one policy under each λ, and policies trained for one λ alone."""
    for kind, style, label in (
        ("zero_shot", "o-", "one policy, told λ"),
        ("alone", "D", "trained for this λ alone"),
    ):
        points = {
            _price(key): (found[key.replace("error.", "energy.", 1)], value)
            for key, value in found.items()
            if key.startswith(f"error.{kind}.accurate=1") and _price(key) is not None
        }
        colour = ink.LINES["runtime" if kind == "zero_shot" else "trainer"]
        energy, error = ([point[i] for point in points.values()] for i in (0, 1))
        axes.plot([e.mean for e in energy], [e.mean for e in error], style, color=colour, label=label, ms=5)
        axes.vlines([e.mean for e in energy], [max(e.low, 1e-4) for e in error], [e.high for e in error], color=colour,
                    alpha=0.4, lw=1.2)  # fmt: skip
        for price, point in points.items():
            if kind == "zero_shot":
                axes.annotate(f"λ={price}", (point[0].mean, point[1].mean), xytext=(6, 5), fontsize=8,
                              textcoords="offset points")  # fmt: skip
    n = found["error.zero_shot.accurate=1"].n
    axes.set(xlabel="energy: mean square duty", ylabel="RMS tracking error, rad", yscale="log")
    axes.set_title(f"accurate=1, frugal=λ on {n} simulated servos that training never saw\n"
                   "means; lines are 95 % intervals of the error", fontsize=9.5)  # fmt: skip
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize=9)


def _switch(part: SubFigure, switch: Tree) -> None:
    above, below = part.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    at = int(numbers([switch["at"]])[0])
    position, target, duty = (np.array(numbers(switch[name])) for name in ("position", "target", "duty"))
    span = slice(max(at - _AROUND, 0), at + _AROUND)
    time = (np.arange(len(duty)) - at)[span] * _DT
    above.plot(time, target[span], color=ink.INK, lw=1.0, ls=(0, (4, 2)), label="target")
    above.plot(time, position[span], color=ink.LINES["runtime"], lw=1.4, label="position")
    below.plot(time, duty[span], color=ink.LINES["trainer"], lw=0.9)
    for axes in (above, below):
        axes.axvline(0.0, color=ink.RED, lw=1.0)
        axes.grid(alpha=0.25)
    above.set_ylabel("position, rad")
    above.set_title(
        f"one servo, told something else at 0 s:\n{switch['before']}  →  {switch['after']}", fontsize=9.5
    )
    above.legend(fontsize=8.5, loc="lower left", ncols=2)
    below.set(xlabel="s", ylabel="action: duty", ylim=(-1.1, 1.1))


def _price(key: str) -> str | None:
    """λ of a figure's name; None where something else than energy has a weight."""
    weights = key.rsplit(".accurate=1", 1)[1]
    if weights and not weights.startswith(",frugal="):
        return None
    return weights.removeprefix(",frugal=") or "0"
