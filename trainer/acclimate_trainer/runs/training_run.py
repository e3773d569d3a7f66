"""Bringing a run to its end: with a progress bar, saved as it goes, resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError

from acclimate_trainer.algorithms.distillation.imitation import Imitation
from acclimate_trainer.compiled.driving import compiling, forget, notes
from acclimate_trainer.compiled.stopwatch import STOPWATCH
from acclimate_trainer.contract.family import HasClassical
from acclimate_trainer.outer_loop.training import Algorithm, Progress, TrainingConfig, train
from acclimate_trainer.runs.algorithms import algorithm_of, taught_by, teacher_of
from acclimate_trainer.runs.beginning import beginning
from acclimate_trainer.runs.configuration import Config
from acclimate_trainer.runs.curves import draw_curve
from acclimate_trainer.runs.reporting import Pace, ProgressBar, pace
from acclimate_trainer.runs.run_directory import CURVE, RunDirectory
from acclimate_trainer.tasks.registry import BUILT_IN
from acclimate_trainer.testing import check_family

_SAVE_EVERY = 20.0  # s
_WORTH_IT = 50  # iterations from which a compiler's seconds come back


class Trained(NamedTuple):
    """A run that has come to its end. resumed_from: the iteration that this process went on from."""

    run: RunDirectory
    resumed_from: int
    pace: Pace


def train_into(out: Path, config: Config, *, fresh: bool = False) -> Trained:
    """Bring the run in `out` to its end.

    Raises UsageError for what cannot be trained, before anything is written: a family that comes from elsewhere is
    held to the contract first.
    """
    opened = config.opened
    if opened.use is not None or opened.name not in BUILT_IN:
        check_family(opened.family, Path(opened.use or opened.name).name, quick=True)
    algorithm = algorithm_of(config)
    if taught_by(config):
        teacher_of(config)
    if isinstance(algorithm, Imitation):
        _ = algorithm.recorded
    begun = beginning(config, algorithm)
    run = RunDirectory.create(out, config, fresh=fresh)
    return Trained(run, *_train(run, config, algorithm, begun))


def _train(run: RunDirectory, config: Config, algorithm: Algorithm, fresh: Progress) -> tuple[int, Pace]:
    """Bring a run to its end; returns the iteration that it went on from, and how fast that was."""
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives
    _tune_classical(run, config)
    newest = _begin(run, fresh)
    first = newest.iteration
    run.truncate_metrics(first)
    metric = config.opened.family.spec.headline
    bar = ProgressBar(config.name, config.training.iterations, first, metric.name)
    spent, began = dict(STOPWATCH.seconds), time.monotonic()
    begin, saved = began - run.seconds(), began

    def report(progress: Progress, figures: Mapping[str, float]) -> None:
        nonlocal newest, saved
        seconds = round(time.monotonic() - begin, 3)
        run.append_metrics({"iteration": progress.iteration, "seconds": seconds, **figures})
        newest = progress
        bar.update(progress.iteration, figures)
        for note in notes():
            bar.remark(note)
        if time.monotonic() - saved > _SAVE_EVERY:
            run.save(progress)
            saved = time.monotonic()

    forget()  # what was compiled for other trainings of this process, of which only so much is kept
    try:
        with compiling(is_compiled(config.training)):
            train(algorithm, config.training, config.seed, newest, report)
    except KeyboardInterrupt:
        run.save(newest)
        bar.leave(
            f"{run.path}: saved after iteration {newest.iteration}; the same command goes on from there"
        )
        raise
    run.save(newest)
    draw_curve(run.metrics(), config.name, metric, run.path / CURVE)
    found = pace(newest.iteration - first, time.monotonic() - began, STOPWATCH.since(spent))
    if newest.iteration > first:
        bar.remark(f"{config.name}: {found}")
    return first, found


def is_compiled(config: TrainingConfig) -> bool:
    """Whether roll-outs run as compiled C; by the length of the whole run, so that it matters to none that resumes."""
    return config.compiled and config.iterations >= _WORTH_IT


def _tune_classical(run: RunDirectory, config: Config) -> None:
    """Settings of the family's classical controllers, if it has any, unless they are there already."""
    family = config.opened.family
    if config.classical and isinstance(family, HasClassical) and not run.classical():
        run.save_classical(family.classical(np.random.default_rng([config.seed, 0, 1])))


def _begin(run: RunDirectory, fresh: Progress) -> Progress:
    """The run's checkpoint, or the start. Raises UsageError where this version cannot go on from it."""
    found = run.load()
    if found is None:
        return fresh
    shapes = [{name: value.shape for name, value in p.meta.items()} for p in (fresh, found)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"{run.path} was trained by another version of Acclimate, whose parameters are not those of this "
            "one; begin anew with --fresh"
        )
    return found
