"""The verb `demo`. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb

_REQUIRES = ("torch", "onnx", "onnxscript", "onnxruntime")


def _configure_demo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", default="runs/demo", metavar="FOLDER", help="where everything goes (runs/demo)")
    add("--seed", type=int, default=0, help="of training and evaluation (0)")
    add(
        "--full",
        action="store_true",
        help="train the adaptive, the robust and the oracle policy of both presets, and compare these; twelve minutes",
    )
    add(
        "--quick",
        action="store_true",
        help="hardly any training, and with --full one preset: shows that all parts work, and nothing else",
    )
    add("--json", action="store_true", help="the report as one JSON object on stdout instead of text")


def _demo(args: argparse.Namespace) -> int:
    if args.full:
        from acclimate_demo.full import run_full_demo

        return run_full_demo(args)
    from acclimate_demo.demo import run_demo

    return run_demo(args)


DEMO = Verb(
    "demo",
    "train a policy, and drive simulated servos with it and with others",
    _configure_demo,
    _demo,
    (*_REQUIRES, "matplotlib", "serial", "cobs"),
    "export,serial",
)
