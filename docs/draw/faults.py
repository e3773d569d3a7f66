"""faults.png: tracking error against the share of frames that are lost or damaged, with and without adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.draw import ink
from docs.draw.recorded import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "faults"


def draw() -> Figure:
    from matplotlib.figure import Figure

    found = figures(NAME)
    picture = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = picture.subplots()
    for key, label, colour in (
        ("before", "before adapting", ink.LINES["trainer"]),
        ("after", "after two steps", ink.LINES["runtime"]),
    ):
        prefix = f"error.{key}."
        points = {float(name.removeprefix(prefix)): e for name, e in found.items() if name.startswith(prefix)}
        shares = [100.0 * share for share in points]
        axes.plot(shares, [e.mean for e in points.values()], "o-", color=colour, label=label, ms=5)
        axes.fill_between(shares, [e.low for e in points.values()], [e.high for e in points.values()],
                          color=colour, alpha=0.15, linewidth=0)  # fmt: skip
    n = found["error.after.0"].n
    axes.set(
        xlabel="frames lost or damaged, in each direction, %",
        ylabel="RMS tracking error, rad",
        ylim=(0.0, None),
    )
    axes.set_title(
        f"{n} simulated servos over a bad link, trials of MAML\nmeans; bands are 95 % intervals", fontsize=10
    )
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9)
    return picture
