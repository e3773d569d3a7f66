"""The verb `train`: from a config to a run folder, resumable at any moment."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from acclimate.errors import UsageError

from acclimate_trainer.contract.family import HasClassical
from acclimate_trainer.outer_loop.training import Algorithm, Progress, start, train
from acclimate_trainer.runs.algorithms import algorithm_of, teacher_of
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import Config, load_config
from acclimate_trainer.runs.curves import draw_curve
from acclimate_trainer.runs.reporting import ProgressBar, headline
from acclimate_trainer.runs.run_directory import CURVE, RunDirectory
from acclimate_trainer.tasks.registry import BUILT_IN
from acclimate_trainer.testing import check_family

_SAVE_EVERY = 20.0  # s


def run_training(args: argparse.Namespace) -> int:
    """Train as `args` say; print where the run is and what it reached."""
    config = _with_options(load_config(find_config(args.config), args.set or ()), args)
    out = Path(args.out) if args.out else Path("runs") / config.name
    begin = time.monotonic()
    run, resumed_from = train_into(out, config, fresh=args.fresh)
    figures = run.recent(config.training.iterations)
    if args.json:
        result = {"run": str(out), "iterations": config.training.iterations, "resumed_from": resumed_from,
                  "wall_s": time.monotonic() - begin,
                  "figures": {k: v if math.isfinite(v) else None for k, v in figures.items()}}  # fmt: skip
        print(json.dumps(result, indent=2))
    else:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in headline(figures).items())
        unit = config.opened.family.spec.headline.unit
        unit = f" {unit}" if unit != "1" and "return" not in shown else ""
        print(f"{out}: {config.algorithm} trained for {config.training.iterations} iterations: {shown}{unit}")
        print(f"next: acclimate export {out}")
    return 0


def train_into(out: Path, config: Config, *, fresh: bool = False) -> tuple[RunDirectory, int]:
    """Bring the run in `out` to its end; returns it, and the iteration that it went on from.

    Raises UsageError for what cannot be trained, before anything is written: a family that comes from elsewhere is
    held to the contract first.
    """
    if config.opened.use is not None or config.opened.name not in BUILT_IN:
        check_family(config.opened.family, quick=True)
    algorithm = algorithm_of(config)
    if config.student is not None:
        teacher_of(config)
    run = RunDirectory.create(out, config, fresh=fresh)
    return run, _train(run, config, algorithm)


def _with_options(config: Config, args: argparse.Namespace) -> Config:
    for option, value, least in (("--seed", args.seed, 0), ("--iterations", args.iterations, 1)):
        if value is not None and value < least:
            raise UsageError(f"{option} must be at least {least}, found {value}")
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.iterations is not None:
        config = replace(config, training=replace(config.training, iterations=args.iterations))
    return config


def _train(run: RunDirectory, config: Config, algorithm: Algorithm) -> int:
    """Bring a run to its end; returns the iteration that it went on from."""
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives
    _tune_classical(run, config)
    newest = _begin(run, algorithm, config.seed)
    first = newest.iteration
    run.truncate_metrics(first)
    bar = ProgressBar(config.name, config.training.iterations, first)
    saved = time.monotonic()
    begin = saved - run.seconds()

    def report(progress: Progress, figures: Mapping[str, float]) -> None:
        nonlocal newest, saved
        seconds = round(time.monotonic() - begin, 3)
        run.append_metrics({"iteration": progress.iteration, "seconds": seconds, **figures})
        newest = progress
        bar.update(progress.iteration, figures)
        if time.monotonic() - saved > _SAVE_EVERY:
            run.save(progress)
            saved = time.monotonic()

    try:
        train(algorithm, config.training, config.seed, newest, report)
    except KeyboardInterrupt:
        run.save(newest)
        bar.leave(
            f"{run.path}: saved after iteration {newest.iteration}; the same command goes on from there"
        )
        raise
    run.save(newest)
    draw_curve(run.metrics(), config.name, config.opened.family.spec.headline.unit, run.path / CURVE)
    return first


def _tune_classical(run: RunDirectory, config: Config) -> None:
    """Settings of the family's classical controllers, if it has any, unless they are there already."""
    family = config.opened.family
    if config.classical and isinstance(family, HasClassical) and not run.classical():
        run.save_classical(family.classical(np.random.default_rng([config.seed, 0, 1])))


def _begin(run: RunDirectory, algorithm: Algorithm, seed: int) -> Progress:
    """The run's checkpoint, or the start. Raises UsageError where this version cannot go on from it."""
    fresh, found = start(algorithm, seed), run.load()
    if found is None:
        return fresh
    shapes = [{name: value.shape for name, value in p.meta.items()} for p in (fresh, found)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"{run.path} was trained by another version of Acclimate, whose parameters are not those of this "
            "one; begin anew with --fresh"
        )
    return found
