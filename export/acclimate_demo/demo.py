"""The verb `demo`: in a few minutes, what all of this is about.

Trains two policies side by side, one that adapts as it drives and one that takes gradient steps, exports them, and
drives simulated servos with them and with bundles that come with Acclimate: in real time behind a pseudo-terminal, then
on many servos that training never saw.
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
from acclimate_demo.jobs import SHORT_TRIAL, Job, beside, run_in_sight, run_jobs
from acclimate_demo.report import merged, read_report
from acclimate_demo.shipped import shipped_bundle
from acclimate_demo.traces import Trace, change_in_mid_drive, steps_taken

SERVOS = ("MX-64", "MX-106", "XL-320")
CHANGE, SECONDS, CHANGE_AT = "polarity", 8, 4  # what happens to the miswired servo on the wire, and when, s
_WIDE = ("--servo", "XL-320", "--drive-gain", "0.3", "--delay", "0.01")
_MISWIRED = ("--servo", "MX-64", "--polarity", "-1", "--delay", "0.01")


class Training(NamedTuple):
    """A built-in config, and for how long it is trained here.

    iterations: None for as many as the config says; by_torch: fewer, where no compiler makes them fast.
    """

    name: str
    config: str
    iterations: int | None
    by_torch: int

    def command(self, plan: Plan) -> tuple[str, ...]:
        number = 2 if plan.quick else self._affordable()
        short = () if number is None else ("--iterations", str(number))
        out = ("--out", str(plan.out / self.name), "--fresh")
        return ("train", self.config, *short, "--seed", str(plan.seed), *out)

    def _affordable(self) -> int | None:
        try:
            find_compiler()
        except EngineError:
            said = f"for {self.by_torch} iterations only, which shows less, since there is no C compiler here"
            print(f"acclimate: {self.config} is trained {said}", file=sys.stderr, flush=True)
            return self.by_torch
        return self.iterations


RL2 = Training("rl2", "servo_demo", None, 400)
MAML = Training("maml", "servo_wide_maml", 600, 150)


class Plan(NamedTuple):
    """Where everything goes, and how much of it there is."""

    out: Path
    seed: int
    machines: int  # of each servo
    cores: int
    quick: bool = False

    def bundle(self, training: Training) -> Path:
        """Of what is trained here."""
        return self.out / f"{training.name}.acclimate"

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
        Contest("miswired", plan.bundle(RL2), _shipped("servo_miswired", "maml", *others)),
        Contest("wide", plan.bundle(MAML), _shipped("servo_wide", "rl2", *others)),
    )


def _shipped(prefix: str, *names: str) -> tuple[Path, ...]:
    return tuple(shipped_bundle(f"{prefix}_{name}") for name in names)


def _train(plan: Plan) -> None:
    """Two policies for real, one of them with the progress bar of `acclimate train`; then their bundles."""
    rl2, maml = (Job(each.name, each.command(plan), plan.log(f"train_{each.name}")) for each in (RL2, MAML))
    with beside("training one that takes gradient steps", maml):
        run_in_sight("training a policy that adapts as it drives", rl2)
    forms = ("--format", "onnx") if plan.quick else ()
    exports = [
        Job(each.name, ("export", str(plan.out / each.name), "--out", str(plan.bundle(each)), *forms),
            plan.log(f"export_{each.name}"))
        for each in (MAML, RL2)
    ]  # fmt: skip
    run_jobs("exporting", exports, plan.cores)


def _drive(plan: Plan) -> dict[str, list[Trace]]:
    """Two servos in real time, over the serial protocol, each in another process; what they did, by preset."""
    paths = {preset: plan.out / f"{preset}.npz" for preset in ("miswired", "wide")}
    change, trial = ("--change", f"{CHANGE}@{CHANGE_AT}"), SHORT_TRIAL if plan.quick else ()
    with _servo(plan, *_MISWIRED, *change) as miswired, _servo(plan, *_WIDE) as wide:
        jobs = [
            _run(plan, "miswired", plan.bundle(RL2), miswired, paths["miswired"], "--seconds", str(SECONDS)),
            _run(plan, "wide", plan.bundle(MAML), wide, paths["wide"], *trial),
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
