"""What a comparison has found: as one JSON object, and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from acclimate.fields import Json
from acclimate.stats import Interval, clustered_interval, mean_interval
from acclimate.task.metrics import worse
from acclimate.task.spec import Metric, TaskSpec

from acclimate_transfer.budget import Affordable
from acclimate_transfer.methods import METHODS
from acclimate_transfer.scoring import Board, Shots
from acclimate_transfer.sets import SETS, TEST

_TENTH = 0.1  # of what it was: worse by more than that counts
_CHATTER = "chatter"


class Entry(NamedTuple):
    """A method: what was trained, and what it did on every set, by training and machine."""

    affordable: Affordable
    tried: int
    board: Board
    scores: Mapping[str, Sequence[Sequence[Shots]]]  # by set: (trainings, machines)

    def figure(self, of_set: str, shots: int, metric: str) -> Interval | None:
        """Over trainings and machines, both drawn anew; of one training over machines. None in a set without any."""
        rows = [[float(m[shots][metric]) for m in row if metric in m[shots]] for row in self.scores[of_set]]
        if not rows or not rows[0]:
            return None
        return mean_interval(rows[0]) if len(rows) == 1 else clustered_interval(rows)

    def left_worse(self, shots: int, metric: Metric) -> float:
        """The share of test machines that are worse by more than a tenth than without a shot."""
        pairs = [(m[0], m[shots]) for row in self.scores[TEST] for m in row]
        return float(np.mean([worse(metric, a[metric.name], b[metric.name]) > _TENTH for a, b in pairs]))


class Comparison(NamedTuple):
    """All of it. left_out: why a method is not among them."""

    source: str
    target: str
    task: TaskSpec
    seed: int
    seeds: int
    machines: int
    shots: tuple[int, ...]
    shot_s: float
    budget: Mapping[str, float]
    entries: Mapping[str, Entry]
    left_out: Mapping[str, str]


def tree(c: Comparison) -> dict[str, Json]:
    """The JSON object."""
    metric = c.task.headline
    methods: dict[str, Json] = {name: _method(c, name, entry) for name, entry in c.entries.items()}
    return {
        "source": c.source,
        "target": c.target,
        "metric": metric.name,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "shot_s": c.shot_s,
        "shots": list(c.shots),
        "seed": c.seed,
        "seeds": c.seeds,
        "machines": c.machines,
        "budget": {**c.budget},
        "methods": methods,
        "left_out": {**c.left_out},
    }


def _method(c: Comparison, name: str, entry: Entry) -> Json:
    board: dict[str, Json] = {**entry.board._asdict()}
    sets: dict[str, Json] = {}
    for of_set in SETS:
        by_metric: dict[str, Json] = {}
        for metric in c.task.metrics:
            found = {str(k): entry.figure(of_set, k, metric.name) for k in c.shots}
            by_metric[metric.name] = {k: None if f is None else {**f.as_dict()} for k, f in found.items()}
        sets[of_set] = by_metric
    return {
        "knows": METHODS[name].knows,
        "needs_reward": METHODS[name].rewarded,
        "settings_of": entry.affordable.tuned or None,
        "parameters": entry.affordable.parameters,
        "samples": entry.affordable.samples,
        "tried": entry.tried,
        "board": board,
        "sets": sets,
        "left_worse": {str(k): entry.left_worse(k, c.task.headline) for k in c.shots if k and 0 in c.shots},
    }


def table(c: Comparison) -> list[str]:
    """A line for each method: the headline in every set after each number of shots; what it costs; what was tried."""
    metric = c.task.headline
    unit = "" if metric.unit == "1" else f" in {metric.unit}"
    shots = "/".join(map(str, c.shots))
    better = "higher" if metric.higher_is_better else "lower"
    columns = [f"{name} {shots}" for name in SETS]
    trainings = f"{c.seeds} trainings" if c.seeds > 1 else "1 training"
    width = max(16, 8 * len(c.shots) + 2)
    lines = [
        f"{c.source} -> {c.target}: {metric.name}{unit} after {shots} shots of {c.shot_s:g} s; {better} is better.",
        f"Means over {c.machines} machines of each set and {trainings}; networks of at most "
        f"{c.budget['parameters']:g} parameters, trained on at most {c.budget['samples'] / 1e6:g} million ticks.",
        "",
        f"{'method':<11} "
        + " ".join(f"{column:<{width}}" for column in columns)
        + "chatter  worse  params  tried",
    ]
    lines += [_line(c, name, entry, width) for name, entry in c.entries.items()]
    lines += ["", *_intervals(c)]
    lines += [f"{name} is left out: {reason}" for name, reason in c.left_out.items()]
    return lines


def _line(c: Comparison, name: str, entry: Entry, width: int) -> str:
    last, metric = c.shots[-1], c.task.headline
    cells = []
    for of_set in SETS:
        figures = [entry.figure(of_set, k, metric.name) for k in c.shots]
        cells.append(" ".join("      –" if f is None else f"{f.mean:7.4f}" for f in figures))
    chatter = entry.figure(TEST, last, _CHATTER) if any(m.name == _CHATTER for m in c.task.metrics) else None
    worse_ = f"{entry.left_worse(last, metric):.0%}" if last and 0 in c.shots else "–"
    shown = "–" if chatter is None else f"{chatter.mean:.3f}"
    return (
        f"{name:<11} " + " ".join(f"{cell:<{width}}" for cell in cells)
        + f"{shown:>7}  {worse_:>5}  {entry.affordable.parameters:>6}  {entry.tried:>5}"
    )  # fmt: skip


def _intervals(c: Comparison) -> Iterator[str]:
    """How sure the headline on the test machines is."""
    yield "Test machines, with 95 % intervals over " + (
        "trainings and machines:" if c.seeds > 1 else "machines of one training:"
    )
    for name, entry in c.entries.items():
        found = [entry.figure(TEST, k, c.task.headline.name) for k in c.shots]
        parts = [f"{f.mean:.4f} ({f.low:.4f} to {f.high:.4f})" for f in found if f is not None]
        yield f"  {name:<11} {'   '.join(parts)}"
