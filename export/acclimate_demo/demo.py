"""The verb `demo`: in a few minutes, what all of this is about.

Trains one policy that adapts as it drives, exports it, and drives simulated servos with it and with bundles that come
with Acclimate: in real time behind a pseudo-terminal, then on many servos that training never saw.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from acclimate.command.options import at_least
from acclimate.cores import usable_cores
from acclimate.engines.c_compiler import find_compiler
from acclimate.errors import EngineError
from acclimate.fields import Json
from acclimate_bridge.simulation.spawn import simulated_port

from acclimate_demo.finish import finish
from acclimate_demo.jobs import SHORT_TRIAL, Job, run_in_sight, run_jobs
from acclimate_demo.report import merged, read_report
from acclimate_demo.shipped import shipped_bundle
from acclimate_demo.traces import Trace, change_in_mid_drive, steps_taken

CONFIG = "servo_demo"
SERVOS = ("MX-64", "MX-106", "XL-320")
CHANGE, SECONDS, CHANGE_AT = "polarity", 8, 4  # what happens to the miswired servo on the wire, and when, s
_WIDE = ("--servo", "XL-320", "--drive-gain", "0.3", "--delay", "0.01")
_MISWIRED = ("--servo", "MX-64", "--polarity", "-1", "--delay", "0.01")
_SLOW = ("--iterations", "400")  # of training, where no compiler makes it fast


class Plan(NamedTuple):
    """Where everything goes, and how much of it there is."""

    out: Path
    seed: int
    machines: int  # of each servo
    cores: int
    quick: bool = False

    @property
    def bundle(self) -> Path:
        """What is trained here."""
        return self.out / "rl2.acclimate"

    def log(self, name: str) -> Path:
        return self.out / "logs" / f"{name}.txt"


class Contest(NamedTuple):
    """One preset: the bundle that it is about, and what that is compared with."""

    preset: str
    bundle: Path
    against: tuple[Path, ...]


def run_demo(args: argparse.Namespace) -> int:
    """All of it, into `args.out`; returns 1 where adaptation does not show what it must."""
    begin = time.monotonic()
    seed, cores = at_least("--seed", args.seed, 0), usable_cores()
    plan = Plan(Path(args.out), seed, 1 if args.quick else 8, cores, args.quick)
    contests = _contests(plan)  # finds out at once whether all bundles are here
    (plan.out / "logs").mkdir(parents=True, exist_ok=True)
    _train(plan)
    traces = _drive(plan)
    report = merged([_evaluate(plan, contest) for contest in contests])
    report |= {"seed": seed, "wall_s": round(time.monotonic() - begin, 1)}
    return finish(plan.out, report, traces, as_json=args.json, quick=args.quick)


def _contests(plan: Plan) -> tuple[Contest, ...]:
    others = ("robust", "rl2_oracle")
    return (
        Contest("miswired", plan.bundle, _shipped("servo_miswired", "maml", *others)),
        Contest("wide", shipped_bundle("servo_wide_maml"), _shipped("servo_wide", "rl2", *others)),
    )


def _shipped(prefix: str, *names: str) -> tuple[Path, ...]:
    return tuple(shipped_bundle(f"{prefix}_{name}") for name in names)


def _train(plan: Plan) -> None:
    """One policy for real, with the progress bar of `acclimate train`; then its bundle."""
    run, short = plan.out / "run", ("--iterations", "8") if plan.quick else _as_long_as_it_should()
    arguments = ("train", CONFIG, "--out", str(run), "--seed", str(plan.seed), "--fresh", *short)
    run_in_sight("training a policy that adapts as it drives", Job("training", arguments, plan.log("train")))
    export = ("export", str(run), "--out", str(plan.bundle), *(("--format", "onnx") if plan.quick else ()))
    run_jobs("exporting", [Job("rl2", export, plan.log("export"))], 1)


def _as_long_as_it_should() -> tuple[str, ...]:
    """Options of training: fewer iterations where there is no C compiler, which makes each twenty times as fast."""
    try:
        find_compiler()
    except EngineError:
        said = f"there is no C compiler here: {_SLOW[1]} iterations instead of thousands, which shows less"
        print(f"acclimate: {said}", file=sys.stderr, flush=True)
        return _SLOW
    return ()


def _drive(plan: Plan) -> dict[str, list[Trace]]:
    """Two servos in real time, over the serial protocol, each in another process; what they did, by preset."""
    paths = {preset: plan.out / f"{preset}.npz" for preset in ("miswired", "wide")}
    change, trial = ("--change", f"{CHANGE}@{CHANGE_AT}"), SHORT_TRIAL if plan.quick else ()
    with _servo(plan, *_MISWIRED, *change) as miswired, _servo(plan, *_WIDE) as wide:
        jobs = [
            _run(plan, "miswired", plan.bundle, miswired, paths["miswired"], "--seconds", str(SECONDS)),
            _run(plan, "wide", shipped_bundle("servo_wide_maml"), wide, paths["wide"], *trial),
        ]
        run_jobs("driving two simulated servos in real time", jobs, len(jobs))
    return {
        "servo miswired": change_in_mid_drive(paths["miswired"], "its wires are swapped", CHANGE_AT),
        "servo wide": steps_taken(paths["wide"]),
    }


@contextlib.contextmanager
def _servo(plan: Plan, *arguments: str) -> Iterator[str]:
    """The port of a simulated servo."""
    with simulated_port(*arguments, "--seed", str(plan.seed)) as device:
        print(f"on the wire: {device.described} at {device.port}", file=sys.stderr, flush=True)
        yield device.port


def _run(plan: Plan, title: str, bundle: Path, port: str, record: Path, *options: str) -> Job:
    arguments = (
        "run",
        str(bundle),
        "--port",
        port,
        "--seed",
        str(plan.seed),
        "--record",
        str(record),
        "--json",
    )
    return Job(title, (*arguments, *options), plan.log(f"run_{title}"))


def _evaluate(plan: Plan, contest: Contest) -> dict[str, Json]:
    """The report of `acclimate evaluate` on servos that training never saw."""
    output, title = plan.out / f"{contest.preset}.json", f"evaluate_{contest.preset}"
    arguments = ("evaluate", str(contest.bundle), "--against", *map(str, contest.against), "--servo", *SERVOS,
                 "--machines", str(plan.machines), "--seed", str(plan.seed), "--jobs", str(plan.cores),
                 "--output", str(output))  # fmt: skip
    run_jobs(f"evaluating on {contest.preset}", [Job(contest.preset, arguments, plan.log(title))], 1)
    return read_report(output)
