"""The runtime's own verbs. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb
from acclimate.command.options import add_trust


def _configure_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="a .acclimate file")
    parser.add_argument(
        "--engine", default="auto", metavar="NAME", help="auto, native, litert or onnxruntime (auto)"
    )
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of text")


def _inspect(args: argparse.Namespace) -> int:
    from acclimate.command.inspection import inspect_bundle

    return inspect_bundle(args)


INSPECT = Verb(
    "inspect", "show what a bundle holds, and check it on this machine", _configure_inspect, _inspect
)


def _configure_bench(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="a .acclimate file")
    add(
        "--only",
        nargs="+",
        metavar="NAME",
        help="measure these only (every engine, and what they compare with)",
    )
    add("--seconds", type=float, default=10.0, metavar="S", help="per engine, graph and pace at 100 Hz (10)")
    add("--plot", metavar="FILE", help="also draw a picture into FILE, an .svg")
    add_trust(parser)
    add("--json", action="store_true", help="one JSON object on stdout instead of tables")


def _bench(args: argparse.Namespace) -> int:
    from acclimate.command.bench.command import run_bench

    return run_bench(args)


BENCH = Verb("bench", "measure a bundle on every engine of this machine", _configure_bench, _bench)


def _configure_audit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("record", metavar="RECORD", help="what `acclimate run --record RECORD` has written")
    add("--bundle", metavar="BUNDLE", help="what was driven, for a recording that does not say so")
    add("--json", action="store_true", help="one JSON object on stdout instead of text")


def _audit(args: argparse.Namespace) -> int:
    from acclimate.command.audit import run_audit

    return run_audit(args)


AUDIT = Verb(
    "audit", "look in a recorded drive for wrong signs, units, joints and lags", _configure_audit, _audit
)
