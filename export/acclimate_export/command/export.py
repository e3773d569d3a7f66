"""The verb `export`: from a run folder to a bundle that was checked before it appears."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.manifest import QUANTISED
from acclimate.command.options import writable
from acclimate.errors import BundleError
from acclimate.fields import Json
from acclimate_trainer.runs.run_directory import RunDirectory

from acclimate_export.bundle.bundling import Parts, make_parts
from acclimate_export.bundle.formats import parse_formats
from acclimate_export.bundle.trained import Trained, from_run
from acclimate_export.check.parity import Parity, compare
from acclimate_export.check.quantisation import Loss, check_quantisable, parse_scheme, quantised
from acclimate_export.check.quantisation import described as loss_described
from acclimate_export.command.verify import described, parity_tree

# Of bundles whose file is not called by their algorithm.
_NAMES = {"maml": "adaptive", "successor_features": "objectives"}
_INPUTS = 200  # for the check before writing; `acclimate verify` takes more
_WRONG = 1e-3  # a graph that is this far from torch, relatively, is not the same function


def run_export(args: argparse.Namespace) -> int:
    """Export as `args` say; print what the bundle is and how well it agrees with torch."""
    formats = parse_formats(args.format)
    scheme = parse_scheme(args.quantize, formats)
    run = RunDirectory.open(Path(args.run))
    torch.set_num_threads(1)  # the same sums in the same order, and so the same bytes
    trained, iteration = from_run(run, unfinished=args.unfinished)
    if scheme is not None:
        check_quantisable(trained, scheme)
    default = run.path / f"{_NAMES.get(trained.policy.algorithm, trained.policy.algorithm)}.acclimate"
    out = writable("--out", args.out) or default
    _warn_if_unfinished(run, iteration)
    figures: dict[str, Json] = {"iterations": iteration, **run.recent(iteration)}
    loss = None
    if scheme is None:
        parts = make_parts(trained, run.classical(), figures, formats)
    else:
        others = [name for name in formats if name != QUANTISED]
        parts, loss = quantised(trained, make_parts(trained, run.classical(), figures, others), scheme)
    parity = _write(trained, parts, out)
    bundle = load(out)
    print(
        json.dumps(_tree(bundle, parts, parity, loss), indent=2)
        if args.json
        else "\n".join(_lines(bundle, parts, parity, loss))
    )
    return 0


def _warn_if_unfinished(run: RunDirectory, iteration: int) -> None:
    total = run.config.training.iterations
    if iteration < total:
        print(
            f"acclimate: {run.path} is exported as it is, at iteration {iteration} of {total}",
            file=sys.stderr,
        )


def _write(trained: Trained, parts: Parts, out: Path) -> Parity:
    """Write the bundle, if it computes what torch computes. Raises BundleError where it does not."""
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        write_bundle(candidate, parts.manifest, parts.members)
        parity = compare(trained, load(candidate), _INPUTS, seed=0)
    if parity.state or parity.golden or not parity.within(_WRONG):
        raise BundleError(f"{out} was not written: {'; '.join(described(parity))}")
    write_bundle(out, parts.manifest, parts.members)
    return parity


def _lines(bundle: Bundle, parts: Parts, parity: Parity, loss: Loss | None) -> list[str]:
    m, size = bundle.manifest, bundle.path.stat().st_size
    graphs = " and ".join(f"{graph} ({count} nodes)" for graph, count in parts.nodes.items())
    seconds = m.window.episodes * m.window.steps * m.control_dt if m.window else 0.0
    learning = (
        [f"adapts    from {seconds:g} s of driving, trust radius {m.limits.trust_radius:g}"]
        if m.window
        else []
    )
    drive = [] if m.privileged else [f"          acclimate run {bundle.path} --port PORT"]
    return [
        f"{bundle.path}: {size / 1024:.0f} KiB, {m.algorithm} for {m.family.name}s, "
        f"preset {m.family.options['preset']}",
        f"holds     {graphs}, state, golden sequence of {bundle.golden.ticks} ticks",
        *(f"{member:9} {_facts(facts)}" for member, facts in parts.facts.items()),
        *([f"quantised {loss_described(loss)}"] if loss else []),
        *learning,
        *(f"parity    {line}" for line in described(parity)),
        f"next      acclimate verify {bundle.path}",
        *drive,
    ]


def _facts(facts: Mapping[str, Json]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def _tree(bundle: Bundle, parts: Parts, parity: Parity, loss: Loss | None) -> dict[str, Json]:
    sizes: dict[str, Json] = {name: len(content) for name, content in bundle.members.items()}
    return {
        "bundle": str(bundle.path),
        "size": bundle.path.stat().st_size,
        "sha256": bundle.sha256,
        "name": bundle.manifest.name,
        "algorithm": bundle.manifest.algorithm,
        "preset": bundle.manifest.family.options["preset"],
        "trust_radius": bundle.manifest.limits.trust_radius,
        "nodes": dict(parts.nodes),
        "members": sizes,
        "facts": {member: dict(facts) for member, facts in parts.facts.items()},
        "quantised": loss.tree() if loss else None,
        "verify": parity_tree(parity),
    }
