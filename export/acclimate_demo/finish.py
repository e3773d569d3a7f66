"""How a demo ends: report, picture, table, and whether it showed what it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.json_text import json_text

from acclimate_demo.picture import draw_picture
from acclimate_demo.report import conclusions, table
from acclimate_demo.traces import Trace

REPORT, PICTURE, SHOWN = "report.json", "demo.png", "picture.json"


def finish(
    out: Path,
    report: Mapping[str, Json],
    traces: Mapping[str, Sequence[Trace]],
    *,
    as_json: bool,
    quick: bool,
) -> int:
    """Write and print all of it; returns the exit code, 1 where adaptation does not show what it must.

    traces: by family. quick: policies were hardly trained, and need not show anything. SHOWN holds everything that the
    picture shows.
    """
    trees: dict[str, Json] = {family: [trace.tree() for trace in drives] for family, drives in traces.items()}
    shown = {**report, "traces": trees}
    _write(out / REPORT, {name: value for name, value in report.items() if name != "machines"})
    _write(out / SHOWN, shown)
    draw_picture(shown, out / PICTURE)
    checks = conclusions(report)
    if as_json:
        print((out / REPORT).read_text(encoding="utf-8"), end="")
    else:
        print("\n".join([*table(report), "", *(check.sentence for check in checks), ""]))
        print(f"report   {out / REPORT}\npicture  {out / PICTURE}")
    return 0 if quick or all(check.ok for check in checks if check.binding) else 1


def _write(path: Path, tree: Mapping[str, Json]) -> None:
    write_atomically(path, (json_text(tree) + "\n").encode())
