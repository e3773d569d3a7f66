"""Which pictures there are, what each is drawn from, and whether the file is as new as that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from acclimate.errors import UsageError

from docs.draw import house, ink, life, rooms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1]
CODE = Path(__file__).parent


class Picture(NamedTuple):
    """draw: the figure; data: what it shows, as bytes; modules: files of this folder that draw it."""

    draw: Callable[[], Figure]
    data: Callable[[], bytes]
    modules: tuple[str, ...]

    @property
    def source(self) -> str:
        """The digest of what it is drawn from, code included."""
        code = [(CODE / f"{name}.py").read_bytes() for name in (*self.modules, "ink")]
        return ink.digest(self.data(), *code)


PICTURES: Mapping[str, Picture] = {
    "life": Picture(life.draw, bytes, ("life",)),
    "rooms": Picture(lambda: rooms.draw(house.read_house()), rooms.source, ("rooms", "house")),
}


def redraw(names: Sequence[str]) -> None:
    """Write docs/NAME.png of each; all where none is named. Raises UsageError for a name that is none."""
    for name in names:
        if name not in PICTURES:
            raise UsageError(f"there is no picture {name!r}; valid names: {', '.join(PICTURES)}")
    for name in names or PICTURES:
        path, picture = path_of(name), PICTURES[name]
        ink.save(picture.draw(), path, picture.source)
        print(f"docs/{path.name}")


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.png"
