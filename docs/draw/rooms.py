"""rooms.png: the rooms of the four packages and their imports, as the source says them today."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from docs.draw import ink
from docs.draw.house import GROUND, PACKAGES, House, Room, read_house

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("acclimate_bridge", "acclimate", "acclimate_trainer", "acclimate_export")
_COLOUR = {
    "acclimate": "runtime",
    "acclimate_bridge": "bridge",
    "acclimate_trainer": "trainer",
    "acclimate_export": "export",
    "acclimate_demo": "demo",
}
_WIDTH, _GAP, _MARGIN = 3.05, 0.5, 0.3  # inches: of a column, between two, around all
_ROW, _BOX = 0.72, (0.94, 0.34)  # from level to level; a room's box at most
_CAPTION = 1.0  # under each column
_HEAD = 1.15  # above the columns: titles and legend


class Place(NamedTuple):
    """Where a room's box has its middle, and its width."""

    x: float
    y: float
    width: float


def draw(house: House) -> Figure:
    """A column per package; in it, who stands above imports from whom stands below."""
    levels = {package: house.inside(package).levels() for package in _COLUMNS}
    rows = 1 + max(max(found.values()) for found in levels.values())
    height = _HEAD + rows * _ROW + _CAPTION + _MARGIN
    width = 2 * _MARGIN + len(_COLUMNS) * _WIDTH + (len(_COLUMNS) - 1) * _GAP
    figure, axes = ink.blank(width, height)
    top = height - _HEAD
    for index, package in enumerate(_COLUMNS):
        left = _MARGIN + index * (_WIDTH + _GAP)
        _column(axes, house, package, left, top, rows, levels[package])
    _between(axes, house, top + 0.22)
    _legend(axes, height)
    return figure


def source() -> bytes:
    """What the picture depends on."""
    return repr(sorted(read_house().imports)).encode()


def _column(
    axes: Axes, house: House, package: str, left: float, top: float, rows: int, levels: Mapping[Room, int]
) -> None:
    colour, bottom = _COLOUR[package], top - rows * _ROW - _CAPTION
    _box(axes, left, bottom, _WIDTH, top - bottom, colour, filled=True)
    axes.text(
        left + 0.12, top + 0.12, package, fontsize=12, weight="bold", color=ink.LINES[colour], va="bottom"
    )
    places = _places(levels, left, bottom + _CAPTION)
    for upper, lower in house.inside(package).direct():
        _arrow(axes, places[upper], places[lower], ink.LINES[colour])
    for room, place in places.items():
        x, y = place.x - place.width / 2, place.y - _BOX[1] / 2
        _box(axes, x, y, place.width, _BOX[1], colour, filled=False)
        style = "italic" if room.name == GROUND else "normal"
        axes.text(
            place.x, place.y, room.name, ha="center", va="center", fontsize=9, color=ink.INK, style=style
        )
    axes.text(left + 0.12, bottom + _CAPTION - 0.16, _needs(house, package), fontsize=7.6, va="top",
              color=ink.INK, linespacing=1.35)  # fmt: skip


def _places(levels: Mapping[Room, int], left: float, bottom: float) -> dict[Room, Place]:
    """Each level's rooms side by side; what imports much stands in the middle."""
    places: dict[Room, Place] = {}
    for level in range(1 + max(levels.values())):
        row = sorted(room for room, found in levels.items() if found == level)
        step = _WIDTH / len(row)
        for i, room in enumerate(row):
            width = min(_BOX[0], step - 0.08)
            places[room] = Place(left + (i + 0.5) * step, bottom + (level + 0.5) * _ROW, width)
    return places


def _needs(house: House, package: str) -> str:
    """What it imports from the other packages, a line each."""
    lines = []
    for other in PACKAGES:
        used = {b.name for a, b in house.imports if a.package == package and b.package == other != package}
        if used:
            lines.append(_wrapped(f"from {other}: ", sorted(used)))
    return "\n".join(lines) or "from no other package"


def _wrapped(head: str, names: Sequence[str], limit: int = 50) -> str:
    text, line = "", head
    for i, name in enumerate(names):
        word = name + ("," if i + 1 < len(names) else "")
        if len(line) + len(word) > limit:
            text, line = f"{text}{line}\n", "    "
        line += f"{word} "
    return text + line


def _between(axes: Axes, house: House, y: float) -> None:
    """Arrows between the titles of neighbours, one way or the other."""
    pairs = {(a.package, b.package) for a, b in house.imports}
    for index, (left, right) in enumerate(itertools.pairwise(_COLUMNS)):
        x = _MARGIN + (index + 1) * _WIDTH + index * _GAP
        for start, end, ends in ((left, right, (x, x + _GAP)), (right, left, (x + _GAP, x))):
            if (start, end) in pairs:
                axes.annotate("", (ends[1], y), (ends[0], y), arrowprops={"arrowstyle": "-|>", "lw": 1.6,
                              "color": ink.LINES[_COLOUR[start]]})  # fmt: skip


def _legend(axes: Axes, height: float) -> None:
    axes.text(_MARGIN, height - 0.3, "An arrow is an import; what follows from two others is left out. The rooms of "
              "other packages that a package imports are named below it.\nacclimate_demo stands above all four and "
              "calls them as a user would.", fontsize=8.5, color=ink.GREY, va="top")  # fmt: skip


def _arrow(axes: Axes, start: Place, end: Place, colour: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    distance = start.y - end.y
    around = 2.0 * (_BOX[0] / 2 + 0.15) / distance  # past the boxes in between
    bend = 0.0 if distance < 1.5 * _ROW else around if start.x <= end.x else -around
    patch = FancyArrowPatch(
        (start.x, start.y - _BOX[1] / 2), (end.x, end.y + _BOX[1] / 2), arrowstyle="-|>", mutation_scale=8, lw=0.9,
        color=colour, connectionstyle=f"arc3,rad={bend}", shrinkA=0, shrinkB=0, alpha=0.8,
    )  # fmt: skip
    axes.add_patch(patch)


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, *, filled: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    face = ink.FILLS[colour] if filled else ink.PAPER
    patch = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.07", facecolor=face,
                           edgecolor=ink.LINES[colour], lw=0.8 if filled else 1.0)  # fmt: skip
    axes.add_patch(patch)
