"""The verb `train`: from a config to a run folder, resumable at any moment."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

from acclimate.errors import UsageError

from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import Config, load_config
from acclimate_trainer.runs.reporting import headline
from acclimate_trainer.runs.training_run import train_into


def run_training(args: argparse.Namespace) -> int:
    """Train as `args` say; print where the run is and what it reached."""
    config = _with_options(load_config(find_config(args.config), args.set or ()), args)
    out = Path(args.out) if args.out else Path("runs") / config.name
    begin = time.monotonic()
    run, resumed_from, pace = train_into(out, config, fresh=args.fresh)
    figures = run.recent(config.training.iterations)
    if args.json:
        result = {"run": str(out), "iterations": config.training.iterations, "resumed_from": resumed_from,
                  "wall_s": time.monotonic() - begin, "iterations_per_s": pace.iterations_per_s,
                  "shares": {name.replace(" ", "_").replace("-", "_"): x for name, x in pace.shares.items()},
                  "figures": {k: v if math.isfinite(v) else None for k, v in figures.items()}}  # fmt: skip
        print(json.dumps(result, indent=2))
    else:
        metric = config.opened.family.spec.headline
        shown = ", ".join(f"{name} {value:.4f}" for name, value in headline(figures, metric.name).items())
        unit = metric.unit
        unit = f" {unit}" if unit != "1" and "return" not in shown else ""
        print(f"{out}: {config.algorithm} trained for {config.training.iterations} iterations: {shown}{unit}")
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
