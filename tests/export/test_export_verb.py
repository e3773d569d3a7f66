"""`acclimate export`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from acclimate.bundle.file import load
from acclimate.command.cli import main
from acclimate_trainer.runs.run_directory import CHECKPOINT, CONFIG, RunDirectory


@pytest.fixture
def run(trained_runs: Mapping[str, Path], tmp_path: Path) -> Path:
    """A copy of the robust run, to do things to."""
    return Path(
        shutil.copytree(
            trained_runs["robust"], tmp_path / "run", ignore=shutil.ignore_patterns("*.acclimate")
        )
    )


def _refusal(capsys: pytest.CaptureFixture[str], run: Path, *options: str) -> str:
    """The one sentence; nothing else may be said, and nothing written."""
    before = sorted(run.parent.rglob("*"))
    assert main(["export", str(run), *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("acclimate: ")
    assert said.err.count("\n") == 1
    assert sorted(run.parent.rglob("*")) == before
    return said.err


def _set_iterations(run: Path, iterations: int) -> None:
    config = run / CONFIG
    text = config.read_text(encoding="utf-8")
    assert "iterations = 2\n" in text
    config.write_text(text.replace("iterations = 2\n", f"iterations = {iterations}\n"), encoding="utf-8")


def test_it_tells_what_it_made(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--format", "onnx,c"]) == 0
    said, path = capsys.readouterr(), run / "robust.acclimate"
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert "robust for the family servo" in lines[0]
    assert "golden sequence of 50 ticks" in said.out
    assert "act on onnxruntime agrees with torch" in said.out
    assert "left out  tflite: it was not asked for" in said.out
    assert f"acclimate verify {path}" in said.out
    assert f"acclimate run {path} --port" in said.out
    assert load(path).manifest.name == "tiny_robust"


def test_an_oracle_is_not_offered_to_be_run(
    trained_runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "o.acclimate")
    assert main(["export", str(trained_runs["oracle"]), "--format", "onnx", "--out", out]) == 0
    assert "acclimate run" not in capsys.readouterr().out


def test_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "here.acclimate"
    assert main(["export", str(run), "--format", "onnx", "--out", str(out), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    bundle = load(out)
    assert tree["bundle"] == str(out)
    assert tree["size"] == out.stat().st_size
    assert tree["sha256"] == bundle.sha256
    assert (tree["name"], tree["algorithm"], tree["family"]) == ("tiny_robust", "robust", "servo")
    assert tree["members"] == {name: len(content) for name, content in bundle.members.items()}
    assert 15 < tree["nodes"]["act"] < 40
    assert tree["verify"]["ok"] is True
    assert not (run / "robust.acclimate").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty is not a training run: it has no config.toml" in _refusal(capsys, tmp_path / "empty")


def test_a_run_without_a_checkpoint_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / CHECKPOINT).unlink()
    assert f"{run} has no checkpoint.pt: nothing is trained there yet" in _refusal(capsys, run)


def test_an_unfinished_run_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _set_iterations(run, 5)
    sentence = _refusal(capsys, run)
    assert f"{run} is at iteration 2 of 5" in sentence
    assert "--unfinished" in sentence


def test_an_unfinished_run_is_exported_where_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _set_iterations(run, 5)
    assert main(["export", str(run), "--unfinished", "--format", "onnx", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == f"acclimate: {run} is exported as it is, at iteration 2 of 5\n"
    figures = load(json.loads(said.out)["bundle"]).manifest.provenance["figures"]
    assert isinstance(figures, dict)
    assert figures["iterations"] == 2


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_damaged_checkpoint_is_refused(run: Path, keep: int, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = run / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    assert f"{checkpoint} " in _refusal(capsys, run)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("w1", torch.zeros(8, 9), "'w1' is a tensor of shape [8, 9], expected a tensor of shape [8, 8]"),
        ("w9", torch.zeros(8), "'w9' is a tensor of shape [8], expected absent"),
        ("w1", torch.full((8, 8), torch.nan), "'w1' holds values that are not finite"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    run: Path, name: str, value: torch.Tensor, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = RunDirectory.open(run).load()
    assert progress is not None
    progress.meta[name] = value
    RunDirectory.open(run).save(progress)
    assert f"{run / CHECKPOINT}: meta-parameter {sentence}" in _refusal(capsys, run)


def test_a_damaged_config_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / CONFIG).write_text("name = ", encoding="utf-8")
    assert f"{run / CONFIG} is not valid TOML" in _refusal(capsys, run)


def test_a_folder_for_the_bundle_that_is_not_there_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "x.acclimate"
    assert f"--out {out}: the folder {out.parent} does not exist" in _refusal(capsys, run, "--out", str(out))


def test_a_bundle_that_is_not_the_policy_is_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A golden sequence that the graphs do not give, as where a graph was traced wrongly."""
    from acclimate_export.bundle import bundling

    record = bundling.record_golden

    def wrong(trained: bundling.Trained) -> bundling.Golden:
        golden = record(trained)
        golden.action[3] += 0.01
        return golden

    monkeypatch.setattr(bundling, "record_golden", wrong)
    sentence = _refusal(capsys, run, "--format", "onnx")
    assert f"{run / 'robust.acclimate'} was not written: " in sentence
    assert "golden check of act: 'action'" in sentence


def test_graphs_far_from_torch_are_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("acclimate_export.command.export._WRONG", 0.0)
    assert "was not written: act on onnxruntime agrees" in _refusal(capsys, run, "--format", "onnx")
