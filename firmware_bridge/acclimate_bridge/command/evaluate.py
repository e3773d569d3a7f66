"""The verb `evaluate`: from its arguments to a table, and to JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from acclimate.atomic import write_atomically
from acclimate.bundle.file import load
from acclimate.command.options import at_least, writable
from acclimate.command.results import hand_over
from acclimate.cores import usable_cores
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.json_text import json_text

from acclimate_bridge.evaluation import courses_report, report
from acclimate_bridge.evaluation.courses import SECONDS, Course, evaluate_over_time
from acclimate_bridge.evaluation.evaluation import Fleet, HeldOutFleet, Plan, evaluate_all, usual_engine
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.worlds import remark

_Said: TypeAlias = tuple[dict[str, Json], list[str]]  # as JSON, and for people


def run_evaluation(args: argparse.Namespace) -> int:
    """Evaluate a bundle on the machines meant; print the table or one JSON object."""
    output = writable("--output", args.output)
    jobs = at_least("--jobs", usable_cores() if args.jobs is None else args.jobs, 1)
    if args.family is None and (said := remark(load(args.bundle))):
        print(said, file=sys.stderr, flush=True)
    plan = Plan(
        bundle=Path(args.bundle),
        fleet=_fleet(args),
        against=None if args.against is None else tuple(Path(path) for path in args.against),
        machines=args.machines,
        episodes=args.episodes,
        shots=args.shots,
        seed=args.seed,
        engine=args.engine or usual_engine(),
        tune_pid=args.tune_pid,
    )
    course = _course(args)
    tree, lines = _evaluated(plan, jobs) if course is None else _driven(plan, course, jobs)
    text = json_text(tree)
    hand_over(
        partial(_write, output, text + "\n"),
        lambda: print(text if args.json else "\n".join(lines), flush=True),
    )
    return 0


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        write_atomically(path, text.encode())


def _fleet(args: argparse.Namespace) -> Fleet:
    """The servos that are named, or the held-out machines of the bundle's family."""
    if args.servo is None and args.friction is None and args.outside is None:
        return HeldOutFleet(args.family)
    if args.family is not None:
        raise UsageError("--family and --servo both say which machines; give one of them")
    return ServoFleet.of(args.servo, args.friction, args.outside)


def _course(args: argparse.Namespace) -> Course | None:
    """How to drive, where it is not in episodes. Raises UsageError for options that do not go together."""
    seconds: float | None = args.seconds
    at: float | None = args.change_at
    if at is not None and args.change is None:
        raise UsageError("--change-at says when, and --change what happens: give both")
    if seconds is None and args.change is None:
        return None
    seconds = SECONDS if seconds is None else seconds
    return Course(seconds, args.change, seconds / 2 if at is None else at)


def _evaluated(plan: Plan, jobs: int) -> _Said:
    results = evaluate_all(plan, jobs, _progress())
    return report.tree(results), report.table(results)


def _driven(plan: Plan, course: Course, jobs: int) -> _Said:
    results = evaluate_over_time(plan, course, jobs, _progress())
    return courses_report.tree(results), courses_report.table(results)


def _progress() -> Callable[[int, int], None] | None:
    """A counter on one line of a terminal; nothing where stderr is not one."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\r" if done < total else "\r\x1b[K"
        print(f"{done}/{total} machines", end=end, file=sys.stderr, flush=True)

    return show
