"""demo.png: what `make demo` shows at its end, of the run that `make bench NAME=demo` has recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate_demo.picture import figure_of

from docs.draw.recorded import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "demo"


def draw() -> Figure:
    return figure_of(plot(NAME))
