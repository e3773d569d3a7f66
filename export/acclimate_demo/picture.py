"""The demo's picture: servos on the wire over time, and every controller on every servo that training never saw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.stats import mean_interval

from acclimate_demo.report import mapping, number, rows_of, steps
from acclimate_demo.traces import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLOURS = {"pid": "#8a929c", "robust": "#b9791f", "maml": "#2f6fb5", "rl2": "#96508f", "oracle": "#3f8f55"}
_ORDER = ("pid", "robust", "maml", "rl2")  # then what is not among them, the oracle last
_UNADAPTED = ("maml",)  # take steps: shown before the first and after the last
_INK, _PALE = "#22272e", "#c9ced4"


class Stage(NamedTuple):
    """A controller, after so many steps, on all machines."""

    name: str
    label: str
    errors: tuple[float, ...]


def draw_picture(shown: Mapping[str, Json], path: Path) -> None:
    """Write a PNG of `shown`: the report of the demo, and its `traces` by family."""
    buffer = io.BytesIO()
    figure_of(shown).savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def figure_of(shown: Mapping[str, Json]) -> Figure:
    """A row for each family: traces on the left, dots on the right."""
    from matplotlib.figure import Figure

    traces = {family: _traces(drives) for family, drives in mapping(shown["traces"]).items()}
    figure = Figure(figsize=(12.5, 4.3 * len(traces)), layout="constrained")
    for row, (family, drives) in zip(
        figure.subfigures(len(traces), 1, squeeze=False)[:, 0], traces.items(), strict=True
    ):
        left, right = row.subfigures(1, 2, width_ratios=(1.25, 1.0))
        _over_time(left, family, drives)
        _dots(right.subplots(), family, stages(shown, family), f"{shown['metric']}, {shown['unit']}")
    return figure


def stages(report: Mapping[str, Json], family: str) -> list[Stage]:
    """All controllers of a family, those that take steps before the first and after the last."""
    machines = [m for m in rows_of(report, "machines") if m["family"] == family]
    metric, found = str(report["metric"]), []
    names = mapping(machines[0]["figures"])
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        last = len(_list(names[name])) - 1
        for k in dict.fromkeys((0, last)):
            errors = (number(mapping(_list(mapping(m["figures"])[name])[k])[metric]) for m in machines)
            label = f"{name}\n{f'after {steps(k)}' if k else 'before'}" if last else name
            found.append(Stage(name, label, tuple(errors)))
    return found


def _over_time(part: SubFigure, family: str, drives: Sequence[Trace]) -> None:
    axes = part.subplots(2, len(drives), squeeze=False, sharex="col", sharey="row", height_ratios=(2, 1))
    part.suptitle(f"{family}: one simulated servo on the wire, in real time", fontsize=10.5, weight="bold")
    for (above, below), trace in zip(axes.T, drives, strict=True):
        time, target, position, action = (
            np.array(values, float) for values in (trace.time, trace.target, trace.position, trace.action)
        )
        above.plot(time, target, color=_INK, lw=1.0, ls=(0, (4, 2)), label="target")
        above.plot(time, position, color=COLOURS["maml"], lw=1.4, label="position")
        above.set_title(trace.title, fontsize=9.5)
        below.plot(time, action, color=COLOURS["robust"], lw=0.9)
        below.set(xlabel="s", ylim=(-1.1, 1.1))
        for ax in (above, below):
            ax.grid(alpha=0.25)
            if trace.mark is not None:
                ax.axvline(trace.mark, color="#c4413b", lw=1.0)
        if trace.mark is not None:
            above.annotate(trace.event, (trace.mark, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -11),
                           textcoords="offset points", fontsize=8.5, color="#c4413b")  # fmt: skip
    axes[0, 0].set_ylabel("position, rad")
    axes[1, 0].set_ylabel("action: duty")
    axes[0, 0].legend(fontsize=8, loc="lower left", ncols=2)


def _dots(axes: Axes, family: str, shown: Sequence[Stage], quantity: str) -> None:
    """A dot per machine; before and after of the same machine are joined."""
    for x, stage in enumerate(shown):
        across = x + 0.5 * (np.arange(len(stage.errors)) / max(len(stage.errors) - 1, 1) - 0.5)
        if x and shown[x - 1].name == stage.name:
            before = shown[x - 1].errors
            axes.plot([across - 1.0, across], [before, stage.errors], color=_PALE, lw=0.6, zorder=1)
        axes.plot(
            across,
            stage.errors,
            "o",
            ms=3.6,
            mew=0,
            color=COLOURS.get(stage.name, _INK),
            alpha=0.75,
            zorder=2,
        )
        whole = mean_interval(stage.errors)
        axes.hlines(whole.mean, x - 0.38, x + 0.38, color=_INK, lw=1.6, zorder=3)
        if whole.n > 1:
            axes.vlines(x, max(whole.low, 1e-9), whole.high, color=_INK, lw=1.6, zorder=3)
    axes.set_xticks(range(len(shown)), [stage.label for stage in shown], fontsize=8.5)
    errors = [error for stage in shown for error in stage.errors]
    axes.set(yscale="log", ylabel=quantity, ylim=(0.6 * min(errors), 1.6 * max(errors)))
    axes.set_title(
        f"{family}: {len(shown[0].errors)} simulated servos that training never saw\n"
        "a dot is one servo; bars are the mean and its 95 % interval",
        fontsize=9.5,
    )
    axes.grid(axis="y", alpha=0.25, which="both")


def _traces(trees: Json) -> list[Trace]:
    return [Trace(**mapping(tree)) for tree in _list(trees)]  # type: ignore[arg-type]  # our own


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value
