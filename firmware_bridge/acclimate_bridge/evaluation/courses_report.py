"""What an evaluation over time says: curves since the start and since the change; as JSON and as a table."""

from __future__ import annotations

from typing import NamedTuple

from acclimate.fields import Json
from acclimate.stats import Interval, mean_interval
from acclimate.task.metrics import described

from acclimate_bridge.evaluation.courses import CourseResult, Courses, Span
from acclimate_bridge.evaluation.evaluation import NAMED
from acclimate_bridge.evaluation.report import (
    ALL,
    groups,
    headline_tree,
    in_order,
    interval_of,
    share_closed,
)


class Point(NamedTuple):
    """Mean figure of one controller in one span on one group of machines (or all)."""

    group: str
    controller: str
    span: Span
    figure: Interval
    others: dict[str, Interval]  # the other metrics, where they are measured


class Share(NamedTuple):
    """How much of the gap between robust policy and oracle a controller closes in a span, over all machines."""

    controller: str
    span: Span
    share: float | None  # None where one of the two is missing, or the oracle is not better


def curves(results: Courses) -> list[Point]:
    """The bins, in the order of groups, controllers and time."""
    return [
        Point(group, name, span, mean_interval(m.curves[name][i] for m in machines), {})
        for group, machines in groups(results.machines)
        for name in in_order(machines[0].curves)
        for i, span in enumerate(results.course.bins())
    ]


def summary(results: Courses) -> list[Point]:
    """The spans that a controller is judged by."""
    task, found = results.task, []
    for group, machines in groups(results.machines):
        for name in in_order(machines[0].judged):
            for i, span in enumerate(results.course.judged()):
                figures = {
                    metric.name: mean_interval(m.judged[name][i][metric.name] for m in machines)
                    for metric in task.metrics
                }
                found.append(Point(group, name, span, figures.pop(task.headline.name), figures))
    return found


def gap_closed(results: Courses) -> list[Share]:
    """Each controller against robust policy and oracle in the same span."""
    metric = results.task.headline
    found = {(p.controller, p.span): p.figure.mean for p in summary(results) if p.group == ALL}
    return [
        Share(
            name, span, share_closed(metric, found.get(("robust", span)), mean, found.get(("oracle", span)))
        )
        for (name, span), mean in found.items()
        if name not in NAMED
    ]


def tree(results: Courses) -> dict[str, Json]:
    """The JSON form; docs/cli.md documents its fields."""
    family, course = results.family, results.course
    return {
        **headline_tree(results.task),
        "seconds": course.seconds,
        "change": course.change,
        "change_at": course.change_at if course.change else None,
        "curves": [_point_tree(family, point) for point in curves(results)],
        "summary": [_point_tree(family, point) for point in summary(results)],
        "gap_closed": [_share_tree(family, share) for share in gap_closed(results)],
        "seed": results.seed,
        "engine": results.engine,
        "machines": [_machine_tree(results, machine) for machine in results.machines],
    }


def table(results: Courses) -> list[str]:
    """The same for people, without the curves: over all machines, a line per controller."""
    course, beside = results.course, results.task.metrics[1:]
    happens = f", {course.change} after {course.change_at:g} s" if course.change else ""
    lines = [
        f"{described(results.task.headline)}, {results.family}, {course.seconds:g} s of driving{happens}; "
        f"mean over {len(results.machines)} machines with 95 % interval"
    ]
    if beside:
        lines.append(f"then {', '.join(metric.name for metric in beside)}")
    shares = {(s.controller, s.span): s.share for s in gap_closed(results)}
    for span in course.judged():
        lines += ["", f"from {span.begin:g} s to {span.end:g} s since the {span.since}"]
        for point in summary(results):
            if point.group == ALL and point.span == span:
                lines.append(_line(point, shares.get((point.controller, span))))
    return lines


def _line(point: Point, share: float | None) -> str:
    figure = point.figure
    costs = "".join(f" {other.mean:8.3g}" for other in point.others.values())
    closed = f"  {share:.0%} of the gap between robust policy and oracle" if share is not None else ""
    return f"  {point.controller:<18} {figure.mean:9.4f}  {interval_of(figure):<20}{costs}{closed}"


def _span_tree(span: Span) -> dict[str, Json]:
    return {"since": span.since, "from": span.begin, "to": span.end}


def _point_tree(family: str, p: Point) -> Json:
    where: dict[str, Json] = {"family": family, "machine": p.group, "controller": p.controller}
    others: dict[str, Json] = {name: dict(interval.as_dict()) for name, interval in p.others.items()}
    beside: dict[str, Json] = {"beside": others} if others else {}
    return {**where, **_span_tree(p.span), **p.figure.as_dict(), **beside}


def _share_tree(family: str, s: Share) -> Json:
    return {"family": family, "controller": s.controller, **_span_tree(s.span), "share": s.share}


def _machine_tree(results: Courses, m: CourseResult) -> Json:
    spans = results.course.judged()
    figures: dict[str, Json] = {
        name: [{**_span_tree(span), **found} for span, found in zip(spans, all_, strict=True)]
        for name, all_ in m.judged.items()
    }
    refusals: dict[str, Json] = {name: list(reasons) for name, reasons in m.refusals.items()}
    return {
        "machine": m.group,
        "number": m.number,
        "before": dict(m.before),
        "after": dict(m.after),
        "figures": figures,
        "refusals": refusals,
    }
