"""servo_rl2.png: how soon each controller is good after a start, and after a change in mid-drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate_demo.courses_picture import figure_of

from docs.draw.recorded import plot, trees

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "servo_rl2"


def draw() -> Figure:
    return figure_of(trees(plot(NAME)["reports"]))
