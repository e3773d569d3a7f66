"""The picture of an evaluation over time: a curve per controller, on both sides, where there is a change."""

from __future__ import annotations

from pathlib import Path

from acclimate.fields import Json
from acclimate_demo.courses_picture import draw_curves

PNG = b"\x89PNG\r\n\x1a\n"


def report(change: str | None) -> dict[str, Json]:
    interval: dict[str, Json] = {"mean": 0.1, "low": 0.02, "high": 0.2, "n": 9}
    points: list[Json] = [
        {
            "family": "servo wide",
            "machine": servo,
            "controller": name,
            "since": since,
            "from": k,
            "to": k + 1,
            **interval,
        }
        for servo in ("MX-64", "all")
        for name in ("rl2", "something new")
        for since in (("start", "change") if change else ("start",))
        for k in range(4)
    ]
    alone: dict[str, Json] = {"low": None, "high": None, "n": 1}
    return {
        "curves": [*points[:-1], {**interval, **points[-1], **alone}],
        "change": change,
        "metric": "error",
        "unit": "rad",
    }  # type: ignore[dict-item]


def test_a_row_per_report_with_and_without_a_change_and_intervals(tmp_path: Path) -> None:
    for name, reports in {"one": [report("supply")], "two": [report("supply"), report(None)]}.items():
        draw_curves(reports, tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one.startswith(PNG)
    heights = [int.from_bytes(png[20:24], "big") for png in (one, two)]
    assert heights[1] == 2 * heights[0]
    draw_curves([report("supply")], tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == one
