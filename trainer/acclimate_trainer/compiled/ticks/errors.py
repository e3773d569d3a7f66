"""Why a tick is not compiled."""

from __future__ import annotations

import traceback
from pathlib import Path


class NotCompiled(Exception):  # noqa: N818  (no failure: training goes on in torch)
    """`str` says why, as what follows "not compiled, since"."""


def place_of(error: Exception) -> str:
    """Where in a user's code an error was raised, " (robot.py:41: if height < 0:)"; nothing where in none."""
    ours = Path(__file__).parents[2]
    frames = (
        frame
        for frame in reversed(traceback.extract_tb(error.__traceback__))
        if frame.line and "/torch/" not in frame.filename and not _is_ours(Path(frame.filename), ours)
    )
    return next((f" ({Path(f.filename).name}:{f.lineno}: {f.line})" for f in frames), "")


def _is_ours(file: Path, package: Path) -> bool:
    """Whether it is of what traces and checks."""
    return any(package / room in file.parents for room in ("compiled", "testing"))
