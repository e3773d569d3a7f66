"""What a training run leaves behind, in runs/NAME: everything needed to resume, export and explain it.

config.toml      the resolved config, every default written out
metrics.jsonl    one line per iteration; `seconds` is how long training has taken so far
checkpoint.pt    the newest state of training
classical.json   settings of the family's classical controllers, where it has any
training.png     the curve
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from acclimate.atomic import write_atomically
from acclimate.errors import UsageError

from acclimate_trainer.outer_loop.training import Best, Progress
from acclimate_trainer.runs.configuration import Config, load_config, to_toml

CONFIG, METRICS, CHECKPOINT, CLASSICAL, CURVE = (
    "config.toml",
    "metrics.jsonl",
    "checkpoint.pt",
    "classical.json",
    "training.png",
)


class RunDirectory:
    """Reads and writes one run. Every file is replaced whole, except for metrics, which grow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: Config, *, fresh: bool = False) -> RunDirectory:
        """A new run, or the one that is there if it has the same config.

        Raises UsageError where another config, or something else, is in the way.
        """
        run, text = cls(path), to_toml(config).encode()
        there = path / CONFIG
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file, expected a folder for the run")
        try:
            if not fresh and there.exists() and there.read_bytes() != text:
                raise UsageError(
                    f"{path} holds a run of another config; give --out another folder, or --fresh to begin anew"
                )
            for name in (METRICS, CHECKPOINT, CLASSICAL, CURVE, CONFIG) if fresh else ():
                (path / name).unlink(missing_ok=True)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be made the folder of a run: {error.strerror}") from None
        write_atomically(there, text)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run that exists. Raises UsageError where `path` is not one."""
        if not (path / CONFIG).is_file():
            raise UsageError(f"{path} is not a training run: it has no {CONFIG}; `acclimate train` makes one")
        return cls(path)

    @property
    def config(self) -> Config:
        return load_config(self.path / CONFIG)

    def load(self) -> Progress | None:
        """The newest checkpoint, if there is one. Raises UsageError where it is damaged."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            saved = torch.load(path, weights_only=True)
            best = None if saved["best"] is None else Best(*saved["best"])
            return Progress(saved["iteration"], saved["meta"], saved["optimizer"], best)
        except Exception as error:  # noqa: BLE001  (torch raises many kinds for a damaged file)
            raise UsageError(
                f"{path} cannot be read ({type(error).__name__}); begin anew with --fresh"
            ) from None

    def save(self, progress: Progress) -> None:
        buffer = io.BytesIO()
        meta = {name: value.detach() for name, value in progress.meta.items()}
        best = None if progress.best is None else tuple(progress.best)
        saved = {
            "iteration": progress.iteration, "meta": meta, "optimizer": progress.optimizer, "best": best,
        }  # fmt: skip
        torch.save(saved, buffer)
        write_atomically(self.path / CHECKPOINT, buffer.getvalue())

    def truncate_metrics(self, iteration: int) -> None:
        """Forget the lines after `iteration`: an interruption may have come between them and the checkpoint."""
        kept = [line for line in self.metrics() if line["iteration"] <= iteration]
        write_atomically(self.path / METRICS, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def append_metrics(self, figures: Mapping[str, float]) -> None:
        path = self.path / METRICS
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(figures)) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None

    def metrics(self) -> list[dict[str, float]]:
        """All whole lines; the last may have been cut off. Raises UsageError where another is damaged."""
        path = self.path / METRICS
        if not path.exists():
            return []
        *lines, _ = path.read_bytes().split(b"\n")
        return [_figures(line, f"{path} line {number}") for number, line in enumerate(lines, 1)]

    def seconds(self) -> float:
        """How long training has taken so far, s."""
        lines = self.metrics()
        return lines[-1].get("seconds", 0.0) if lines else 0.0

    def recent(self, until: int, share: float = 0.1) -> dict[str, float]:
        """Means over the last tenth of training up to iteration `until`, of the figures that its end has."""
        lines = [line for line in self.metrics() if line["iteration"] <= until]
        recent = lines[-max(1, round(share * len(lines))) :]
        names = [name for name in recent[-1] if name not in ("iteration", "seconds")] if recent else []
        found = {name: [line[name] for line in recent if name in line] for name in names}
        return {name: sum(values) / len(values) for name, values in found.items()}

    def save_classical(self, settings: Mapping[str, Mapping[str, float]]) -> None:
        table = {name: dict(each) for name, each in settings.items()}
        write_atomically(self.path / CLASSICAL, (json.dumps(table, indent=2) + "\n").encode())

    def classical(self) -> dict[str, dict[str, float]]:
        """Settings of classical controllers by name, as far as they were tuned."""
        path = self.path / CLASSICAL
        if not path.exists():
            return {}
        try:
            table = json.loads(path.read_bytes())
            return {name: {key: float(value) for key, value in each.items()} for name, each in table.items()}
        except (ValueError, TypeError, AttributeError):
            raise UsageError(f"{path} cannot be read; remove it, and they are tuned again") from None


def _figures(line: bytes, where: str) -> dict[str, float]:
    try:
        figures: dict[str, float] = json.loads(line)
        float(figures["iteration"])
        return figures
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{where} cannot be read; remove it, or begin anew with --fresh") from None
