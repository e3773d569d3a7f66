"""The export's verbs. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb

_REQUIRES = ("torch", "onnx", "onnxscript", "onnxruntime")


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="a run folder of `acclimate train`")
    add(
        "--out",
        metavar="FILE",
        help="the bundle to write (RUN/NAME.acclimate; NAME is adaptive, rl2, robust, oracle or objectives)",
    )
    add(
        "--format",
        metavar="LIST",
        help="forms of the graphs, with commas between them: onnx, always in, c and tflite (all that can be made)",
    )
    add(
        "--quantize",
        metavar="SCHEME",
        help="8 bits for the weights of the TFLite form: dynamic or int8 (float32)",
    )
    add("--unfinished", action="store_true", help="export a run whose training is not done")
    add("--json", action="store_true", help="one JSON object on stdout instead of text")


def _export(args: argparse.Namespace) -> int:
    from acclimate_export.graphs.collector import collector_at_rest

    with collector_at_rest():  # also while all that is needed is imported
        from acclimate_export.command.export import run_export

        return run_export(args)


def _configure_verify(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="a .acclimate file")
    add(
        "--run",
        metavar="RUN",
        help="compare with this run's newest checkpoint (with what the bundle itself holds)",
    )
    add(
        "--family",
        metavar="FILE.py",
        help="the file of its family, where that is your own (beside the bundle, or where training had it from)",
    )
    add(
        "--inputs",
        type=int,
        default=1000,
        metavar="N",
        help="ticks for act; adapt gets a tenth as many windows (1000)",
    )
    add("--seed", type=int, default=0, help="of the machines that the inputs come from (0)")
    add("--json", action="store_true", help="one JSON object on stdout instead of text")


def _verify(args: argparse.Namespace) -> int:
    from acclimate_export.command.verify import run_verify

    return run_verify(args)


EXPORT = Verb("export", "make a bundle from a training run", _configure_export, _export, _REQUIRES, "export")
VERIFY = Verb(
    "verify",
    "check a bundle's graphs against its policy in torch",
    _configure_verify,
    _verify,
    _REQUIRES,
    "export",
)
