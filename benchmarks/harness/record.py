"""A benchmark's run as JSON: what was run, where, and what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.stats import Interval

from benchmarks.harness import BenchmarkError, Figure


@dataclass(frozen=True)
class Record:
    """One run. commit: the code's short hash, with -dirty where it was changed since; wall_s: in seconds."""

    command: str
    seed: int
    commit: str
    wall_s: float
    machine: str
    figures: Mapping[str, Figure]


def write_record(folder: Path, name: str, record: Record) -> Path:
    """Write FOLDER/NAME.json, whole or not at all. Raises BenchmarkError for a figure that is no number."""
    text = json.dumps(tree(record), indent=2, allow_nan=False) + "\n"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    write_atomically(path, text.encode())
    return path


def tree(record: Record) -> dict[str, Json]:
    """The JSON form. Raises BenchmarkError for no figures, and for one that is no number."""
    if not record.figures:
        raise BenchmarkError(f"{record.command} gave no figures; nothing was written")
    return {
        "command": record.command,
        "seed": record.seed,
        "commit": record.commit,
        "wall_s": round(record.wall_s, 3),
        "machine": record.machine,
        "figures": {name: _figure(name, figure) for name, figure in record.figures.items()},
    }


def lines(record: Record) -> list[str]:
    """The figures for people."""
    width = max(map(len, record.figures), default=0)
    return [f"{name.ljust(width)}  {_text(figure)}" for name, figure in record.figures.items()]


def _figure(name: str, figure: Figure) -> Json:
    mean = figure.mean if isinstance(figure, Interval) else figure
    if not math.isfinite(mean):
        raise BenchmarkError(f"figure {name!r} is {mean}, expected a finite number; nothing was written")
    return {**figure.as_dict()} if isinstance(figure, Interval) else figure


def _text(figure: Figure) -> str:
    if not isinstance(figure, Interval):
        return f"{figure:.6g}"
    interval = f" ({figure.low:.6g} to {figure.high:.6g})" if figure.n > 1 else ""
    return f"{figure.mean:.6g}{interval}, n = {figure.n}"
