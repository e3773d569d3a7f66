"""What `acclimate bench` found, as JSON and as tables."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from statistics import median

from acclimate.bundle.file import Bundle
from acclimate.command.bench.measuring import PACES, Effort, Measured, Start
from acclimate.command.bench.percentiles import Times
from acclimate.cores import usable_cores
from acclimate.engines.findings import processor
from acclimate.fields import Json
from acclimate.policy.pace import keeps_pace

GRAPHS = ("act", "adapt")
_UNIT = {"act": (1.0, "µs"), "adapt": (1e-3, "ms")}  # of a table, in µs
_NAME, _CELL = 22, 8


def tree(bundle: Bundle, choice: Sequence[str], effort: Effort, found: Sequence[Measured]) -> dict[str, Json]:
    """As docs/cli.md describes it."""
    return {
        "bundle": str(bundle.path),
        "sha256": bundle.sha256,
        "machine": machine(),
        "seconds": effort.seconds,
        "choice": list(choice),
        "rows": [_row(of, bundle.manifest.control_dt) for of in found],
    }


def machine() -> str:
    """Processor, cores that this process may use, Python."""
    lines = processor().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = usable_cores()
    return f"{models[0] if models else lines[0]}, {cores} cores, Python {platform.python_version()}"


def middle(of: Measured, what: Callable[[Start], float]) -> float | None:
    """The median over processes; None where there are none."""
    return median(map(what, of.starts)) if of.starts else None


def cpu_share(of: Measured) -> float | None:
    return median(of.cpu_shares) if of.cpu_shares else None


def fits(of: Measured, control_dt: float) -> bool | None:
    """Whether `act` fits into a control period (s), as `run` has it; None where it was not measured."""
    hot = of.times().get(("act", "hot"))
    return None if hot is None else keeps_pace(hot.p50 * 1e-6, control_dt)


def _row(of: Measured, control_dt: float) -> Json:
    times: list[Json] = [
        {"graph": graph, "pace": pace, "n": t.n, "p50_us": t.p50, "p99_us": t.p99, "p999_us": t.p999}
        for (graph, pace), t in of.times().items()
    ]
    return {
        "name": of.name,
        "refused": of.refused or None,
        "fits": fits(of, control_dt),
        "times": times,
        "first_action_ms": middle(of, lambda start: start.first_action_ms),
        "import_ms": middle(of, lambda start: start.import_ms),
        "load_ms": middle(of, lambda start: start.load_ms),
        "rss_mb": middle(of, lambda start: start.rss_mb),
        "rss_anon_mb": middle(of, lambda start: start.anon_mb),
        "cpu_share_50hz": cpu_share(of),
    }


def table(bundle: Bundle, choice: Sequence[str], found: Sequence[Measured]) -> list[str]:
    """For people: a table per graph, one of the processes, and why a subject is in none."""
    measured = [of for of in found if of.times()]
    lines = [f"{bundle.path} on {machine()}", *(f"auto takes {line}" for line in choice[:1])]
    for graph in GRAPHS:
        if any((graph, "hot") in of.times() for of in measured):
            lines += ["", *_times_table(graph, measured)]
    refused = [f"{of.name}: {of.refused}" for of in found if of.refused]
    late = [_too_slow(of, bundle.manifest.control_dt) for of in measured]
    said = [*filter(None, late), *refused]
    return lines + (["", *_process_table(measured)] if measured else []) + (["", *said] if said else [])


def _too_slow(of: Measured, control_dt: float) -> str | None:
    if fits(of, control_dt) is not False:
        return None
    took = of.times()["act", "hot"].p50 * 1e-3
    return (
        f"{of.name}: act takes {took:.3g} ms, and the control period is {control_dt * 1e3:g} ms: it cannot keep its "
        "rate here, and `acclimate run` refuses"
    )


def _times_table(graph: str, found: Sequence[Measured]) -> list[str]:
    scale, unit = _UNIT[graph]
    paces = "".join(pace.rjust(_CELL * 3) for pace in PACES)
    percentiles = "".join(p.rjust(_CELL) for _ in PACES for p in ("p50", "p99", "p99.9"))
    rows = []
    for of in found:
        times = of.times()
        cells = "".join(_cells(times.get((graph, pace)), scale) for pace in PACES)
        rows.append(f"{of.name.ljust(_NAME)}{cells}")
    return [f"{f'{graph}, {unit}'.ljust(_NAME)}{paces}", f"{''.ljust(_NAME)}{percentiles}", *rows]


def _cells(times: Times | None, scale: float) -> str:
    values = (None, None, None) if times is None else (times.p50, times.p99, times.p999)
    return "".join(_cell(None if value is None else value * scale) for value in values)


def _process_table(found: Sequence[Measured]) -> list[str]:
    titles = ("start to first action, ms", "import, ms", "load, ms", "memory, MB", "CPU at 50 Hz, %")
    rows = []
    for of in found:
        share = cpu_share(of)
        values = (
            middle(of, lambda start: start.first_action_ms),
            middle(of, lambda start: start.import_ms),
            middle(of, lambda start: start.load_ms),
            middle(of, lambda start: start.rss_mb),
            None if share is None else 100.0 * share,
        )
        cells = (_cell(value, len(title) + 2) for value, title in zip(values, titles, strict=True))
        rows.append(f"{of.name.ljust(_NAME)}{''.join(cells)}")
    return [f"{'process'.ljust(_NAME)}{''.join(title.rjust(len(title) + 2) for title in titles)}", *rows]


def _cell(value: float | None, width: int = _CELL) -> str:
    return ("–" if value is None else f"{value:.3g}" if value < 100.0 else f"{value:.0f}").rjust(width)
