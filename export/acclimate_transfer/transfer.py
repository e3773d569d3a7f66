"""The verb `transfer`: what methods that were trained on a source know of a target.

Bad input ends it before any training. What was interrupted goes on where it was: trainings are resumed, and scores that
are there already are not made again.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from acclimate.atomic import write_atomically
from acclimate.bundle.file import load
from acclimate.command.options import at_least
from acclimate.cores import usable_cores
from acclimate.errors import UsageError
from acclimate.json_text import json_text
from acclimate.task.spec import Metric

from acclimate_transfer.budget import Affordable, Budget, affordable, unfit
from acclimate_transfer.families import Place, parse_place, require_alike
from acclimate_transfer.kept import keep, kept
from acclimate_transfer.methods import METHODS, Method, chosen
from acclimate_transfer.picture import draw_picture
from acclimate_transfer.report import Comparison, Entry, table, tree
from acclimate_transfer.scoring import Question, Shots, Work, answers, board_of
from acclimate_transfer.sets import SETS, VALIDATION, Sets
from acclimate_transfer.training import FOLDERS, Training, bring_about, trainings_of

REPORT, PICTURE = "report.json", "transfer.png"
SHOTS = (0, 1, 5)  # after which to measure, where nothing else is said
_LINES = 10  # of progress, where it is no terminal


class Counter:
    """How many of some pieces of work are done: one line that changes on a terminal, ten lines elsewhere."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._terminal = title, total, sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        last = done == self._total
        if self._terminal:
            end = "\n" if last else ""
            print(
                f"\r{self._title}: {done} of {self._total} done\x1b[K", end=end, file=sys.stderr, flush=True
            )
        elif last or done % max(1, self._total // _LINES) == 0:
            print(f"{self._title}: {done} of {self._total} done", file=sys.stderr, flush=True)


class Plan(NamedTuple):
    """What is compared, and how."""

    source: Place
    target: Place
    methods: Mapping[str, Method]
    out: Path
    shots: tuple[int, ...]
    shot_s: float | None
    budget: Budget
    machines: int
    seed: int
    seeds: int
    jobs: int

    @property
    def every_seed(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def place(self, method: Method) -> Place:
        return self.target if method.trained_on == "target" else self.source


def run_transfer(args: argparse.Namespace) -> int:
    """All of it, into `args.out`."""
    plan = plan_of(args)
    require_alike(plan.source.family(), plan.target.family())
    going, left_out = _fitting(plan, named=args.methods is not None)
    if args.fresh:
        _forget(plan.out)
    try:
        report = compare(plan._replace(methods=going), left_out)
    except KeyboardInterrupt:
        print(f"{plan.out}: what was made is kept; the same command goes on from there", file=sys.stderr)
        raise
    found = tree(report)
    write_atomically(plan.out / REPORT, (json_text(found) + "\n").encode())
    draw_picture(found, plan.out / PICTURE)
    if args.json:
        print(json_text(found))
    else:
        print(
            "\n".join([*table(report), "", f"report   {plan.out / REPORT}", f"picture  {plan.out / PICTURE}"])
        )
    return 0


def _forget(out: Path) -> None:
    """Remove what a comparison leaves in its folder, and nothing else."""
    for name in FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (REPORT, PICTURE):
        (out / name).unlink(missing_ok=True)


def plan_of(args: argparse.Namespace) -> Plan:
    """Raises UsageError for what cannot be."""
    methods = chosen(args.methods)
    source, target = parse_place(args.source), parse_place(args.target)
    if args.shot_seconds is not None and not 0.0 < args.shot_seconds < float("inf"):
        raise UsageError(f"--shot-seconds must be above 0, found {args.shot_seconds:g}")
    if not args.samples > 0.0:
        raise UsageError(f"--samples must be above 0, found {args.samples:g}")
    name = "_".join(re.sub(r"\W+", "-", place.label) for place in (source, target))
    shots = sorted({at_least("--shots", k, 0) for k in args.shots or SHOTS})
    return Plan(
        source,
        target,
        methods,
        Path(args.out) if args.out else Path("runs/transfer") / name,
        tuple(shots),
        args.shot_seconds,
        Budget(at_least("--parameters", args.parameters, 1), 1e6 * args.samples),
        at_least("--machines", args.machines, 1),
        at_least("--seed", args.seed, 0),
        at_least("--seeds", args.seeds, 1),
        usable_cores() if args.jobs is None else at_least("--jobs", args.jobs, 1),
    )


def _fitting(plan: Plan, *, named: bool) -> tuple[dict[str, Method], dict[str, str]]:
    """The methods that go on these families, and why others do not. Raises UsageError where one was asked for."""
    why = {name: unfit(method, plan.place(method)) for name, method in plan.methods.items()}
    refused = {name: reason for name, reason in why.items() if reason is not None}
    if (named and refused) or len(refused) == len(why):
        name, reason = next(iter(refused.items()))
        fit = ", ".join(n for n, m in METHODS.items() if unfit(m, plan.place(m)) is None) or "none"
        raise UsageError(f"method {name!r} does not go here: {reason}; of the methods, these go: {fit}")
    return {name: method for name, method in plan.methods.items() if name not in refused}, refused


def compare(plan: Plan, left_out: Mapping[str, str]) -> Comparison:
    """Train, choose on validation machines, and judge on all sets."""
    variants = {name: _variants(plan, name, method) for name, method in plan.methods.items()}
    first = _trained(plan, variants, (plan.seed,))
    seconds = plan.shot_s or _longest([t.bundle for t in first])
    best = _choose(plan, first, seconds)
    chosen_ones = {name: {number: variants[name][number]} for name, number in best.items()}
    final = _trained(plan, chosen_ones, plan.every_seed)
    scores = _scores(plan, final, SETS, seconds, "judging")
    entries = {
        name: _entry(variants[name], number, [t for t in final if t.method == name], scores)
        for name, number in best.items()
    }
    return _comparison(plan, seconds, entries, left_out)


def _trained(
    plan: Plan, variants: Mapping[str, Mapping[int, Affordable]], seeds: Sequence[int]
) -> list[Training]:
    """All of these trainings, done."""
    wanted = [t for name, found in variants.items() for t in trainings_of(name, found, seeds, plan.out)]
    bring_about(wanted, plan.jobs)
    return wanted


def _comparison(
    plan: Plan, seconds: float, entries: Mapping[str, Entry], left_out: Mapping[str, str]
) -> Comparison:
    return Comparison(
        source=plan.source.label,
        target=plan.target.label,
        task=plan.target.family().spec,
        seed=plan.seed,
        seeds=plan.seeds,
        machines=plan.machines,
        shots=plan.shots,
        shot_s=seconds,
        budget={"parameters": plan.budget.parameters, "samples": plan.budget.samples},
        entries=entries,
        left_out=left_out,
    )


def _variants(plan: Plan, name: str, method: Method) -> dict[int, Affordable]:
    return {
        number: affordable(name, method, variant, plan.place(method), plan.budget)
        for number, variant in enumerate(method.variants)
    }


def _longest(bundles: Sequence[Path]) -> float:
    """Seconds of the longest window of any method; of an episode where none has one."""
    found = []
    for path in bundles:
        manifest = load(path).manifest
        window, steps = manifest.window, manifest.task.horizon
        ticks = steps if window is None else window.episodes * window.steps
        found.append(ticks * manifest.control_dt)
    return max(found)


def _choose(plan: Plan, trainings: Sequence[Training], seconds: float) -> dict[str, int]:
    """Of each method the settings that do best on validation machines after the last shot."""
    tried = {name: [t for t in trainings if t.method == name] for name in plan.methods}
    several = [t for each in tried.values() if len(each) > 1 for t in each]
    scores = _scores(plan, several, (VALIDATION,), seconds, "choosing on validation machines")
    metric, last = plan.target.family().spec.headline, plan.shots[-1]
    best = {}
    for name, each in tried.items():
        values = {t.variant: _mean(scores[t.title][VALIDATION], last, metric) for t in each if len(each) > 1}
        order = sorted(values, key=lambda v: -values[v] if metric.higher_is_better else values[v])
        best[name] = order[0] if order else each[0].variant
    return best


def _mean(machines: Sequence[Shots], shots: int, metric: Metric) -> float:
    return sum(m[shots][metric.name] for m in machines) / len(machines)


def _scores(
    plan: Plan, trainings: Sequence[Training], sets: Sequence[str], seconds: float, title: str
) -> dict[str, dict[str, list[Shots]]]:
    """By training and set; what is kept from before is not measured again."""
    found: dict[str, dict[str, list[Shots]]] = {}
    work: list[tuple[Training, Work]] = []
    machines = Sets(plan.source, plan.target, plan.seed)
    for t in trainings:
        question = Question(t.bundle, machines, plan.machines, plan.shots, seconds, plan.seed)
        for name in sets:
            before = kept(t.path, name, question)
            if before is None:
                work.append((t, Work(question, name)))
            else:
                found.setdefault(t.title, {})[name] = before

    results = answers([each for _, each in work], plan.jobs, Counter(title, len(work)))
    for (t, each), result in zip(work, results, strict=True):
        keep(t.path, each.of_set, each.question, result)
        found.setdefault(t.title, {})[each.of_set] = result
    return found


def _entry(
    variants: Mapping[int, Affordable],
    number: int,
    trainings: Sequence[Training],
    scores: Mapping[str, Mapping[str, list[Shots]]],
) -> Entry:
    by_set = {name: [scores[t.title][name] for t in trainings] for name in SETS}
    return Entry(variants[number], len(variants), board_of(trainings[0].bundle), by_set)
