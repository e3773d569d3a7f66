"""The verb `bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.bundle.file import load
from acclimate.command.bench import chart, report
from acclimate.command.bench.measuring import Effort, chosen, measure
from acclimate.command.bench.subjects import names
from acclimate.command.options import heed_trust, writable
from acclimate.command.results import hand_over
from acclimate.errors import EngineError, UsageError
from acclimate.json_text import json_text
from acclimate.names import did_you_mean

_SHORTEST, _LONGEST = 0.1, 600.0  # s


def run_bench(args: argparse.Namespace) -> int:
    """Measure as `args` say; print tables or one JSON object, and draw. Raises EngineError where nothing runs."""
    if not _SHORTEST <= args.seconds <= _LONGEST:
        raise UsageError(f"--seconds must be from {_SHORTEST:g} to {_LONGEST:g}, found {args.seconds:g}")
    bundle, plot, effort = load(args.bundle), _drawable(args.plot), Effort(args.seconds)
    heed_trust(args, bundle)
    subjects = _selected(args.only)
    try:
        choice = chosen(bundle.path)
        found = measure(bundle.path, subjects, effort, _progress)
    finally:
        _progress("")
    if not any(of.times() for of in found):
        raise EngineError(
            f"nothing could be measured: {'; '.join(f'{of.name}: {of.refused}' for of in found)}"
        )
    tree, table = report.tree(bundle, choice, effort, found), report.table(bundle, choice, found)

    def draw() -> None:
        if plot is not None:
            write_atomically(plot, chart.draw(bundle.manifest.name, found).encode())

    hand_over(draw, lambda: print(json_text(tree) if args.json else "\n".join(table), flush=True))
    return 0


def _selected(only: list[str] | None) -> list[str]:
    """Raises UsageError for a name that is none."""
    known = names()
    for name in only or ():
        if name not in known:
            raise UsageError(f"--only: there is no {name!r}{did_you_mean(name, known)}")
    return [name for name in known if name in (only or known)]


def _drawable(plot: str | None) -> Path | None:
    """Checked before anything is measured. Raises UsageError where the picture could not be written."""
    if plot is not None and Path(plot).suffix != ".svg":
        raise UsageError(f"--plot {plot}: the picture is an SVG; expected a name that ends in .svg")
    return writable("--plot", plot)


def _progress(text: str) -> None:
    """On one line of a terminal; nothing where stderr is not one."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
