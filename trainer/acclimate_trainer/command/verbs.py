"""The trainer's verbs. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb


def _configure_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "config",
        metavar="CONFIG",
        help="a TOML file, or the name of a built-in config, such as servo_wide_maml",
    )
    add("--out", metavar="FOLDER", help="the run's folder (default: runs/NAME, the config's name)")
    add("--seed", type=int, metavar="N", help="instead of the config's seed")
    add(
        "--seeds",
        type=int,
        metavar="N",
        help="train N times, with that seed and those after it, each in a folder seedS of the run's",
    )
    add("--iterations", type=int, metavar="N", help="instead of the config's iterations")
    add(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="instead of the config's value, as in maml.hidden=64; may be given again",
    )
    add("--fresh", action="store_true", help="begin anew where the folder holds a run")
    add("--json", action="store_true", help="one JSON object on stdout at the end")


def _train(args: argparse.Namespace) -> int:
    from acclimate_trainer.runs.built_in import find_config

    find_config(args.config)  # a wrong name is told before torch is loaded
    from acclimate_trainer.command.train import run_training

    return run_training(args)


TRAIN = Verb("train", "meta-train a policy from a config; resumes where it was interrupted", _configure_train,
             _train, ("torch", "matplotlib"), "train")  # fmt: skip
