"""Methods of transfer after 0, 1 and 5 shots, by `acclimate transfer`: the same budget, seconds and machines for all.

Works in runs/bench/transfer_shots, and goes on there where it was interrupted. Which opponents there are on a family,
`transfer` says; how many configurations of each were tried on validation machines is among the figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from acclimate.fields import Json
from acclimate.stats import Interval
from acclimate_demo.jobs import Job, run_in_sight
from acclimate_demo.report import mapping, number

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

FOLDER = Path("runs/bench/transfer_shots")
TEST = "test"
_BOARD = ("bundle_bytes", "state_bytes", "act_us", "adapt_ms", "window_s")


class Transfer(NamedTuple):
    """Source and target, and what each method may use."""

    source: str
    target: str
    parameters: int
    samples: float  # million control ticks
    machines: int
    seeds: int


TRANSFERS: Mapping[str, Transfer] = {
    "servo_wide": Transfer("servo:preset=wide", "servo:preset=wide", 1300, 6.0, 4, 1),
}


def run(seed: int) -> Mapping[str, Figure]:
    """FAMILY.METHOD.shot_K, the headline on test machines, over trainings and machines; FAMILY.METHOD.SET.shot_K on the
    other sets; .chatter after the last shot; .left_worse_K; .tried; .parameters; and what it costs on a board."""
    out: dict[str, Figure] = {}
    shown: dict[str, Json] = {}
    for name, transfer in TRANSFERS.items():
        report = _report(name, transfer, seed)
        shown[name] = {**report}
        for method, entry in mapping(report["methods"]).items():
            found = dict(_figures(mapping(entry), str(report["metric"])))
            out |= {f"{name}.{method}.{measure}": figure for measure, figure in found.items()}
    keep_plot("transfer_shots", shown)
    return out


def _report(name: str, t: Transfer, seed: int) -> Mapping[str, Json]:
    out = FOLDER / f"{name}_{seed}"
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    arguments = (
        "transfer", t.source, t.target, "--parameters", str(t.parameters), "--samples", str(t.samples), "--machines",
        str(t.machines), "--seed", str(seed), "--seeds", str(t.seeds), "--out", str(out),
        "--jobs", "2",
    )  # fmt: skip
    run_in_sight(f"transfer {name}", Job(name, arguments, FOLDER / "logs" / f"{name}_{seed}.txt"))
    report: dict[str, Json] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def _figures(entry: Mapping[str, Json], metric: str) -> Iterator[tuple[str, Figure]]:
    for of_set, by_metric in mapping(entry["sets"]).items():
        for shots, figure in mapping(mapping(by_metric)[metric]).items():
            if figure is not None:
                yield (
                    f"shot_{shots}" if of_set == TEST else f"{of_set}.shot_{shots}",
                    _interval(mapping(figure)),
                )
    chatter = mapping(mapping(mapping(entry["sets"])[TEST]).get("chatter") or {})
    if chatter:
        yield "chatter", _interval(mapping(list(chatter.values())[-1]))
    for shots, share in mapping(entry["left_worse"]).items():
        yield f"left_worse_{shots}", number(share)
    for name in ("tried", "parameters", "samples"):
        yield name, number(entry[name])
    board = mapping(entry["board"])
    for name in _BOARD:
        if board[name] is not None:
            yield name, number(board[name])


def _interval(figure: Mapping[str, Json]) -> Interval:
    mean, low, high = (
        float("nan") if figure[k] is None else number(figure[k]) for k in ("mean", "low", "high")
    )
    return Interval(mean, low, high, int(number(figure["n"])))
