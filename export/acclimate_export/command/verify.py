"""A bundle's graphs on each engine that is here against its policy in torch: the verb `verify`, also for programs."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from acclimate.bundle.file import Bundle, load
from acclimate.command.options import at_least
from acclimate.json_text import json_text
from acclimate_trainer.runs.run_directory import RunDirectory

from acclimate_export.bundle.trained import Trained, from_bundle, from_run
from acclimate_export.check.parity import Parity, check_same_state, compare


def verify(
    bundle: str | Path | Bundle,
    run: str | Path | None = None,
    *,
    family: str | Path | None = None,
    inputs: int = 1000,
    seed: int = 0,
) -> Parity:
    """Compare a bundle's graphs with the policy that they were made from.

    run:    take the policy from this run's newest checkpoint, and not from the bundle itself.
    family: the file of the policy's family, where that is the user's and not found by itself.
    inputs: ticks for `act`; `adapt` gets a tenth as many windows. seed: of the machines that the inputs come from.

    Raises BundleError, UsageError and EngineError where there is nothing to compare.
    """
    at_least("--inputs", inputs, 1)
    at_least("--seed", seed, 0)
    torch.set_num_threads(1)
    found = bundle if isinstance(bundle, Bundle) else load(bundle)
    trained = _trained(found, run, family)
    check_same_state(trained, found, str(run or found.path))
    return compare(trained, found, inputs, seed)


def run_verify(args: argparse.Namespace) -> int:
    """Compare as `args` say; 0 where all agrees, 1 where it does not."""
    parity = verify(args.bundle, args.run, family=args.family, inputs=args.inputs, seed=args.seed)
    print(json_text(parity.tree()) if args.json else parity)
    return 0 if parity.ok else 1


def _trained(bundle: Bundle, run: str | Path | None, family: str | Path | None) -> Trained:
    if run is None:
        return from_bundle(bundle, Path(family) if family else None)
    return from_run(RunDirectory.open(Path(run)), unfinished=True)[0]
