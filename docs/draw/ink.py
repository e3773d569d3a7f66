"""What all pictures share: colours, and PNG files that say what they were drawn from."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, GREY, RED = "#ffffff", "#22272e", "#8a929c", "#c4413b"
FILLS = {
    "runtime": "#e3eefb",
    "bridge": "#e4f3e8",
    "trainer": "#fdf0dc",
    "export": "#f3e6f3",
    "demo": "#eeeeee",
}
LINES = {
    "runtime": "#2f6fb5",
    "bridge": "#3f8f55",
    "trainer": "#b9791f",
    "export": "#96508f",
    "demo": "#777777",
}
SOURCE = "Acclimate-Source"
"""The PNG's text chunk that holds the digest of what the picture was drawn from."""

_TEXT, _CHUNK_HEAD = b"tEXt", 8


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure, in inches, and one set of axes without frame that fills it; its units are inches, too."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0.0, width), ylim=(0.0, height))
    axes.axis("off")
    return figure, axes


def digest(*sources: bytes) -> str:
    """Of what a picture is drawn from: data, and the code that draws it."""
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]


def save(figure: Figure, path: Path, source: str) -> None:
    """Write a PNG, the same bytes for the same picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None, SOURCE: source})
    write_atomically(path, buffer.getvalue())


def source_of(path: Path) -> str | None:
    """The digest in a PNG that `save` wrote; None where there is none."""
    png, at = path.read_bytes(), len(b"\x89PNG\r\n\x1a\n")
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        keyword, _, text = png[at + _CHUNK_HEAD : at + _CHUNK_HEAD + length].partition(b"\0")
        if kind == _TEXT and keyword.decode("latin-1") == SOURCE:
            return text.decode("latin-1")
        at += length + 12  # length, kind and checksum
    return None
