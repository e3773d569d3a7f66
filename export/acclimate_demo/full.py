"""`acclimate demo --full`: the whole path, by the very commands that a user would type.

Trains the policies of every preset, exports them, adapts on a simulated servo behind a pseudo-terminal in real
time, and evaluates on servos that training never saw.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

from acclimate.command.options import at_least
from acclimate.cores import usable_cores
from acclimate.errors import DeviceFault
from acclimate.fields import Json
from acclimate_bridge.simulation.spawn import simulated_port

from acclimate_demo.finish import finish
from acclimate_demo.jobs import SHORT_TRIAL, Iterations, Job, run_jobs
from acclimate_demo.report import merged, read_report, steps
from acclimate_demo.traces import steps_taken

SERVOS = ("MX-64", "MX-106", "XL-320")
# What is trained for every preset, the longest first, and the bundles' names, by which `evaluate` finds them. The
# oracle is told the true parameters, and has a memory as well.
_BUNDLES = {"maml": "adaptive", "rl2_oracle": "oracle", "robust": "robust"}
RUN = "run.json"  # of each preset, what `run --json` says of the drive on the wire
KINDS = tuple(_BUNDLES)


class Preset(NamedTuple):
    """A preset, and the servo on the wire that it is shown with."""

    name: str
    device: tuple[str, ...]  # arguments of `acclimate simulate`


PRESETS = (
    Preset("wide", ("--servo", "MX-64", "--drive-gain", "0.4", "--delay", "0.015", "--angle", "0.3")),
    Preset("miswired", ("--servo", "XL-320", "--polarity", "-1", "--delay", "0.01", "--angle", "-0.2")),
)


class Plan(NamedTuple):
    """Where everything goes, and how much of it there is."""

    out: Path
    seed: int
    cores: int
    quick: bool

    @property
    def presets(self) -> tuple[Preset, ...]:
        """Quickly, the first one stands for all."""
        return PRESETS[:1] if self.quick else PRESETS

    @property
    def machines(self) -> int:
        """Of each servo."""
        return 1 if self.quick else 24

    def short(self, *options: str) -> tuple[str, ...]:
        """Options that make a command quick."""
        return options if self.quick else ()

    def log(self, name: str) -> Path:
        return self.out / "logs" / f"{name}.txt"


def run_full_demo(args: argparse.Namespace) -> int:
    """All of it, into `args.out`; returns 1 where adaptation does not show what it must.

    Goes on where it was interrupted.
    """
    begin = time.monotonic()
    plan = Plan(Path(args.out), at_least("--seed", args.seed, 0), usable_cores(), args.quick)
    (plan.out / "logs").mkdir(parents=True, exist_ok=True)
    _train(plan)
    _export(plan)
    _drive(plan)
    report = merged([_evaluate(plan, preset.name) for preset in plan.presets])
    report |= {"seed": plan.seed, "wall_s": round(time.monotonic() - begin, 1)}
    traces = {f"servo {p.name}": steps_taken(plan.out / p.name / "trial.npz") for p in plan.presets}
    return finish(plan.out, report, traces, as_json=args.json, quick=plan.quick)


def _runs(plan: Plan) -> list[tuple[str, str, Path]]:
    """Preset, kind and run folder of all that is trained and exported; what takes longest comes first."""
    return [(p.name, kind, plan.out / p.name / kind) for kind in KINDS for p in plan.presets]


def _train(plan: Plan) -> None:
    jobs, short = [], plan.short("--iterations", "2")
    for preset, kind, run in _runs(plan):
        arguments = ("train", f"servo_{preset}_{kind}", "--out", str(run), "--seed", str(plan.seed), *short)
        jobs.append(Job(f"{preset} {kind}", arguments, plan.log(f"train_{preset}_{kind}"), Iterations(run)))
    run_jobs("training", jobs, plan.cores)


def _export(plan: Plan) -> None:
    jobs, short = [], plan.short("--format", "onnx")
    for preset, kind, run in _runs(plan):
        bundle = plan.out / preset / f"{_BUNDLES[kind]}.acclimate"
        arguments = ("export", str(run), "--out", str(bundle), *short)
        jobs.append(Job(f"{preset} {kind}", arguments, plan.log(f"export_{preset}_{kind}")))
    run_jobs("exporting", jobs, plan.cores)


def _drive(plan: Plan) -> None:
    """One trial of each preset in real time, over the serial protocol, on a device in another process."""
    jobs = []
    with contextlib.ExitStack() as devices:
        for preset in plan.presets:
            folder, seed = plan.out / preset.name, ("--seed", str(plan.seed))
            device = devices.enter_context(simulated_port(*preset.device, *seed))
            print(f"on the wire: {' '.join(preset.device)} at {device.port}", file=sys.stderr, flush=True)
            arguments = ("run", str(folder / "adaptive.acclimate"), "--port", device.port, *seed, "--record",
                         str(folder / "trial.npz"), "--json", *plan.short(*SHORT_TRIAL))  # fmt: skip
            jobs.append(Job(preset.name, arguments, plan.log(f"run_{preset.name}"), result=folder / RUN))
        run_jobs("adapting in real time", jobs, plan.cores)
    for job in jobs:
        print(f"  {job.title}: {_told(plan.out / job.title / RUN)}", file=sys.stderr, flush=True)


def _told(result: Path) -> str:
    """What `run --json` printed, in a line."""
    try:
        rows = json.loads(result.read_text(encoding="utf-8"))["rows"]
    except (ValueError, KeyError) as error:
        raise DeviceFault(f"{result} is not what `acclimate run --json` prints ({error})") from None
    return (
        "RMS error after "
        + ", ".join(f"{steps(row['shots'])} {row['figures']['error']:.4f}" for row in rows)
        + " rad"
    )


def _evaluate(plan: Plan, preset: str) -> dict[str, Json]:
    """The report of `acclimate evaluate` on servos that training never saw."""
    report = plan.out / preset / "report.json"
    arguments = ("evaluate", str(plan.out / preset / "adaptive.acclimate"), "--servo", *SERVOS,
                 "--seed", str(plan.seed), "--machines", str(plan.machines), "--jobs", str(plan.cores),
                 "--output", str(report))  # fmt: skip
    run_jobs(f"evaluating {preset}", [Job(preset, arguments, plan.log(f"evaluate_{preset}"))], plan.cores)
    return read_report(report)
