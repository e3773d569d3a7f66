"""Training from Python is training from the command line, and what comes of it says what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import acclimate
import pytest
import torch
from acclimate.command import cli
from acclimate.errors import UsageError
from acclimate_trainer.api import Run, train
from acclimate_trainer.compiled import driving
from acclimate_trainer.runs import training_run
from acclimate_trainer.runs.configuration import Config, parse_config
from acclimate_trainer.runs.run_directory import METRICS, RunDirectory

TREE: Mapping[str, Any] = {
    "name": "small",
    "seed": 1,
    "classical": False,
    "family": {"name": "point_frame"},
    "robust": {"hidden": 4, "episodes": 2, "episode_steps": 10},
    "training": {"iterations": 3, "meta_batch_size": 4},
}
TOML = """
name = "small"
seed = 1
classical = false
family.name = "point_frame"
robust = { hidden = 4, episodes = 2, episode_steps = 10 }
training = { iterations = 3, meta_batch_size = 4 }
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parameters(run: Run | RunDirectory) -> dict[str, torch.Tensor]:
    progress = run.checkpoint if isinstance(run, Run) else run.load()
    assert progress is not None
    return dict(progress.meta)


@pytest.mark.parametrize("kind", ["path", "text", "tree", "config"])
def test_whatever_a_config_comes_as_it_trains_what_the_command_trains(kind: str) -> None:
    Path("small.toml").write_text(TOML)
    assert (
        cli.main(["train", "small.toml", "--out", "by_command", "--seed", "7", "--set", "robust.hidden=6"])
        == 0
    )
    configs: dict[str, str | Path | Mapping[str, Any] | Config] = {
        "path": Path("small.toml"),
        "text": "small.toml",
        "tree": TREE,
        "config": parse_config(TREE, "here"),
    }
    run = train(configs[kind], seed=7, changes={"robust.hidden": 6})
    assert run.path == Path("runs/small")
    commanded = RunDirectory(Path("by_command"))
    assert all(torch.equal(parameters(commanded)[name], value) for name, value in parameters(run).items())
    assert (run.path / "config.toml").read_bytes() == (Path("by_command") / "config.toml").read_bytes()
    assert run.config.tree() == commanded.config.tree()


def test_changes_may_be_texts_or_values_of_any_kind() -> None:
    texts = ["robust.activation=silu", "robust.curriculum=[0.0, 0.5]", "classical=true"]
    values = {"robust.activation": "silu", "robust.curriculum": (0.0, 0.5), "classical": True}
    runs = [train(TREE, out=folder, changes=changes) for folder, changes in (("a", texts), ("b", values))]
    assert runs[0].config.tree() == runs[1].config.tree()
    assert runs[0].config.robust == replace(runs[0].config.robust, activation="silu", curriculum=(0.0, 0.5))  # type: ignore[type-var]


def test_a_run_says_where_it_is_and_what_it_reached() -> None:
    run = train(TREE, iterations=4)
    assert run.config.training.iterations == 4
    assert [line["iteration"] for line in run.metrics] == [1, 2, 3, 4]
    assert run.figures["error"] == run.metrics[-1]["error"]
    assert run.curve.read_bytes().startswith(b"\x89PNG")
    assert os.fspath(run) == "runs/small"
    assert (
        repr(run)
        == f"<Run runs/small: robust on point_frame, 4 iterations: error {run.figures['error']:.4g} m>"
    )


def test_it_goes_on_where_it_was_and_begins_anew_when_told() -> None:
    first = train(TREE)
    seconds = first.metrics[-1]["seconds"]
    assert train(TREE).metrics[-1]["seconds"] == seconds  # nothing left to do
    with pytest.raises(UsageError, match="holds a run of another config"):
        train(TREE, seed=9)
    assert train(TREE, seed=9, fresh=True).config.seed == 9


def test_what_cannot_be_trained_is_refused_before_anything_is_written() -> None:
    for config, changes, sentence in (
        (TREE, {"robust.width": 3}, r"^config: \[robust\] unknown key 'width'"),
        ({**TREE, "robust": 3}, {}, r"^config: \[robust\] must be a section"),
        ("nowhere", {}, "^there is no config 'nowhere'"),
        (TREE, ["robust"], "^--set 'robust' is not SECTION.KEY=VALUE"),
    ):
        with pytest.raises(UsageError, match=sentence):
            train(config, changes=changes)  # type: ignore[arg-type]
    assert list(Path().iterdir()) == []


def test_it_is_at_the_top_of_the_package() -> None:
    assert acclimate.train is train
    assert METRICS in {path.name for path in acclimate.train(TREE).path.iterdir()}


def test_one_training_after_the_other_is_compiled(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only so much that is compiled is kept, and it is not kept for trainings that are over."""
    monkeypatch.setattr(training_run, "_WORTH_IT", 1)
    monkeypatch.setattr(driving, "_MOST_KINDS", 2)
    for hidden in (3, 4, 5):
        train(TREE, out=f"runs/{hidden}", changes={"robust.hidden": hidden})
    assert "is driven by torch and not compiled" not in capfd.readouterr().err
