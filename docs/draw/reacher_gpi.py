"""reacher_gpi.png: what each way to use a library of policies earns on targets that nobody trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from docs.draw import ink
from docs.draw.recorded import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "reacher_gpi"
SHOWN = {
    "best_single": "best single policy,\nwith hindsight",
    "gpi": "GPI,\ntold w",
    "inferred": "GPI, w from\n50 rewards",
    "universal": "one network,\ntold w",
    "device": "GPI, refined\non the device",
    "trainer": "GPI, refined\nin the trainer",
}


def draw() -> Figure:
    """A bar for each way, a dot for each target."""
    from matplotlib.figure import Figure

    found = figures(NAME)
    picture = Figure(figsize=(9.5, 4.4), layout="constrained")
    axes = picture.add_subplot()
    for x, name in enumerate(SHOWN):
        whole = found[f"score.{name}"]
        colour = ink.LINES["demo" if name == "best_single" else "runtime"]
        axes.bar(x, whole.mean, 0.62, color=colour, alpha=0.45)
        axes.vlines(x, whole.low, whole.high, color=ink.INK, lw=1.6)
        each = [one.mean for key, one in found.items() if key.startswith(f"score.{name}.")]
        axes.plot(x + np.linspace(-0.22, 0.22, len(each)), each, "o", ms=4, mew=0, color=ink.LINES["trainer"])
    axes.axhline(1.0, color=ink.LINES["bridge"], lw=1.2)
    axes.text(-0.42, 1.012, "a policy trained on the target", color=ink.LINES["bridge"], fontsize=9)
    axes.set_xticks(range(len(SHOWN)), list(SHOWN.values()), fontsize=9)
    axes.set(ylabel="score: 0 is acting at random", ylim=(0.0, 1.1))
    axes.set_title(
        f"Eight targets that nobody trained for, {found['score.gpi'].n // 8} seeds: bars are means with their 95 % "
        "interval, dots are targets",
        fontsize=10,
    )
    axes.grid(alpha=0.25, axis="y")
    return picture
