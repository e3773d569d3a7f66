"""What an evaluation over time says: curves since the start and since the change; as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from acclimate.fields import Json
from acclimate.stats import Interval, mean_interval

from acclimate_bridge.evaluation.courses import CourseResult, Courses, Span
from acclimate_bridge.evaluation.evaluation import NAMED
from acclimate_bridge.evaluation.report import ALL, groups, in_order, share_closed


class Point(NamedTuple):
    """Mean error of one controller in one span on one servo (or all), over devices."""

    servo: str
    controller: str
    span: Span
    error: Interval  # rad


class Share(NamedTuple):
    """How much of the gap between robust policy and oracle a controller closes in a span, over all servos."""

    controller: str
    span: Span
    share: float | None  # None where one of the two is missing, or the oracle is not better


def curves(results: Courses) -> list[Point]:
    """The bins, in the order of servos, controllers and time."""
    return _points(results, results.course.bins(), 0)


def summary(results: Courses) -> list[Point]:
    """The spans that a controller is judged by."""
    return _points(results, results.course.judged(), len(results.course.bins()))


def gap_closed(results: Courses) -> list[Share]:
    """Each controller against robust policy and oracle in the same span."""
    found = {(p.controller, p.span): p.error.mean for p in summary(results) if p.servo == ALL}
    return [
        Share(name, span, share_closed(found.get(("robust", span)), error, found.get(("oracle", span))))
        for (name, span), error in found.items()
        if name not in NAMED
    ]


def tree(results: Courses) -> dict[str, Json]:
    """The JSON form; docs/cli.md documents its fields."""
    preset, course = results.preset, results.course
    return {
        "metric": "tracking_error_rms",
        "unit": "rad",
        "seconds": course.seconds,
        "change": course.change,
        "change_at": course.change_at if course.change else None,
        "curves": [_point_tree(preset, point) for point in curves(results)],
        "summary": [_point_tree(preset, point) for point in summary(results)],
        "gap_closed": [_share_tree(preset, share) for share in gap_closed(results)],
        "seed": results.seed,
        "devices": [_device_tree(results, device) for device in results.devices],
    }


def table(results: Courses) -> list[str]:
    """The same for people, without the curves: over all servos, a line per controller."""
    course = results.course
    happens = f", {course.change} after {course.change_at:g} s" if course.change else ""
    lines = [
        f"tracking error, RMS in rad, preset {results.preset}, {course.seconds:g} s of driving{happens}; "
        f"mean over {len(results.devices)} devices with 95 % interval"
    ]
    shares = {(s.controller, s.span): s.share for s in gap_closed(results)}
    for span in course.judged():
        lines += ["", f"from {span.begin:g} s to {span.end:g} s since the {span.since}"]
        for point in summary(results):
            if point.servo == ALL and point.span == span:
                lines.append(_line(point, shares.get((point.controller, span))))
    return lines


def _line(point: Point, share: float | None) -> str:
    error = point.error
    interval = f"{error.low:.4f} to {error.high:.4f}" if error.n > 1 else "one device"
    closed = f"  {share:.0%} of the gap between robust policy and oracle" if share is not None else ""
    return f"  {point.controller:<18} {error.mean:7.4f}  {interval:<18}{closed}"


def _points(results: Courses, spans: list[Span], first: int) -> list[Point]:
    return [
        Point(servo, name, span, mean_interval(device.errors[name][i] for device in devices))
        for servo, devices in groups(results.devices)
        for name in in_order(devices[0].errors)
        for i, span in enumerate(spans, first)
    ]


def _span_tree(span: Span) -> dict[str, Json]:
    return {"since": span.since, "from": span.begin, "to": span.end}


def _point_tree(preset: str, p: Point) -> Json:
    where: dict[str, Json] = {"preset": preset, "servo": p.servo, "controller": p.controller}
    return {**where, **_span_tree(p.span), **p.error.as_dict()}


def _share_tree(preset: str, s: Share) -> Json:
    return {"preset": preset, "controller": s.controller, **_span_tree(s.span), "share": s.share}


def _device_tree(results: Courses, d: CourseResult) -> Json:
    first = len(results.course.bins())
    spans = results.course.judged()
    errors: dict[str, Json] = {
        name: [{**_span_tree(span), "rms": error} for span, error in zip(spans, all_[first:], strict=True)]
        for name, all_ in d.errors.items()
    }
    refusals: dict[str, Json] = {name: list(reasons) for name, reasons in d.refusals.items()}
    return {
        "servo": d.servo,
        "device": d.device,
        "before": dict(asdict(d.before)),
        "after": dict(asdict(d.after)),
        "errors": errors,
        "refusals": refusals,
    }
