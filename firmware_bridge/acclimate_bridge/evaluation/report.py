"""What an evaluation says: intervals, paired differences, gap closed, tail; as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from acclimate.fields import Json
from acclimate.stats import Interval, mean_interval
from acclimate.task.metrics import described, worse
from acclimate.task.spec import Metric, TaskSpec

from acclimate_bridge.evaluation.evaluation import Results
from acclimate_bridge.evaluation.figures import Figures
from acclimate_bridge.evaluation.rig import GUARDED, PID, PID_TUNED, MachineResult

ALL = "all"
UNADAPTED = "unadapted"
_TENTH = 0.1
_ORDER = {PID: 0, PID_TUNED: 0, "robust": 1, "oracle": 3}  # the others between robust and oracle


class Row(NamedTuple):
    """Means of one controller on one group of machines (or all): the headline metric, and the others by name."""

    group: str
    controller: str
    shots: int
    figure: Interval
    others: dict[str, Interval]


class Comparison(NamedTuple):
    """Mean over machines of a's headline figure less b's on the same machine."""

    group: str
    a: str
    b: str
    shots: int  # that a has had
    difference: Interval


class Tail(NamedTuple):
    """Machines that adaptation has left worse than they were."""

    share_worse: float  # by however little
    worse_by_10_percent: float  # the share of those that are worse by more than a tenth of what they were
    worst: float  # by how much at most; 0 where none is worse
    n: int


def rows(results: Results) -> list[Row]:
    """Every controller on every group of machines and on all of them."""
    return [
        _row(results.task, group, controller, shots, machines)
        for group, machines in groups(results.machines)
        for controller in in_order(results.machines[0].figures)
        for shots in range(controller == GUARDED, len(machines[0].figures[controller]))
    ]


def comparisons(results: Results) -> list[Comparison]:
    """The adapted policy against the unadapted one, the robust one, the PID and the oracle, machine by machine."""
    main, known = results.main, results.machines[0].figures
    return [
        Comparison(group, main, b, shots, mean_interval(_differences(results, machines, b, shots)))
        for group, machines in groups(results.machines)
        for shots in _stages(results)
        for b in (UNADAPTED, "robust", PID, PID_TUNED, "oracle")
        if (shots if b == UNADAPTED else b in known and b != main)
    ]


def gap_closed(results: Results) -> dict[str, float | None]:
    """Share of the gap between robust policy and oracle that adaptation closes, by number of steps.

    None where one of the two is missing, or where the oracle is not better.
    """
    found = {(r.controller, r.shots): r.figure.mean for r in rows(results) if r.group == ALL}
    robust, oracle = found.get(("robust", 0)), found.get(("oracle", 0))
    headline = results.task.headline
    return {str(k): share_closed(headline, robust, found[results.main, k], oracle) for k in _stages(results)}


def share_closed(metric: Metric, robust: float | None, adapted: float, oracle: float | None) -> float | None:
    """(robust − adapted)/(robust − oracle), where that means something."""
    if robust is None or oracle is None or robust == oracle or (oracle > robust) != metric.higher_is_better:
        return None
    return (robust - adapted) / (robust - oracle)


def tail(results: Results, shots: int, controller: str | None = None) -> Tail:
    """After so many steps of the main bundle, or of it as it is guarded."""
    headline, name = results.task.headline, controller or results.main
    sign = -1.0 if headline.higher_is_better else 1.0
    pairs = [(stages[0][headline.name], stages[shots][headline.name]) for stages in _stages_of(results, name)]
    losses = [sign * (after - before) for before, after in pairs]
    by_a_tenth = [worse(headline, before, after) > _TENTH for before, after in pairs]
    n = len(pairs)
    return Tail(sum(loss > 0.0 for loss in losses) / n, sum(by_a_tenth) / n, max(0.0, *losses), n)


def _stages_of(results: Results, controller: str) -> list[tuple[Figures, ...]]:
    return [machine.figures[controller] for machine in results.machines]


def tree(results: Results) -> dict[str, Json]:
    """The JSON form; docs/cli.md documents its fields."""
    family = results.family
    steps = range(1, results.shots + 1)
    left: dict[str, Json] = {
        str(k): {
            **tail(results, k)._asdict(),
            "guarded_worse_by_10_percent": tail(results, k, GUARDED).worse_by_10_percent,
        }
        for k in steps
    }
    return {
        **headline_tree(results.task),
        "rows": [_row_tree(family, row) for row in rows(results)],
        "gap_closed": {family: dict(gap_closed(results))},
        "comparisons": [_comparison_tree(family, c) for c in comparisons(results)],
        "tail": {family: left},
        "seed": results.seed,
        "engine": results.engine,
        "machines": [_machine_tree(machine) for machine in results.machines],
    }


def headline_tree(task: TaskSpec) -> dict[str, Json]:
    """What the figures are."""
    headline = task.headline
    return {
        "metric": headline.name,
        "unit": headline.unit,
        "higher_is_better": headline.higher_is_better,
    }


def table(results: Results) -> list[str]:
    """The same for people: one line per group and controller, then the conclusions."""
    beside = results.task.metrics[1:]
    names = "".join(f"  {metric.name:>{_width(metric)}}" for metric in beside)
    lines = [
        f"{described(results.task.headline)}, {results.family}; mean over machines with 95 % interval",
        "",
        f"{'machine':<14} {'controller':<18} {'steps':>5}  {results.task.headline.name:>9}  {'interval':<20} "
        f"{'n':>4}{names}",
    ]
    single = len({machine.group for machine in results.machines}) == 1
    for group, controller, shots, figure, others in rows(results):
        if group == ALL and single:
            continue
        costs = "".join(f"  {others[m.name].mean:>{_width(m)}.3g}" for m in beside)
        lines.append(
            f"{group:<14} {controller:<18} {shots:>5}  {figure.mean:9.4f}  {interval_of(figure):<20} "
            f"{figure.n:>4}{costs}"
        )
    conclusions = list(_conclusions(results))
    return [*lines, "", *conclusions] if conclusions else lines


def interval_of(figure: Interval) -> str:
    """Such as "0.0100 to 0.0110"."""
    return f"{figure.low:.4f} to {figure.high:.4f}" if figure.n > 1 else "one machine"


def unit_of(metric: Metric) -> str:
    """As it follows a number: with a space, and nothing for a plain number."""
    return "" if metric.unit == "1" else f" {metric.unit}"


def _width(metric: Metric) -> int:
    return max(len(metric.name), 8)


def _conclusions(results: Results) -> Iterator[str]:
    headline = results.task.headline
    unit = unit_of(headline)
    for c in comparisons(results):
        if c.group == ALL:
            d = c.difference
            interval = f" ({d.low:+.4f} to {d.high:+.4f})" if d.n > 1 else ""
            beaten = c.b == "oracle" and d.mean != 0.0 and (d.mean > 0.0) == headline.higher_is_better
            bound = "; better than the oracle, which is therefore no bound" if beaten else ""
            name = f"{c.b} (regret):" if c.b == "oracle" else f"{c.b}:"
            yield f"{_taken('after', c.shots)} against {name:<18} {d.mean:+.4f}{unit}{interval}{bound}"
    for number, closed in gap_closed(results).items():
        if closed is not None:
            yield f"gap between robust policy and oracle closed {_taken('by', int(number))}: {closed:.0%}"
    for shots in range(1, results.shots + 1):
        share, tenth, worst, n = tail(results, shots)
        by = f", {tenth:.1%} by more than a tenth, by at most {worst:.4f}{unit}" if share else ""
        yield f"worse than unadapted {_taken('after', shots)}: {share:.1%} of {n} machines{by}"
    if results.shots:
        _, tenth, worst, _ = tail(results, results.shots, GUARDED)
        by = f", by at most {worst:.4f}{unit}" if worst else ""
        yield f"guarded, worse by more than a tenth {_taken('after', results.shots)}: {tenth:.1%}{by}"


def _taken(word: str, shots: int) -> str:
    return f"{word} {shots} step{'s' if shots > 1 else ''}" if shots else "adapting as it drives"


def _stages(results: Results) -> Sequence[int]:
    """After how many steps the main bundle has adapted: 1, 2, …, or 0 if it adapts as it acts."""
    return (0,) if results.recurrent else range(1, results.shots + 1)


class InGroup(Protocol):
    """A result that belongs to a machine of one group."""

    @property
    def group(self) -> str: ...


M = TypeVar("M", bound=InGroup)


def groups(machines: Sequence[M]) -> Iterator[tuple[str, Sequence[M]]]:
    """Machines by group, then all."""
    for group in dict.fromkeys(m.group for m in machines):
        yield group, [m for m in machines if m.group == group]
    yield ALL, machines


def in_order(controllers: Iterable[str]) -> list[str]:
    """From the classical one to the one that knows everything."""
    return sorted(controllers, key=lambda name: _ORDER.get(name, 2))


def _row(task: TaskSpec, group: str, controller: str, shots: int, machines: Sequence[MachineResult]) -> Row:
    found = {
        metric.name: mean_interval(m.figures[controller][shots][metric.name] for m in machines)
        for metric in task.metrics
    }
    return Row(group, controller, shots, found.pop(task.headline.name), found)


def _differences(results: Results, machines: Sequence[MachineResult], b: str, shots: int) -> list[float]:
    """Headline figure of the policy adapted `shots` times less that of `b`, per machine."""
    main, headline = results.main, results.task.headline.name
    other = main if b == UNADAPTED else b
    return [m.figures[main][shots][headline] - m.figures[other][0][headline] for m in machines]


def _row_tree(family: str, r: Row) -> Json:
    others: dict[str, Json] = {name: dict(interval.as_dict()) for name, interval in r.others.items()}
    return {
        "family": family,
        "machine": r.group,
        "controller": r.controller,
        "shots": r.shots,
        **r.figure.as_dict(),
        "beside": others,
    }


def _comparison_tree(family: str, c: Comparison) -> Json:
    return {
        "family": family,
        "machine": c.group,
        "a": c.a,
        "b": c.b,
        "shots": c.shots,
        **c.difference.as_dict(),
    }


def _machine_tree(m: MachineResult) -> Json:
    figures: dict[str, Json] = {
        name: [dict(figures) for figures in stages] for name, stages in m.figures.items()
    }
    return {
        "machine": m.group,
        "number": m.number,
        "parameters": dict(m.parameters),
        "figures": figures,
        "refusals": list(m.refusals),
    }
