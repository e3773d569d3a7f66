"""A family of the user's own is held to the contract before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from acclimate.errors import UsageError
from acclimate_trainer.command.train import train_into
from acclimate_trainer.runs.configuration import load_config

SOUND = """
from dataclasses import dataclass
from acclimate_trainer.tasks.point import PointFrameFamily

@dataclass(frozen=True)
class Mine(PointFrameFamily):
    factor: float = 1.0

    def parameters(self, tasks):
        return self.factor * super().parameters(tasks)
"""
CONFIG = """
name = "mine"
seed = 0
family.use = "mine.py:Mine"
family.options.factor = {factor}
robust = {{ episodes = 1, episode_steps = 5, hidden = 4 }}
training = {{ iterations = 2, meta_batch_size = 2 }}
"""


def train(folder: Path, factor: float) -> Path:
    (folder / "mine.py").write_text(SOUND)
    (folder / "mine.toml").write_text(CONFIG.format(factor=factor))
    run = train_into(folder / "run", load_config(folder / "mine.toml")).run
    return run.path


def test_a_sound_family_is_trained(tmp_path: Path) -> None:
    assert (train(tmp_path, 1.0) / "metrics.jsonl").is_file()


def test_a_broken_family_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"mine.py:Mine: parameters: .* expected its range in spec.parameters"
    ):
        train(tmp_path, 10.0)
    assert not (tmp_path / "run").exists()
