"""Scores that are kept beside a run, so that an interrupted comparison goes on where it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.fields import Json

from acclimate_transfer.scoring import Question, Shots


def keep(run: Path, of_set: str, question: Question, found: list[Shots]) -> None:
    """Write what was found beside the run."""
    rows: list[Json] = [{str(k): {**figures} for k, figures in shots.items()} for shots in found]
    tree: dict[str, Json] = {"of": _digest(question), "machines": rows}
    write_atomically(_path(run, of_set), (json.dumps(tree) + "\n").encode())


def kept(run: Path, of_set: str, question: Question) -> list[Shots] | None:
    """What was found before to the same question about the same bundle; None where there is nothing."""
    try:
        tree = json.loads(_path(run, of_set).read_bytes())
        if tree["of"] != _digest(question):
            return None
        return [{int(k): figures for k, figures in row.items()} for row in tree["machines"]]
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _path(run: Path, of_set: str) -> Path:
    return run.parent / f"{run.name}_{of_set}.json"


def _digest(question: Question) -> str:
    """Of the bundle's bytes, and of everything that is asked about it."""
    asked = question._replace(bundle=Path())
    text = f"{hashlib.sha256(question.bundle.read_bytes()).hexdigest()} {asked!r}"
    return hashlib.sha256(text.encode()).hexdigest()
