"""The verb `train`: from a config to a run folder, resumable at any moment."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from acclimate.errors import UsageError

from acclimate_trainer.algorithms.maml.maml import Maml
from acclimate_trainer.algorithms.reactive import Reactive
from acclimate_trainer.algorithms.rl2.ppo import Ppo, PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.algorithms.rl2.servo_ppo import ServoPpo, ServoPpoConfig
from acclimate_trainer.algorithms.rl2.student import Student
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig
from acclimate_trainer.algorithms.successor.objectives import Objectives
from acclimate_trainer.baselines.pid_search import search
from acclimate_trainer.contract.policy import Policy
from acclimate_trainer.outer_loop.training import Algorithm, PerTask, Progress, start, train
from acclimate_trainer.runs.configuration import (
    BanditConfig,
    Config,
    Family,
    FamilyConfig,
    ReacherConfig,
    TabularConfig,
    family_ranges,
    find_config,
    load_config,
)
from acclimate_trainer.runs.curves import draw_curve
from acclimate_trainer.runs.reporting import ProgressBar, headline
from acclimate_trainer.runs.run_directory import CONFIG, CURVE, RunDirectory
from acclimate_trainer.tasks import reacher
from acclimate_trainer.tasks.bandit import BanditFamily
from acclimate_trainer.tasks.servo import ServoFamily
from acclimate_trainer.tasks.tabular import TabularFamily

_SAVE_EVERY = 20.0  # s


def algorithm_of(config: Config) -> Algorithm:
    """What a config trains."""
    if config.successor is not None:
        return on_reacher(config.family, config.successor)
    return _discrete(config.family, config.ppo) if isinstance(config.ppo, PpoConfig) else on_servos(config)


def on_servos(config: Config) -> PerTask | ServoPpo | Objectives:
    """What a config of servos trains: it has a policy for devices. Raises UsageError for another family."""
    family = ServoFamily(family_ranges(config.servos, config.name))
    if config.maml is not None:
        return Maml(family, config.maml)
    if config.rl2 is not None:
        return Rl2(family, config.rl2)
    if config.objectives is not None:
        return Objectives(family, config.objectives)
    if config.student is not None:
        return Student(family, config.student, partial(_teacher, config))
    if isinstance(config.ppo, ServoPpoConfig):
        return ServoPpo(family, config.ppo)
    if config.robust is not None:
        return Reactive(family, config.robust, oracle=False)
    assert config.oracle is not None  # a Config has exactly one of them
    return Reactive(family, config.oracle, oracle=True)


def on_reacher(family: Family, config: SuccessorConfig) -> Successor:
    """Successor features of the targets that a config of the reacher names."""
    assert isinstance(family, ReacherConfig)  # a Config trains nothing else by them
    training, every = len(reacher.TRAINING), reacher.N_FEATURES
    targets = range(training) if family.targets == "training" else range(training, every)
    return Successor(targets, family.episode_steps, config)


def _discrete(family: Family, config: PpoConfig) -> Algorithm:
    if isinstance(family, BanditConfig):
        return Ppo(BanditFamily(family.arms, family.episodes), config)
    assert isinstance(family, TabularConfig)  # a Config trains nothing else by PPO
    return Ppo(TabularFamily(family.episodes), config)


def _teacher(config: Config) -> Policy:
    """The oracle that a student's config names. Raises UsageError where there is none for its family."""
    assert config.student is not None
    path = Path(config.student.teacher)
    if not (path / CONFIG).is_file():
        raise UsageError(
            f"[student] teacher: there is no run {path}; train an oracle first, as in "
            f"acclimate train servo_{config.servos.preset}_oracle"
        )
    run = RunDirectory.open(path)
    taught, progress = run.config, run.load()
    if taught.oracle is None:
        raise UsageError(f"[student] teacher: {path} trained [{taught.algorithm}], expected [oracle]")
    if taught.servos.preset != config.servos.preset:
        raise UsageError(
            f"[student] teacher: {path} knows preset {taught.servos.preset}, expected {config.servos.preset}"
        )
    if progress is None:
        raise UsageError(f"[student] teacher: nothing is trained in {path} yet; `acclimate train` does it")
    family = ServoFamily(family_ranges(taught.servos, str(path)))
    meta = {name: value.detach() for name, value in progress.meta.items()}
    return Reactive(family, taught.oracle, oracle=True).policy(meta)


def run_training(args: argparse.Namespace) -> int:
    """Train as `args` say; print where the run is and what it reached."""
    config = _with_options(load_config(find_config(args.config)), args)
    out = Path(args.out) if args.out else Path("runs") / config.name
    if config.student is not None:
        _teacher(config)  # refused, if at all, before anything is written
    run = RunDirectory.create(out, config, fresh=args.fresh)
    begin = time.monotonic()
    resumed_from = _train(run, config)
    figures = run.recent(config.training.iterations)
    if args.json:
        result = {"run": str(out), "iterations": config.training.iterations, "resumed_from": resumed_from,
                  "wall_s": time.monotonic() - begin,
                  "figures": {k: v if math.isfinite(v) else None for k, v in figures.items()}}  # fmt: skip
        print(json.dumps(result, indent=2))
    else:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in headline(figures).items())
        unit = " rad" if "error" in headline(figures) else ""
        print(f"{out}: {config.algorithm} trained for {config.training.iterations} iterations: {shown}{unit}")
        if isinstance(config.family, FamilyConfig):
            print(f"next: acclimate export {out}")
    return 0


def _with_options(config: Config, args: argparse.Namespace) -> Config:
    for option, value, least in (("--seed", args.seed, 0), ("--iterations", args.iterations, 1)):
        if value is not None and value < least:
            raise UsageError(f"{option} must be at least {least}, found {value}")
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.iterations is not None:
        config = replace(config, training=replace(config.training, iterations=args.iterations))
    return config


def _train(run: RunDirectory, config: Config) -> int:
    """Bring a run to its end; returns the iteration that it went on from."""
    torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it gives
    algorithm = algorithm_of(config)
    if config.pid is not None and run.pid() is None:
        family = ServoFamily(family_ranges(config.servos, config.name))
        found = search(family, config.pid, np.random.default_rng([config.seed, 0, 1]))
        run.save_pid(found.gains, found.error)
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
    draw_curve(run.metrics(), config.name, run.path / CURVE)
    return first


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
