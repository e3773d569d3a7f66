"""The verb `transfer`. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb

_REQUIRES = ("torch", "onnx", "onnxscript", "onnxruntime", "matplotlib", "serial", "cobs")


def _configure_transfer(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    family = "a family, as in servo:preset=wide or robot.py:Arm, or a config, whose [family] counts"
    add("source", metavar="SOURCE", help=f"what is trained on: {family}")
    add(
        "target", metavar="TARGET", help="what is to be driven, named likewise; of the same channels and rate"
    )
    add("--methods", nargs="+", metavar="METHOD", help="some of the methods; all that go if left out")
    add("--out", metavar="FOLDER", help="where everything goes (runs/transfer/SOURCE_TARGET)")
    add(
        "--shots",
        type=int,
        nargs="+",
        metavar="N",
        help="after which shots to measure (0 1 5)",
    )
    add(
        "--shot-seconds",
        type=float,
        metavar="S",
        help="seconds of a shot, the same for all methods (the longest window of any of them, or an episode)",
    )
    add("--parameters", type=int, default=1300, metavar="N", help="most parameters of a network (1300)")
    add(
        "--samples",
        type=float,
        default=20.0,
        metavar="MILLIONS",
        help="control ticks that each method may simulate in training, in millions (20)",
    )
    add("--machines", type=int, default=12, metavar="N", help="machines of each set (12)")
    add("--seed", type=int, default=0, metavar="N", help="of training and evaluation (0)")
    add("--seeds", type=int, default=1, metavar="N", help="trainings of each method (1)")
    add("--jobs", type=int, metavar="N", help="how many processes work at once (as many as cores)")
    add("--fresh", action="store_true", help="begin anew where the folder holds another comparison")
    add("--json", action="store_true", help="the report as one JSON object on stdout instead of a table")


def _transfer(args: argparse.Namespace) -> int:
    from acclimate_transfer.transfer import run_transfer

    return run_transfer(args)


TRANSFER = Verb(
    "transfer",
    "train on one family, drive another: methods compared after 0, 1 and some shots",
    _configure_transfer,
    _transfer,
    _REQUIRES,
    "export,serial",
)
