"""The example of a machine of one's own: it keeps the contract, stays short, and its configs train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from acclimate_trainer.command.train import train_into
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.runs.configuration import load_config
from acclimate_trainer.tasks.registry import open_family
from acclimate_trainer.testing import FamilyConformance

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS = sorted(EXAMPLES.glob("own_family*.toml"))


def diver() -> TaskFamily[object]:
    return open_family(None, f"{EXAMPLES / 'own_family.py'}:DiverFamily", {}).family


class TestDiver(FamilyConformance):
    def family(self) -> TaskFamily[object]:
        return diver()


def test_the_file_has_at_most_120_lines() -> None:
    assert len((EXAMPLES / "own_family.py").read_text().splitlines()) <= 120


def test_a_robot_hovers_where_its_thruster_pushes_as_hard_as_it_sinks() -> None:
    family = diver()
    tasks = family.sample(50, np.random.default_rng(0))
    session = family.open(tasks, 1, 30, np.random.default_rng(1))
    _, thrust, _, sinking, wired = family.parameters(tasks).unbind(-1)
    begin = session.obs
    for _ in range(30):
        session.step((-sinking / (wired * thrust)).view(50, 1, 1))
    assert session.obs[..., 1].abs().max() < 1e-3
    assert (session.obs[..., 0] - begin[..., 0]).abs().max() < 0.05  # the gauge's noise


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_its_configs_train(config: Path, tmp_path: Path) -> None:
    """Two iterations of two tasks, from any folder."""
    small = ["training.iterations=2", "training.meta_batch_size=2"]
    loaded = load_config(config, small)
    if loaded.algorithm == "student":
        small.append(f'student.teacher="{teacher(tmp_path)}"')
        loaded = load_config(config, small)
    run, first, _ = train_into(tmp_path / "run", loaded)
    assert first == 0
    assert len(run.metrics()) == 2


def teacher(folder: Path) -> Path:
    """An oracle that has just begun."""
    config = load_config(EXAMPLES / "own_family_oracle.toml", ["training.iterations=1"])
    return train_into(folder / "oracle", config).run.path
