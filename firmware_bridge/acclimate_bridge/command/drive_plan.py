"""What `run` is to do where it drives on without a pause: for how long, along what, and what happens on the way."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from acclimate.bundle.manifest import Manifest
from acclimate.errors import UsageError
from acclimate.policy.objectives import features_of
from acclimate.policy.policy import Scope

from acclimate_bridge.command.feeds import STDIN, Columns, Row, is_live, read_file, seconds_of
from acclimate_bridge.command.objectives import ObjectiveAt, asked_for
from acclimate_bridge.command.options import moment

SCOPES: tuple[Scope, ...] = get_args(Scope)
_SHORTEST, _LONGEST = 0.1, 3600.0  # s
_DRY = 5.0  # s of a dry run


class Reset(NamedTuple):
    """What is to be forgotten, and when, in s of driving."""

    scope: Scope
    at: float


class DrivePlan(NamedTuple):
    """For how long to drive, in s, what to reset on the way, and what to drive for.

    seconds:   None where only a person or the end of a stream ends it.
    listen:    take objectives from stdin.
    reference: as `--reference` has it; None for a random one.
    rows:      of a reference that is a file.
    drawn:     whether actions are drawn, at the temperature asked for; else it is driven noise-free.
    """

    seconds: float | None
    resets: tuple[Reset, ...] = ()
    objectives: tuple[ObjectiveAt, ...] = ()
    listen: bool = False
    reference: str | None = None
    rows: tuple[Row, ...] = ()
    drawn: bool = False

    @property
    def streams(self) -> bool:
        """Whether what there is to follow comes in while it drives, or has no end."""
        return self.seconds is None or (self.reference is not None and not self.rows)

    @classmethod
    def of(cls, args: argparse.Namespace, manifest: Manifest) -> DrivePlan | None:
        """As the options of `run` say; None where they mean a trial. Raises UsageError where they contradict."""
        resets = tuple(Reset(*moment("reset", text, "SCOPE", SCOPES)) for text in args.reset or ())
        if args.seconds is None and not (args.forever or args.reference or args.dry_run):
            if resets:
                raise UsageError("--reset needs --seconds; a trial in shots does its own resets")
            if args.listen:
                raise UsageError("--listen needs --seconds; a trial in shots measures one objective")
            return None
        _refuse_contradictions(args)
        rows = _rows(args.reference, manifest)
        seconds = _seconds(args, rows)
        for scope, at in resets:
            if seconds is not None and at >= seconds:
                raise UsageError(f"--reset {scope}@{at:g} comes after the end: --seconds is {seconds:g}")
        if args.listen:
            features_of(manifest)
        asked = asked_for(args.objective, manifest, math.inf if seconds is None else seconds)
        plan = cls(seconds, resets, asked, args.listen, args.reference, rows, args.temperature is not None)
        if plan.drawn and plan.streams:
            raise UsageError(
                "--temperature draws in a drive that has an end and a known reference: give --seconds"
            )
        return plan


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if args.shots is not None or args.episodes is not None:
        raise UsageError(
            "--seconds, --forever, --reference and --dry-run drive on without shots and episodes; leave out --shots "
            "and --episodes"
        )
    if args.forever and args.seconds is not None:
        raise UsageError("--forever and --seconds contradict each other; give one of them")
    if args.forever and args.reference is not None and not is_live(args.reference):
        raise UsageError(f"--forever: {args.reference} has an end; leave out one of them")
    if args.listen and args.reference == STDIN:
        raise UsageError("--listen and --reference - both want stdin; give one of them")
    endless = args.forever or (args.seconds is None and args.reference and is_live(args.reference))
    if args.record is not None and (endless or (args.reference and is_live(args.reference))):
        raise UsageError(
            "--record keeps a drive that has an end and a reference that is known: give --seconds"
        )


def _rows(reference: str | None, manifest: Manifest) -> tuple[Row, ...]:
    if reference is None or is_live(reference):
        return ()
    return tuple(read_file(Path(reference), Columns(manifest.task)))


def _seconds(args: argparse.Namespace, rows: Sequence[Row]) -> float | None:
    """None for a drive without an end."""
    seconds: float | None = args.seconds
    if seconds is None and not args.forever:
        if rows:
            return max(seconds_of(rows), _SHORTEST)
        return None if args.reference else _DRY
    if seconds is not None and not _SHORTEST <= seconds <= _LONGEST:
        raise UsageError(f"--seconds must be from {_SHORTEST:g} to {_LONGEST:g}, found {seconds:g}")
    return seconds
