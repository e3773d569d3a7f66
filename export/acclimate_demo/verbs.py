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
        "--quick",
        action="store_true",
        help="hardly any training: shows that all parts work, and nothing else",
    )
    add("--json", action="store_true", help="the report as one JSON object on stdout instead of text")


def _demo(args: argparse.Namespace) -> int:
    from acclimate_demo.demo import run_demo

    return run_demo(args)


DEMO = Verb(
    "demo",
    "train, export, adapt on simulated servos, and compare",
    _configure_demo,
    _demo,
    (*_REQUIRES, "matplotlib", "serial", "cobs"),
    "export,serial",
)
