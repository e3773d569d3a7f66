"""The verb `verify`: the policy in torch against the bundle's graphs on each engine that is here."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from acclimate.bundle.file import load
from acclimate.command.options import at_least
from acclimate.fields import Json
from acclimate_trainer.runs.run_directory import RunDirectory

from acclimate_export.bundle.trained import from_bundle, from_run
from acclimate_export.check.drift import Drift
from acclimate_export.check.parity import LIMIT, Parity, Row, check_same_state, compare


def run_verify(args: argparse.Namespace) -> int:
    """Compare as `args` say; 0 where all agrees, 1 where it does not."""
    inputs, seed = at_least("--inputs", args.inputs, 1), at_least("--seed", args.seed, 0)
    torch.set_num_threads(1)
    bundle = load(args.bundle)
    if args.run is None:
        trained, where = from_bundle(bundle), args.bundle
    else:
        (trained, _), where = from_run(RunDirectory.open(Path(args.run)), unfinished=True), args.run
    check_same_state(trained, bundle, where)
    parity = compare(trained, bundle, inputs, seed)
    print(json.dumps(parity_tree(parity), indent=2) if args.json else "\n".join(described(parity)))
    return 0 if parity.ok else 1


def parity_tree(parity: Parity) -> dict[str, Json]:
    """As docs/cli.md describes it."""
    rows: list[Json] = [
        {
            "engine": row.engine,
            "graph": row.graph,
            "max_abs": _finite(row.max_abs),
            "max_rel": _finite(row.max_rel),
            "tensor": row.tensor,
            "inputs": row.inputs,
            "limit": row.limit,
        }
        for row in parity.rows
    ]
    return {
        "ok": parity.ok,
        "rows": rows,
        "drift": [_drift_tree(drift) for drift in parity.drifts],
        "limit": LIMIT,
        "state": parity.state,
        "golden": parity.golden,
    }


def described(parity: Parity) -> list[str]:
    """A line for every graph, and one for everything else that differs."""
    return [
        *map(_sentence, parity.rows),
        *map(_drift_sentence, parity.drifts),
        *(text for text in (parity.state, parity.golden) if text),
    ]


def _sentence(row: Row) -> str:
    near = "agrees with torch" if row.limit == LIMIT else "is quantised, and near torch"
    verdict = near if row.ok else "DIFFERS from torch"
    what = "ticks" if row.graph == "act" else "windows"
    return (
        f"{row.graph} on {row.engine} {verdict}: at most {row.max_rel:.1e} relative, in {row.tensor!r} "
        f"(limit {row.limit:g}, {row.inputs} {what})"
    )


def _drift_sentence(drift: Drift) -> str:
    verdict = "remembers what torch does" if drift.ok else "DRIFTS away from torch"
    return (
        f"act on {drift.engine} {verdict} over {drift.ticks} consecutive ticks: at most {drift.max_rel:.1e} relative, "
        f"in {drift.tensor!r} (limit {drift.limit:g})"
    )


def _drift_tree(drift: Drift) -> Json:
    return {
        "engine": drift.engine,
        "max_abs": _finite(drift.max_abs),
        "max_rel": _finite(drift.max_rel),
        "tensor": drift.tensor,
        "ticks": drift.ticks,
        "limit": drift.limit,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
