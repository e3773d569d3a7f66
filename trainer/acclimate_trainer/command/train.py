"""The verb `train`: from a config to a run folder, resumable at any moment."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from acclimate.command.options import at_least
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.json_text import json_text
from acclimate.stats import mean_interval
from acclimate.task.spec import Metric

from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import Config, load_config
from acclimate_trainer.runs.reporting import headline
from acclimate_trainer.runs.training_run import train_into

Figures: TypeAlias = Mapping[str, float]


def run_training(args: argparse.Namespace) -> int:
    """Train as `args` say, with one seed or several; print where each run is and what it reached."""
    config = _with_options(load_config(find_config(args.config), args.set or ()), args)
    out = Path(args.out) if args.out else Path("runs") / config.name
    if args.seeds is None:
        tree, _ = _trained(config, out, args)
    else:
        seeds = range(config.seed, config.seed + at_least("--seeds", args.seeds, 1))
        runs = [_trained(replace(config, seed=seed), out / f"seed{seed}", args) for seed in seeds]
        tree = {"runs": [tree for tree, _ in runs]}
        if not args.json:
            print(f"over {len(runs)} seeds: {_over([figures for _, figures in runs], config)}")
    if args.json:
        print(json_text(tree))
    return 0


def _trained(config: Config, out: Path, args: argparse.Namespace) -> tuple[dict[str, Json], Figures]:
    """One run, said in a line or two where it is not JSON that is wanted; and its figures."""
    begin = time.monotonic()
    run, resumed_from, pace = train_into(out, config, fresh=args.fresh)
    figures = run.recent(config.training.iterations)
    if not args.json:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in _judged(figures, config).items())
        print(
            f"{out}: {config.algorithm} trained for {config.training.iterations} iterations: {shown}"
            f"{_unit(config, figures)}"
        )
        print(f"next: acclimate export {out}")
    tree: dict[str, Json] = {
        "run": str(out),
        "iterations": config.training.iterations,
        "resumed_from": resumed_from,
        "wall_s": time.monotonic() - begin,
        "iterations_per_s": pace.iterations_per_s,
        "shares": {re.sub(r"\W", "_", name): share for name, share in pace.shares.items()},
        "figures": {k: v if math.isfinite(v) else None for k, v in figures.items()},
    }
    return tree, figures


def _over(runs: Sequence[Figures], config: Config) -> str:
    """Each headline figure with the interval of its mean over runs, and the worst of them."""
    parts = []
    for name in _judged(runs[0], config):
        values = [figures[name] for figures in runs if name in figures]
        mean = mean_interval(values)
        interval = f" ({mean.low:.4f} to {mean.high:.4f})" if mean.n > 1 else ""
        parts.append(f"{name} {mean.mean:.4f}{interval}, worst {_worst(values, _metric(config)):.4f}")
    return "; ".join(parts) + _unit(config, runs[0])


def _worst(values: Sequence[float], metric: Metric) -> float:
    return min(values) if metric.higher_is_better else max(values)


def _judged(figures: Figures, config: Config) -> Figures:
    return headline(figures, _metric(config).name)


def _metric(config: Config) -> Metric:
    return config.opened.family.spec.headline


def _unit(config: Config, figures: Figures) -> str:
    metric = _metric(config)
    is_return = any(name.startswith("return") for name in _judged(figures, config))
    return "" if metric.unit == "1" or is_return else f" {metric.unit}"


def _with_options(config: Config, args: argparse.Namespace) -> Config:
    for option, value, least in (("--seed", args.seed, 0), ("--iterations", args.iterations, 1)):
        if value is not None and value < least:
            raise UsageError(f"{option} must be at least {least}, found {value}")
    if args.seed is not None:
        config = replace(config, seed=args.seed)
    if args.iterations is not None:
        config = replace(config, training=replace(config.training, iterations=args.iterations))
    return config
