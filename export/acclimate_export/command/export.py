"""From a run folder to a bundle that was checked before it appears: the verb `export`, and the same for programs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.manifest import QUANTISED
from acclimate.command.options import writable
from acclimate.errors import BundleError
from acclimate.fields import Json
from acclimate.json_text import json_text
from acclimate.policy.trust import trust
from acclimate_trainer.runs.run_directory import RunDirectory

from acclimate_export.bundle.bundling import Parts, make_parts
from acclimate_export.bundle.formats import FORMATS, ONNX, select_forms
from acclimate_export.bundle.trained import Trained, from_run
from acclimate_export.check.loss import Loss
from acclimate_export.check.parity import Parity, compare
from acclimate_export.check.quantisation import check_quantisable, parse_scheme, quantised

# Of bundles whose file is not called by their algorithm.
_NAMES = {"maml": "adaptive", "successor_features": "objectives"}
_INPUTS = 200  # for the check before writing; `acclimate verify` takes more
_WRONG = 1e-3  # a graph that is this far from torch, relatively, is not the same function


@dataclass(frozen=True, repr=False)
class Exported:
    """A bundle that was written; printing it tells what is in it.

    nodes:    of each graph in ONNX.
    facts:    of members beside ONNX, by member: sizes, for one.
    left_out: forms that are not in it, and why.
    parity:   how well its graphs agree with torch.
    loss:     what 8 bits cost, where it is quantised.
    """

    bundle: Bundle
    nodes: Mapping[str, int]
    facts: Mapping[str, Mapping[str, Json]]
    left_out: Mapping[str, str]
    parity: Parity
    loss: Loss | None = None

    @property
    def path(self) -> Path:
        return self.bundle.path

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def forms(self) -> tuple[str, ...]:
        """Those that its graphs are in."""
        return (ONNX, *(name for name in FORMATS if name not in self.left_out))

    def lines(self) -> list[str]:
        """What `acclimate export` prints."""
        m = self.bundle.manifest
        graphs = " and ".join(f"{graph} ({count} nodes)" for graph, count in self.nodes.items())
        seconds = m.window.episodes * m.window.steps * m.control_dt if m.window else 0.0
        learning = (
            [f"from {seconds:g} s of driving, trust radius {m.limits.trust_radius:g}"] if m.window else []
        )
        commands = [f"verify {self.path}", *([] if m.privileged else [f"run {self.path} --port PORT"])]
        return [
            f"{self.path}: {self.size / 1024:.0f} KiB, {m.algorithm} for the family {m.family.name}",
            *_titled("holds", [f"{graphs}, state, golden sequence of {self.bundle.golden.ticks} ticks"]),
            *(f"{member:9} {_facts(facts)}" for member, facts in self.facts.items()),
            *_titled("left out", [f"{name}: {reason}" for name, reason in self.left_out.items()]),
            *_titled("quantised", [str(self.loss)] if self.loss else []),
            *_titled("adapts", learning),
            *_titled("parity", self.parity.lines()),
            *_titled("next", [f"acclimate {command}" for command in commands]),
        ]

    def tree(self) -> dict[str, Json]:
        """As docs/cli.md describes it."""
        m = self.bundle.manifest
        return {
            "bundle": str(self.path),
            "size": self.size,
            "sha256": self.bundle.sha256,
            "name": m.name,
            "algorithm": m.algorithm,
            "family": m.family.name,
            "trust_radius": m.limits.trust_radius,
            "nodes": dict(self.nodes),
            "members": {name: len(content) for name, content in self.bundle.members.items()},
            "facts": {member: dict(facts) for member, facts in self.facts.items()},
            "left_out": dict(self.left_out),
            "quantised": self.loss.tree() if self.loss else None,
            "verify": self.parity.tree(),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        m = self.bundle.manifest
        nodes = ", ".join(f"{graph} of {count} nodes" for graph, count in self.nodes.items())
        return (
            f"<Exported {str(self.path)!r}: {m.algorithm} for {m.family.name}, {nodes}, as {', '.join(self.forms)}, "
            f"{self.size / 1024:.0f} KiB, at most {self.parity.max_rel:.1e} from torch>"
        )


def export(
    run: str | Path,
    out: str | Path | None = None,
    *,
    forms: str | None = None,
    quantize: str | None = None,
    unfinished: bool = False,
) -> Exported:
    """Make a bundle of what a run folder holds, and write it if its graphs compute what torch computes.

    out:        the file to write; RUN/adaptive.acclimate and the like otherwise.
    forms:      of the graphs, with commas between them, as in "onnx,c"; otherwise all that can be made here.
    quantize:   "dynamic" or "int8": 8 bits for the weights of the TFLite form.
    unfinished: also a run whose training is not done.

    Raises UsageError for what cannot be exported, BundleError for graphs that are not the policy's function.
    """
    selection = select_forms(forms)
    scheme = parse_scheme(quantize, selection)
    folder = RunDirectory.open(Path(run))
    torch.set_num_threads(1)  # the same sums in the same order, and so the same bytes
    trained, iteration = from_run(folder, unfinished=unfinished)
    if scheme is not None:
        check_quantisable(trained, scheme)
    algorithm = trained.policy.algorithm
    path = (
        writable("--out", str(out) if out else None)
        or folder.path / f"{_NAMES.get(algorithm, algorithm)}.acclimate"
    )
    figures: dict[str, Json] = {"iterations": iteration, **folder.recent(iteration)}
    plain = selection if scheme is None else selection.without(QUANTISED)
    parts, loss = make_parts(trained, folder.classical(), figures, plain), None
    if scheme is not None:
        parts, loss = quantised(trained, parts, scheme)
    parity = _write(trained, parts, path)
    return Exported(load(path), parts.nodes, parts.facts, parts.left_out, parity, loss)


def run_export(args: argparse.Namespace) -> int:
    """Export as `args` say; print what the bundle is and how well it agrees with torch."""
    exported = export(
        args.run, args.out, forms=args.format, quantize=args.quantize, unfinished=args.unfinished
    )
    _warn_if_unfinished(RunDirectory.open(Path(args.run)), exported.bundle)
    print(json_text(exported.tree()) if args.json else exported)
    return 0


def _warn_if_unfinished(run: RunDirectory, bundle: Bundle) -> None:
    figures, total = bundle.manifest.provenance["figures"], run.config.training.iterations
    assert isinstance(figures, dict)
    if figures["iterations"] != total:
        said = f"{run.path} is exported as it is, at iteration {figures['iterations']} of {total}"
        print(f"acclimate: {said}", file=sys.stderr)


def _write(trained: Trained, parts: Parts, out: Path) -> Parity:
    """Write the bundle, if it computes what torch computes. Raises BundleError where it does not."""
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / out.name
        write_bundle(candidate, parts.manifest, parts.members)
        bundle = load(candidate)
        trust(bundle)  # its C was written here
        parity = compare(trained, bundle, _INPUTS, seed=0)
    if parity.state or parity.golden or not parity.within(_WRONG):
        raise BundleError(f"{out} was not written: {'; '.join(parity.lines())}")
    write_bundle(out, parts.manifest, parts.members)
    return parity


def _titled(title: str, lines: list[str]) -> list[str]:
    """The title before the first line, and as much space before the others."""
    return [f"{title if i == 0 else '':9} {line}" for i, line in enumerate(lines)]


def _facts(facts: Mapping[str, Json]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
