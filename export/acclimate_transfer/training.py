"""Trains and exports what is missing of each method, by the very commands that a user would type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from acclimate.atomic import write_atomically
from acclimate.errors import UsageError
from acclimate_demo.jobs import Iterations, Job, run_jobs
from acclimate_trainer.runs.configuration import to_toml
from acclimate_trainer.runs.run_directory import CONFIG, RunDirectory

from acclimate_transfer.budget import Affordable

FOLDERS = ("configs", "logs", "runs")


class Training(NamedTuple):
    """One training of a method: by which settings of those to choose from, and with which seed."""

    method: str
    variant: int
    seed: int
    affordable: Affordable
    folder: Path

    @property
    def title(self) -> str:
        return self.path.name

    @property
    def path(self) -> Path:
        """The run."""
        return self.folder / "runs" / f"{self.method}_{self.variant}_seed{self.seed}"

    @property
    def bundle(self) -> Path:
        return self.path.with_suffix(".acclimate")

    @property
    def text(self) -> str:
        """The resolved config."""
        return to_toml(replace(self.affordable.config, seed=self.seed))

    @property
    def is_trained(self) -> bool:
        """Whether its run has come to its end."""
        if not (self.path / CONFIG).is_file():
            return False
        progress = RunDirectory.open(self.path).load()
        return progress is not None and progress.iteration == self.affordable.config.training.iterations

    def job(self, verb: str) -> Job:
        """`train` or `export`."""
        config = self.folder / "configs" / f"{self.title}.toml"
        log = self.folder / "logs" / f"{verb}_{self.title}.txt"
        arguments = {
            "train": ("train", str(config), "--out", str(self.path)),
            "export": ("export", str(self.path), "--out", str(self.bundle), "--format", "onnx"),
        }
        return Job(self.title, arguments[verb], log, Iterations(self.path) if verb == "train" else str)


def bring_about(trainings: Sequence[Training], jobs: int) -> None:
    """Train and export what is not there yet; what was interrupted goes on.

    Raises UsageError where the folder holds a run of another config, DeviceFault where a command fails.
    """
    for each in trainings:
        _require_same(each)
    missing = [each for each in trainings if not each.bundle.is_file()]
    if not missing:
        return
    folder = missing[0].folder
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for each in missing:
        write_atomically(folder / "configs" / f"{each.title}.toml", each.text.encode())
    run_jobs("training", [each.job("train") for each in missing if not each.is_trained], jobs)
    run_jobs("exporting", [each.job("export") for each in missing], jobs)


def _require_same(each: Training) -> None:
    config = each.path / CONFIG
    if config.is_file() and config.read_text(encoding="utf-8") != each.text:
        raise UsageError(
            f"{each.path} holds a run of another config; give --out another folder, or --fresh to begin anew"
        )


def trainings_of(
    name: str, variants: Mapping[int, Affordable], seeds: Sequence[int], folder: Path
) -> Iterator[Training]:
    """Of a method with these settings, all seeds."""
    for number, affordable in variants.items():
        for seed in seeds:
            yield Training(name, number, seed, affordable, folder)
