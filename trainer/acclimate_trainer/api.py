"""Training from Python, as easy as from the command line: `acclimate.train("servo_wide_rl2")`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from acclimate_trainer.outer_loop.training import Progress
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import Changes, Config, Tree, load_config, parse_config
from acclimate_trainer.runs.reporting import headline
from acclimate_trainer.runs.run_directory import CURVE, RunDirectory
from acclimate_trainer.runs.training_run import train_into


@dataclass(frozen=True)
class Run:
    """A finished training run: where it is, and what it reached. `acclimate.export` takes it."""

    path: Path
    config: Config
    figures: Mapping[str, float]
    """Means over the last tenth of training."""

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory.open(self.path)

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The figures of every iteration."""
        return self.directory.metrics()

    @property
    def curve(self) -> Path:
        """A picture of the errors, or the returns, over iterations."""
        return self.path / CURVE

    @property
    def checkpoint(self) -> Progress | None:
        """The newest state of training."""
        return self.directory.load()

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        c, metric = self.config, self.config.opened.family.spec.headline
        shown = ", ".join(f"{n} {value:.4g}" for n, value in headline(self.figures, metric.name).items())
        of = "" if metric.unit == "1" else f" {metric.unit}"
        return f"<Run {self.path}: {c.algorithm} on {c.opened.name}, {c.training.iterations} iterations: {shown}{of}>"


def train(
    config: str | Path | Config | Tree,
    *,
    out: str | Path | None = None,
    seed: int | None = None,
    iterations: int | None = None,
    changes: Changes = (),
    fresh: bool = False,
) -> Run:
    """Train by a config, and return the run; goes on where an earlier call was interrupted.

    config: the name of a built-in config, a TOML file, a table like one, or a `Config`.
    out: the run's folder; runs/NAME if left out. changes: as `--set`, {"maml.hidden": 64} or ["maml.hidden=64"].
    fresh: begin anew where the folder holds a run.

    Raises UsageError, in one sentence, for what cannot be trained, before anything is written.
    """
    chosen = _config(config, changes)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    if iterations is not None:
        chosen = replace(chosen, training=replace(chosen.training, iterations=iterations))
    folder = Path("runs") / chosen.name if out is None else Path(out)
    run = train_into(folder, chosen, fresh=fresh).run
    return Run(folder, chosen, run.recent(chosen.training.iterations))


def _config(config: str | Path | Config | Tree, changes: Changes) -> Config:
    if isinstance(config, str | Path):
        return load_config(find_config(str(config)), changes)
    tree = config.tree() if isinstance(config, Config) else config
    return parse_config(tree, "config", Path(), changes)
