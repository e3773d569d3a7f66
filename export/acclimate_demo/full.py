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
from acclimate_demo.jobs import Iterations, Job, run_jobs
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


def run_full_demo(args: argparse.Namespace) -> int:
    """All of it, into `args.out`; returns 1 where adaptation does not show what it must."""
    begin = time.monotonic()
    seed = at_least("--seed", args.seed, 0)
    devices = 2 if args.quick else 24
    out = Path(args.out)
    cores = usable_cores()
    make_bundles(out, seed, cores, quick=args.quick)
    _drive(out, seed, cores)
    reports = [evaluate_preset(out, preset.name, seed, devices, cores) for preset in PRESETS]
    report = merged(reports) | {"seed": seed, "wall_s": round(time.monotonic() - begin, 1)}
    traces = {f"servo {p.name}": steps_taken(out / p.name / "trial.npz") for p in PRESETS}
    return finish(out, report, traces, as_json=args.json, quick=args.quick)


def _jobs(out: Path, verb: str) -> list[tuple[str, str, Path, Path]]:
    """Preset, kind, run folder and log of all that is trained and exported; what takes longest comes first."""
    pairs = [(preset.name, kind) for kind in KINDS for preset in PRESETS]
    return [(p, k, out / p / k, out / "logs" / f"{verb}_{p}_{k}.txt") for p, k in pairs]


def make_bundles(out: Path, seed: int, cores: int, *, quick: bool = False) -> None:
    """Train and export every policy of every preset into `out`; goes on where it was interrupted."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    _train(out, seed, cores, ("--iterations", "12") if quick else ())
    _export(out, cores, ("--format", "onnx") if quick else ())


def _train(out: Path, seed: int, cores: int, options: tuple[str, ...]) -> None:
    jobs = []
    for preset, kind, run, log in _jobs(out, "train"):
        arguments = ("train", f"servo_{preset}_{kind}", "--out", str(run), "--seed", str(seed), *options)
        jobs.append(Job(f"{preset} {kind}", arguments, log, Iterations(run)))
    run_jobs("training", jobs, cores)


def _export(out: Path, cores: int, options: tuple[str, ...]) -> None:
    jobs = []
    for preset, kind, run, log in _jobs(out, "export"):
        bundle = out / preset / f"{_BUNDLES[kind]}.acclimate"
        jobs.append(Job(f"{preset} {kind}", ("export", str(run), "--out", str(bundle), *options), log))
    run_jobs("exporting", jobs, cores)


def _drive(out: Path, seed: int, cores: int) -> None:
    """One trial of each preset in real time, over the serial protocol, on a device in another process."""
    jobs = []
    with contextlib.ExitStack() as devices:
        for preset in PRESETS:
            folder, log = out / preset.name, out / "logs" / f"run_{preset.name}.txt"
            device = devices.enter_context(simulated_port(*preset.device, "--seed", str(seed)))
            print(f"on the wire: {' '.join(preset.device)} at {device.port}", file=sys.stderr, flush=True)
            arguments = ("run", str(folder / "adaptive.acclimate"), "--port", device.port, "--seed", str(seed),
                         "--record", str(folder / "trial.npz"), "--json")  # fmt: skip
            jobs.append(Job(preset.name, arguments, log, result=folder / RUN))
        run_jobs("adapting in real time", jobs, cores)
    for job in jobs:
        print(f"  {job.title}: {_told(out / job.title / RUN)}", file=sys.stderr, flush=True)


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


def evaluate_preset(out: Path, preset: str, seed: int, devices: int, cores: int) -> dict[str, Json]:
    """The report of `acclimate evaluate` on servos that training never saw."""
    report, log = out / preset / "report.json", out / "logs" / f"evaluate_{preset}.txt"
    arguments = ("evaluate", str(out / preset / "adaptive.acclimate"), "--servo", *SERVOS, "--seed", str(seed),
                 "--machines", str(devices), "--jobs", str(cores), "--output", str(report))  # fmt: skip
    run_jobs(f"evaluating {preset}", [Job(preset, arguments, log)], cores)
    return read_report(report)
