"""What an evaluation says: intervals, paired differences, gap closed, tail; as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple, Protocol, TypeVar

from acclimate.fields import Json
from acclimate.stats import Interval, mean_interval

from acclimate_bridge.evaluation.evaluation import Results
from acclimate_bridge.evaluation.rig import PID, DeviceResult

ALL = "all"
UNADAPTED = "unadapted"
_ORDER = {PID: 0, "robust": 1, "oracle": 3}  # the others between robust and oracle


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
        for servo, devices in groups(results.devices)
        for controller in in_order(results.devices[0].errors)
        for shots in range(len(devices[0].errors[controller]))
    ]


def comparisons(results: Results) -> list[Comparison]:
    """The adapted policy against the unadapted one, the robust one and the PID, device by device."""
    return [
        Comparison(
            servo, results.main, b, shots, mean_interval(_differences(results.main, devices, b, shots))
        )
        for servo, devices in groups(results.devices)
        for shots in _stages(results)
        for b in (UNADAPTED, "robust", PID)
        if (shots if b == UNADAPTED else b in devices[0].errors)
    ]


def gap_closed(results: Results) -> dict[str, float | None]:
    """Share of the gap between robust policy and oracle that adaptation closes, by number of steps.

    None where one of the two is missing, or where they do not differ in the expected direction.
    """
    found = {(r.controller, r.shots): r.error.mean for r in rows(results) if r.servo == ALL}
    robust, oracle = found.get(("robust", 0)), found.get(("oracle", 0))
    return {str(k): share_closed(robust, found[results.main, k], oracle) for k in _stages(results)}


def share_closed(robust: float | None, adapted: float, oracle: float | None) -> float | None:
    """(robust − adapted)/(robust − oracle), where that means something."""
    if robust is None or oracle is None or robust <= oracle:
        return None
    return (robust - adapted) / (robust - oracle)


def _stages(results: Results) -> Sequence[int]:
    """After how many steps the main bundle has adapted: 1, 2, …, or 0 if it adapts as it acts."""
    return (0,) if results.recurrent else range(1, results.shots + 1)


def share_worse(results: Results, shots: int) -> float:
    """Share of devices whose error after `shots` steps is larger than before, by however little."""
    differences = _differences(results.main, results.devices, UNADAPTED, shots)
    return sum(d > 0.0 for d in differences) / len(results.devices)


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
    lines.append(f"{'servo':<14} {'controller':<18} {'steps':>5}  {'error':>7}  {'interval':<18} {'n':>4}")
    for servo, controller, shots, error in rows(results):
        interval = f"{error.low:.4f} to {error.high:.4f}" if error.n > 1 else "one device"
        lines.append(
            f"{servo:<14} {controller:<18} {shots:>5}  {error.mean:7.4f}  {interval:<18} {error.n:>4}"
        )
    conclusions = list(_conclusions(results))
    return [*lines, "", *conclusions] if conclusions else lines


def _conclusions(results: Results) -> Iterator[str]:
    for c in comparisons(results):
        if c.servo == ALL:
            d = c.difference
            interval = f" ({d.low:+.4f} to {d.high:+.4f})" if d.n > 1 else ""
            yield f"{_taken('after', c.shots)} against {c.b + ':':<18} {d.mean:+.4f} rad{interval}"
    for number, closed in gap_closed(results).items():
        if closed is not None:
            yield f"gap between robust policy and oracle closed {_taken('by', int(number))}: {closed:.0%}"
    for shots in range(1, results.shots + 1):
        share = share_worse(results, shots)
        yield f"worse than unadapted {_taken('after', shots)}: {share:.1%} of {len(results.devices)} devices"


def _taken(word: str, shots: int) -> str:
    return f"{word} {shots} step{'s' if shots > 1 else ''}" if shots else "adapting as it drives"


class OnServo(Protocol):
    """A result that belongs to a device of one servo."""

    @property
    def servo(self) -> str: ...


D = TypeVar("D", bound=OnServo)


def groups(devices: Sequence[D]) -> Iterator[tuple[str, Sequence[D]]]:
    """Devices by servo, then all."""
    for servo in dict.fromkeys(d.servo for d in devices):
        yield servo, [d for d in devices if d.servo == servo]
    yield ALL, devices


def in_order(controllers: Iterable[str]) -> list[str]:
    """From the classical one to the one that knows everything."""
    return sorted(controllers, key=lambda name: _ORDER.get(name, 2))


def _differences(main: str, devices: Sequence[DeviceResult], b: str, shots: int) -> list[float]:
    """Error of the policy adapted `shots` times less that of `b`, per device."""
    other = main if b == UNADAPTED else b
    return [d.errors[main][shots] - d.errors[other][0] for d in devices]


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
