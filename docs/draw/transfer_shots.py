"""transfer_shots.png: every method on all sets of machines, after 0, 1 and 5 shots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate_transfer.picture import figure_of

from docs.draw.recorded import plot, trees

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "transfer_shots"


def draw() -> Figure:
    return figure_of(trees([*plot(NAME).values()]))
