"""The verb `evaluate`: from its arguments to a table, and to JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from acclimate.atomic import write_atomically

from acclimate_bridge.evaluation import Plan, evaluate
from acclimate_bridge.evaluation_report import table, tree
from acclimate_bridge.options import at_least, writable
from acclimate_bridge.servo_files import load_servo


def run_evaluation(args: argparse.Namespace) -> int:
    """Evaluate a bundle on the servos named; print the table or one JSON object."""
    output = writable("--output", args.output)
    jobs = at_least("--jobs", (os.cpu_count() or 1) if args.jobs is None else args.jobs, 1)
    plan = Plan(
        bundle=Path(args.bundle),
        servos=tuple(load_servo(name) for name in args.servo),
        against=None if args.against is None else tuple(Path(path) for path in args.against),
        devices=args.devices,
        episodes=args.episodes,
        shots=args.shots,
        seed=args.seed,
        friction=args.friction,
    )
    results = evaluate(plan, jobs, _progress())
    text = json.dumps(tree(results), indent=2)
    if output is not None:
        write_atomically(output, (text + "\n").encode())
    print(text if args.json else "\n".join(table(results)))
    return 0


def _progress() -> Callable[[int, int], None] | None:
    """A counter on one line of a terminal; nothing where stderr is not one."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\r" if done < total else "\r\x1b[K"
        print(f"{done}/{total} devices", end=end, file=sys.stderr, flush=True)

    return show
