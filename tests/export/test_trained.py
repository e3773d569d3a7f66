"""A policy in torch, rebuilt: what only training has stays with the run that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from acclimate.bundle.file import load
from acclimate.command.cli import main
from acclimate_export.bundle.trained import from_bundle, from_run
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Policy
from acclimate_trainer.outer_loop.training import FOR_TRAINING
from acclimate_trainer.runs.run_directory import RunDirectory

from tests.export import runs


def test_a_policy_trained_by_ppo_is_exported_and_verified_like_any_rl2(
    tmp_path: Path, exported: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs.train(tmp_path, "ppo")
    assert main(["export", str(run)]) == 0
    path = run / "rl2.acclimate"
    assert main(["verify", str(path), "--inputs", "40"]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == said.err.count("tiny_ppo")  # but for training's progress, nothing
    assert "DIFFERS" not in said.out

    by_ppo, by_gradient = load(path), load(exported["rl2"])
    assert by_ppo.manifest.algorithm == "rl2"
    assert by_ppo.manifest.state == by_gradient.manifest.state
    assert by_ppo.manifest.graphs == by_gradient.manifest.graphs
    rebuilt = from_bundle(by_ppo)
    assert isinstance(rebuilt.policy, Rl2Policy)


def test_what_only_training_has_is_in_the_run_alone(tmp_path: Path) -> None:
    run = RunDirectory.open(runs.train(tmp_path, "ppo"))
    progress, (trained, _) = run.load(), from_run(run)
    assert progress is not None
    left = progress.meta.keys() - trained.meta.keys()
    assert left
    assert all(name.startswith(FOR_TRAINING) for name in left)
    assert not any(name.startswith(FOR_TRAINING) for name in trained.policy.initial())
