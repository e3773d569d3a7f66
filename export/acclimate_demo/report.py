"""What the demo says: the reports of all presets as one, as a table, and what it must show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from acclimate.fields import Json
from acclimate.stats import mean_interval

Row: TypeAlias = dict[str, Json]
ALL, GUARDED = "all", "guarded"


class Check(NamedTuple):
    """Something that the demo says of itself; `binding` where it must hold, as the guard leaves the last step."""

    ok: bool
    sentence: str
    binding: bool


def read_report(path: Path) -> dict[str, Json]:
    """What `acclimate evaluate --output` wrote."""
    report: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    return report


def merged(reports: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """The reports of `evaluate`, one per preset, in the same form."""
    first = reports[0]
    out: dict[str, Json] = {name: first[name] for name in ("metric", "unit", "higher_is_better")}
    for name in ("rows", "comparisons"):
        out[name] = [row for report in reports for row in rows_of(report, name)]
    for name in ("gap_closed", "tail"):
        out[name] = {key: value for report in reports for key, value in mapping(report[name]).items()}
    out["machines"] = [
        {"family": rows_of(report, "rows")[0]["family"], **machine}
        for report in reports
        for machine in rows_of(report, "machines")
    ]
    return out


def table(report: Mapping[str, Json]) -> list[str]:
    """Over all servos: a line per preset and controller, gap closed and tail."""
    lines = [
        "RMS tracking error in rad on simulated servos that training never saw: mean and 95 % interval over servos.",
        "Chatter is the mean change of the action per tick, as a share of its range.",
        "",
        f"{'family':<14} {'controller':<10} {'steps':>5}  {'error':>7}  {'interval':<18} {'chatter':>7} {'n':>4}  "
        "gap closed",
    ]
    lines += [_line(row, report) for row in rows_of(report, "rows") if row["machine"] == ALL]
    for family, tail in mapping(report["tail"]).items():
        shares = ", ".join(
            f"{number(mapping(t)['share_worse']):.1%} after {steps(k)}" for k, t in mapping(tail).items()
        )
        if shares:
            lines += ["", f"{family}: servos left worse than before, by however little: {shares}"]
    return lines


def _line(row: Row, report: Mapping[str, Json]) -> str:
    gap = mapping(mapping(report["gap_closed"])[str(row["family"])]).get(str(row["shots"]))
    closed = f"{number(gap):.0%}" if row["controller"] == _main(report, row) and gap is not None else ""
    interval = "one servo" if row["low"] is None else f"{number(row['low']):.4f} to {number(row['high']):.4f}"
    chatter = mapping(row["beside"]).get("chatter")
    return (
        f"{row['family']:<14} {row['controller']:<10} {row['shots']:>5}  {number(row['mean']):7.4f}  {interval:<18} "
        f"{number(mapping(chatter)['mean']) if chatter else float('nan'):7.3f} {row['n']:>4}  {closed:>10}"
    )


def _main(report: Mapping[str, Json], row: Row) -> str:
    """The controller that a family's evaluation is about."""
    return next(str(c["a"]) for c in rows_of(report, "comparisons") if c["family"] == row["family"])


def conclusions(report: Mapping[str, Json]) -> list[Check]:
    """Over all servos better than unadapted (or robust, without steps) and than the PID; on no servo worse."""
    return [check for family in mapping(report["gap_closed"]) for check in _of_family(report, family)]


def _of_family(report: Mapping[str, Json], family: str) -> Iterator[Check]:
    here = [c for c in rows_of(report, "comparisons") if c["family"] == family]
    taken = sorted({int(number(c["shots"])) for c in here})
    guarded = list(_guarded(report, family, taken[-1], str(here[0]["a"]))) if taken else []
    for shots in taken:
        last = shots == taken[-1] and not guarded
        now = [c for c in here if c["shots"] == shots]
        who = f"{family}, {now[0]['a']}" + (f" after {steps(shots)}" if shots else "")
        before = "unadapted" if shots else "robust"
        for c in now:
            if c["machine"] == ALL and c["b"] in (before, "pid"):
                below = c["high"] is not None and number(c["high"]) < 0.0
                verdict = "better" if below else "not better beyond the interval"
                yield Check(below, f"{who}: {verdict} than {c['b']} by {_difference(c)}", last)
        worse = [str(c["machine"]) for c in now if c["b"] == before and _is_worse_on_a_servo(c)]
        found = f"worse than {before} on {', '.join(worse)}" if worse else f"on no servo worse than {before}"
        yield Check(not worse, f"{who}: {found}", last)
    yield from guarded


def _guarded(report: Mapping[str, Json], family: str, shots: int, main: str) -> Iterator[Check]:
    """What binds where steps are taken: the policy as `run` drives it, which takes a step back that made it worse."""
    machines = rows_of(report, "machines") if "machines" in report else []
    figures = [mapping(m["figures"]) for m in machines if m.get("family") == family and "figures" in m]
    if not shots or not figures or not all(GUARDED in of for of in figures):
        return
    for name, other, at in (("unadapted", main, 0), ("pid", "pid", 0)):
        pairs = [(_error(of, GUARDED, shots), _error(of, other, at)) for of in figures if other in of]
        if len(pairs) > 1:
            d = mean_interval(b - a for a, b in pairs)
            verdict = "better" if d.low > 0.0 else "not better beyond the interval"
            words = f"{verdict} than {name} by {d.mean:.4f} rad ({d.low:.4f} to {d.high:.4f})"
            yield Check(
                d.low > 0.0, f"{family}, {main} after {steps(shots)}, bad ones taken back: {words}", True
            )


def _error(figures: Mapping[str, Json], controller: str, shots: int) -> float:
    stages = figures[controller]
    assert isinstance(stages, list)
    return number(mapping(stages[shots])["error"])


def _is_worse_on_a_servo(c: Row) -> bool:
    return c["machine"] != ALL and c["low"] is not None and number(c["low"]) > 0.0


def _difference(c: Row) -> str:
    if c["low"] is None:
        return f"{-number(c['mean']):.4f} rad (one servo)"
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
