"""Which pictures there are, what each is drawn from, and whether the file is as new as that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import acclimate_demo
import acclimate_transfer
from acclimate.errors import UsageError

from docs.draw import (
    demo,
    faults,
    house,
    ink,
    life,
    reacher_gpi,
    rooms,
    rooms_gpi,
    servo_objectives,
    servo_rl2,
    transfer_diversity,
    transfer_entropy,
    transfer_shots,
)
from docs.draw.recorded import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1]
CODE = Path(__file__).parent
DEMO = Path(acclimate_demo.__file__).parent
TRANSFER = Path(acclimate_transfer.__file__).parent


class Picture(NamedTuple):
    """draw: the figure; data: what it shows, as bytes; code: files that draw it."""

    draw: Callable[[], Figure]
    data: Callable[[], bytes]
    code: tuple[Path, ...]

    @property
    def source(self) -> str:
        """The digest of what it is drawn from, code included. Raises UsageError where data were never recorded."""
        return ink.digest(self.data(), *(path.read_bytes() for path in (*self.code, CODE / "ink.py")))


def _recorded(name: str, draw: Callable[[], Figure], *files: str, by: Path | None = None) -> Picture:
    """A picture of what a benchmark recorded: of NAME.json, where no files are named. by: what else draws it."""
    data = files or (f"{name}.json",)
    code = (CODE / f"{name}.py", *([by] if by else []))
    return Picture(draw, lambda: b"".join(map(read, data)), code)


PICTURES: Mapping[str, Picture] = {
    "demo": _recorded("demo", demo.draw, "demo.plot.json", by=DEMO / "picture.py"),
    "faults": _recorded("faults", faults.draw),
    "life": Picture(life.draw, bytes, (CODE / "life.py",)),
    "reacher_gpi": _recorded("reacher_gpi", reacher_gpi.draw),
    "rooms": Picture(
        lambda: rooms.draw(house.read_house()), rooms.source, (CODE / "rooms.py", CODE / "house.py")
    ),
    "rooms_gpi": _recorded("rooms_gpi", rooms_gpi.draw, "rooms_gpi.plot.json"),
    "servo_objectives": _recorded(
        "servo_objectives", servo_objectives.draw, "servo_objectives.json", "servo_objectives.plot.json"
    ),
    "servo_rl2": _recorded(
        "servo_rl2", servo_rl2.draw, "servo_rl2.plot.json", by=DEMO / "courses_picture.py"
    ),
    "transfer_entropy": _recorded(
        "transfer_entropy", transfer_entropy.draw, "transfer_entropy.json", "transfer_entropy.plot.json"
    ),
    "transfer_diversity": _recorded(
        "transfer_diversity", transfer_diversity.draw, "transfer_diversity.plot.json"
    ),
    "transfer_shots": _recorded(
        "transfer_shots", transfer_shots.draw, "transfer_shots.plot.json", by=TRANSFER / "picture.py"
    ),
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
