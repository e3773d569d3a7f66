"""The verb `audit`: what a recorded drive says about the machine's wiring, units and signs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from acclimate.bundle.file import load
from acclimate.command.checks import Check, show_checks
from acclimate.control.recording import Record, load_record
from acclimate.errors import UsageError
from acclimate.policy.plausibility import derivatives, reason
from acclimate.policy.record_audit import ANSWERS, Drive, responses, still, swapped
from acclimate.task.spec import TaskSpec

_FITS, _RATIOS = 0.5, (0.8, 1.25)
_VALID = 0.5  # share of the ticks that must be usable


def run_audit(args: argparse.Namespace) -> int:
    """Audit the recording; print the checks."""
    record = load_record(Path(args.record))
    task = load(args.bundle).manifest.task if args.bundle else record.task
    if task is None:
        raise UsageError(f"{args.record} does not say what was recorded; name the bundle with --bundle")
    if record.obs.shape[2] != task.n_obs or record.applied.shape[2] != task.n_act:
        raise UsageError(
            f"{args.record} has {record.obs.shape[2]} observations and {record.applied.shape[2]} actions, expected "
            f"{task.n_obs} and {task.n_act} for {task.name}; name the bundle that was driven with --bundle"
        )
    return show_checks(audit(task, record), as_json=args.json)


def audit(task: TaskSpec, record: Record) -> Iterator[Check]:
    """All checks that the machine's sensors allow."""
    drive = Drive(record.obs, record.applied, record.mask)
    yield _usable(drive)
    yield from _moving(task, drive)
    yield from _velocities(task, drive)
    yield from _answers(task, drive)


def _usable(drive: Drive) -> Check:
    valid = float(np.mean(drive.mask))
    found = f"{valid:.0%} of {drive.mask.size} ticks can be learned from"
    remedy = "look at stale, unusable and slew-limited ticks of the run, and at its link with `acclimate doctor PORT`"
    return Check("usable ticks", found, "" if valid >= _VALID else remedy)


def _moving(task: TaskSpec, drive: Drive) -> Iterator[Check]:
    dead = still(task, drive)
    found = "all sensors change" if not dead else f"{', '.join(c.name for c in dead)} never changes"
    yield Check("sensors", found, "" if not dead else "check that sensor's power and wiring")


def _velocities(task: TaskSpec, drive: Drive) -> Iterator[Check]:
    elsewhere = {pair.velocity.name: best for pair, best in swapped(task, drive)}
    for pair in derivatives(task, drive.obs, drive.mask):
        name = f"{pair.velocity.name} of {pair.position.name}"
        best = elsewhere.get(pair.velocity.name)
        if best is not None:
            yield Check(
                name,
                f"it goes with {best.name}",
                f"the joints are permuted: have the firmware send as {pair.velocity.name} that of {pair.position.name}",
            )
        elif pair.explained < _FITS:
            found = f"it explains {pair.explained:.0%} of how the position changes"
            yield Check(name, found, "measure it from the position, over one control period")
        else:
            wrong = not _RATIOS[0] <= pair.ratio <= _RATIOS[1]
            remedy = f"{reason(pair.ratio)}: correct the firmware's unit or sign" if wrong else ""
            yield Check(name, f"the position changes by {pair.ratio:.3g} times what it says", remedy)


def _answers(task: TaskSpec, drive: Drive) -> Iterator[Check]:
    taken: dict[str, str] = {}
    for each in responses(task, drive):
        name, after = f"answer to {each.action}", each.lag * task.control_dt * 1e3
        if abs(each.correlation) < ANSWERS:
            remedy = "check that actuator's power and wiring; if it hardly moved, record a livelier drive"
            yield Check(name, "no sensor answers to it", remedy)
            continue
        found = (
            f"{each.sensor} turns {'with' if each.correlation > 0.0 else 'against'} it, after {after:.0f} ms "
            f"(correlation {each.correlation:+.2f})"
        )
        twice = taken.setdefault(each.sensor, each.action)
        remedy = (
            "" if twice == each.action else f"so it does to {twice}: are these two actuators swapped or one?"
        )
        yield Check(name, found, remedy)
