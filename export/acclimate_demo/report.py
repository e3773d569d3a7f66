"""What the demo says: the reports of all presets as one, as a table, and what it must show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from acclimate.fields import Json

Row: TypeAlias = dict[str, Json]
ALL = "all"


class Check(NamedTuple):
    """Something that the demo says of itself; `binding` where it must hold, that is after the last step."""

    ok: bool
    sentence: str
    binding: bool


def merged(reports: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """The reports of `evaluate`, one per preset, in the same form."""
    first = reports[0]
    out: dict[str, Json] = {"metric": first["metric"], "unit": first["unit"]}
    for name in ("rows", "comparisons"):
        out[name] = [row for report in reports for row in rows_of(report, name)]
    for name in ("gap_closed", "tail"):
        out[name] = {key: value for report in reports for key, value in mapping(report[name]).items()}
    return out


def table(report: Mapping[str, Json]) -> list[str]:
    """Over all servos: a line per preset and controller, gap closed and tail."""
    lines = [
        "RMS tracking error in rad on servos that training never saw; mean over devices, 95 % interval",
        "",
    ]
    lines.append(
        f"{'family':<14} {'controller':<10} {'steps':>5}  {'error':>7}  {'interval':<18} {'n':>4}  gap closed"
    )
    for row in rows_of(report, "rows"):
        if row["machine"] == ALL:
            lines.append(_line(row, report))
    lines.append("")
    for preset, tail in mapping(report["tail"]).items():
        shares = ", ".join(
            f"{number(mapping(t)['share_worse']):.1%} after {steps(k)}" for k, t in mapping(tail).items()
        )
        lines.append(f"{preset}: devices that adaptation left worse than before, by however little: {shares}")
    return lines


def _line(row: Row, report: Mapping[str, Json]) -> str:
    gap = mapping(mapping(report["gap_closed"])[str(row["family"])]).get(str(row["shots"]))
    closed = f"{number(gap):.0%}" if row["controller"] == "maml" and gap is not None else ""
    interval = (
        "one device" if row["low"] is None else f"{number(row['low']):.4f} to {number(row['high']):.4f}"
    )
    return (
        f"{row['family']:<14} {row['controller']:<10} {row['shots']:>5}  {number(row['mean']):7.4f}  "
        f"{interval:<18} {row['n']:>4}  {closed:>10}"
    )


def conclusions(report: Mapping[str, Json]) -> list[Check]:
    """Adapted better than unadapted and than the PID over all servos; on no servo worse than unadapted."""
    return [check for preset in mapping(report["gap_closed"]) for check in _of_preset(report, preset)]


def _of_preset(report: Mapping[str, Json], preset: str) -> Iterator[Check]:
    here = [c for c in rows_of(report, "comparisons") if c["family"] == preset]
    taken = sorted({int(number(c["shots"])) for c in here})
    for shots in taken:
        last = shots == taken[-1]
        now = [c for c in here if c["shots"] == shots]
        for c in now:
            if c["machine"] == ALL and c["b"] in ("unadapted", "pid"):
                below = c["high"] is not None and number(c["high"]) < 0.0
                verdict = "better" if below else "not better beyond the interval"
                yield Check(
                    below, f"{preset}, {steps(shots)}: {verdict} than {c['b']} by {_difference(c)}", last
                )
        worse = [
            str(c["machine"])
            for c in now
            if c["b"] == "unadapted"
            and c["machine"] != ALL
            and c["low"] is not None
            and number(c["low"]) > 0.0
        ]
        found = f"worse than unadapted on {', '.join(worse)}" if worse else "on no servo worse than unadapted"
        yield Check(not worse, f"{preset}, {steps(shots)}: {found}", last)


def _difference(c: Row) -> str:
    if c["low"] is None:
        return f"{-number(c['mean']):.4f} rad (one device)"
    return f"{-number(c['mean']):.4f} rad ({-number(c['high']):.4f} to {-number(c['low']):.4f})"


def steps(shots: int | str) -> str:
    return f"{shots} step{'' if str(shots) == '1' else 's'}"


def rows_of(report: Mapping[str, Json], name: str) -> list[Row]:
    rows = report[name]
    assert isinstance(rows, list)  # our own report
    return [mapping(row) for row in rows]


def mapping(value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return value


def number(value: Json) -> float:
    assert isinstance(value, int | float)
    return float(value)
