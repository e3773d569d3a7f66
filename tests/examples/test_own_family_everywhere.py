"""A machine of one's own goes through every verb: trained, exported, verified, evaluated and driven on the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acclimate.command.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"
FAMILY = EXAMPLES / "own_family.py"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a policy that is hardly trained."""
    folder = tmp_path_factory.mktemp("diver")
    config, run, bundle = EXAMPLES / "own_family_rl2.toml", folder / "run", folder / "diver.acclimate"
    small = ["--iterations", "2", "--set", "training.meta_batch_size=2"]
    assert main(["train", str(config), "--out", str(run), *small]) == 0
    assert main(["export", str(run), "--out", str(bundle), "--format", "onnx"]) == 0
    return bundle


def test_it_is_verified_with_the_family_s_file(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle), "--family", str(FAMILY)]) == 0
    assert "agrees with torch" in capsys.readouterr().out


def test_it_is_evaluated_on_machines_that_training_never_meets(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--machines", "2", "--episodes", "1", "--jobs", "1", "--engine", "onnxruntime", "--json"]
    assert main(["evaluate", str(bundle), "--family", f"{FAMILY}:DiverFamily", *arguments]) == 0
    text = json.dumps(json.loads(capsys.readouterr().out))
    assert "rl2" in text
    assert "diver" in text


def test_it_drives_a_simulated_diver(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--port", "sim:#2", "--seconds", "1", "--engine", "onnxruntime"]
    assert main(["run", str(bundle), *arguments]) == 0
    assert "simulating diver #2" in "".join(capsys.readouterr())
