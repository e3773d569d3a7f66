"""What an evaluation says: intervals, paired differences, gap closed, tail; as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

from acclimate.fields import Json
from acclimate.stats import Interval, mean_interval

from acclimate_bridge.bench import ADAPTIVE, PID, DeviceResult
from acclimate_bridge.evaluation import Results

ALL = "all"
UNADAPTED = "unadapted"
_ORDER = (PID, "robust", ADAPTIVE, "oracle")


class Row(NamedTuple):
    """Mean error of one controller on one servo (or all), over devices."""

    servo: str
    controller: str
    shots: int
    error: Interval  # rad


class Comparison(NamedTuple):
    """Mean over devices of a's error less b's on the same device: below zero, a is better."""

    servo: str
    a: str
    b: str
    shots: int  # that a has had
    difference: Interval  # rad


def rows(results: Results) -> list[Row]:
    """Every controller on every servo and on all of them."""
    return [
        Row(servo, controller, shots, mean_interval(d.errors[controller][shots] for d in devices))
        for servo, devices in _groups(results)
        for controller in _controllers(results)
        for shots in range(len(devices[0].errors[controller]))
    ]


def comparisons(results: Results) -> list[Comparison]:
    """The adapted policy against the unadapted one, the robust one and the PID, device by device."""
    return [
        Comparison(servo, ADAPTIVE, b, shots, mean_interval(_differences(devices, b, shots)))
        for servo, devices in _groups(results)
        for shots in range(1, results.shots + 1)
        for b in (UNADAPTED, "robust", PID)
        if b == UNADAPTED or b in devices[0].errors
    ]


def gap_closed(results: Results) -> dict[str, float | None]:
    """Share of the gap between robust policy and oracle that adaptation closes, by number of steps.

    None where one of the two is missing, or where they do not differ in the expected direction.
    """
    found = {(r.controller, r.shots): r.error.mean for r in rows(results) if r.servo == ALL}
    robust, oracle = found.get(("robust", 0)), found.get(("oracle", 0))
    steps = range(1, results.shots + 1)
    if robust is None or oracle is None or robust <= oracle:
        return {str(k): None for k in steps}
    return {str(k): (robust - found[ADAPTIVE, k]) / (robust - oracle) for k in steps}


def share_worse(results: Results, shots: int) -> float:
    """Share of devices whose error after `shots` steps is larger than before, by however little."""
    return sum(d > 0.0 for d in _differences(results.devices, UNADAPTED, shots)) / len(results.devices)


def tree(results: Results) -> dict[str, Json]:
    """The JSON form; docs/cli.md documents its fields."""
    preset = results.preset
    steps = range(1, results.shots + 1)
    tail: dict[str, Json] = {
        str(k): {"share_worse": share_worse(results, k), "n": len(results.devices)} for k in steps
    }
    return {
        "metric": "tracking_error_rms",
        "unit": "rad",
        "rows": [_row_tree(preset, row) for row in rows(results)],
        "gap_closed": {preset: dict(gap_closed(results))},
        "comparisons": [_comparison_tree(preset, c) for c in comparisons(results)],
        "tail": {preset: tail},
        "seed": results.seed,
        "devices": [_device_tree(d) for d in results.devices],
    }


def table(results: Results) -> list[str]:
    """The same for people: one line per servo and controller, then the conclusions."""
    lines = [f"tracking error, RMS in rad, preset {results.preset}; mean over devices with 95 % interval", ""]
    lines.append(f"{'servo':<14} {'controller':<10} {'steps':>5}  {'error':>7}  {'interval':<18} {'n':>4}")
    for servo, controller, shots, error in rows(results):
        interval = f"{error.low:.4f} to {error.high:.4f}" if error.n > 1 else "one device"
        lines.append(
            f"{servo:<14} {controller:<10} {shots:>5}  {error.mean:7.4f}  {interval:<18} {error.n:>4}"
        )
    if results.shots:
        lines += ["", *_conclusions(results)]
    return lines


def _conclusions(results: Results) -> Iterator[str]:
    for c in comparisons(results):
        if c.servo == ALL:
            d = c.difference
            interval = f" ({d.low:+.4f} to {d.high:+.4f})" if d.n > 1 else ""
            yield f"after {_steps(c.shots)} against {c.b + ':':<10} {d.mean:+.4f} rad{interval}"
    for number, closed in gap_closed(results).items():
        if closed is not None:
            yield f"gap between robust policy and oracle closed by {_steps(int(number))}: {closed:.0%}"
    for shots in range(1, results.shots + 1):
        share = share_worse(results, shots)
        yield f"worse than unadapted after {_steps(shots)}: {share:.1%} of {len(results.devices)} devices"


def _steps(shots: int) -> str:
    return f"{shots} step{'s' if shots > 1 else ''}"


def _groups(results: Results) -> Iterator[tuple[str, Sequence[DeviceResult]]]:
    """Devices by servo, then all."""
    for servo in dict.fromkeys(d.servo for d in results.devices):
        yield servo, [d for d in results.devices if d.servo == servo]
    yield ALL, results.devices


def _controllers(results: Results) -> list[str]:
    return sorted(results.devices[0].errors, key=_ORDER.index)


def _differences(devices: Sequence[DeviceResult], b: str, shots: int) -> list[float]:
    """Error of the policy adapted `shots` times less that of `b`, per device."""
    other = ADAPTIVE if b == UNADAPTED else b
    return [d.errors[ADAPTIVE][shots] - d.errors[other][0] for d in devices]


def _row_tree(preset: str, r: Row) -> Json:
    return {
        "preset": preset,
        "servo": r.servo,
        "controller": r.controller,
        "shots": r.shots,
        **r.error.as_dict(),
    }


def _comparison_tree(preset: str, c: Comparison) -> Json:
    return {
        "preset": preset,
        "servo": c.servo,
        "a": c.a,
        "b": c.b,
        "shots": c.shots,
        **c.difference.as_dict(),
    }


def _device_tree(d: DeviceResult) -> Json:
    errors: dict[str, Json] = {name: list(values) for name, values in d.errors.items()}
    return {
        "servo": d.servo,
        "device": d.device,
        "deployment": dict(asdict(d.deployment)),
        "errors": errors,
        "refusals": list(d.refusals),
    }
