"""The runtime's own verbs. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.cli import Verb


def _configure_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="a .acclimate file")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of text")


def _inspect(args: argparse.Namespace) -> int:
    from acclimate.inspection import inspect_bundle

    return inspect_bundle(args.bundle, as_json=args.json)


INSPECT = Verb(
    "inspect", "show what a bundle holds, and check it on this machine", _configure_inspect, _inspect
)
