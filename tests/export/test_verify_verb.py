"""`acclimate verify`: exit codes, the JSON object, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.command.cli import main

from tests.export import broken
from tests.runtime.bundles import write_tiny

FEW = ("--inputs", "40")
ENGINES = ("native", "litert", "onnxruntime")


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["verify", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("acclimate: ")
    assert said.err.count("\n") == 1
    return said.err


def test_a_bundle_suffices(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle.path), *FEW]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    graphs = [line.split()[0] for line in said.out.splitlines()]
    each = ["act", "adapt"] if bundle.manifest.graphs.adapt else ["act"]
    remembers = bundle.manifest.algorithm in ("rl2", "successor_features")
    assert graphs == 3 * each + (3 * ["act"] if remembers else [])
    assert "DIFFERS" not in said.out


def test_json(adaptive: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(adaptive.path), *FEW, "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["ok"] is True
    assert [(row["engine"], row["graph"]) for row in tree["rows"]] == [
        (engine, graph) for engine in ENGINES for graph in ("act", "adapt")
    ]
    assert all(0.0 < row["max_rel"] <= 1e-5 for row in tree["rows"])
    assert all(row["max_abs"] > 0.0 for row in tree["rows"])
    assert [row["inputs"] for row in tree["rows"]] == 3 * [40, 4]
    assert tree["drift"] == []  # it remembers nothing but its last action
    assert (tree["limit"], tree["state"], tree["golden"], tree["family"]) == (1e-5, "", "", "")
    assert tree["unchecked"] == {}


def test_json_of_a_policy_that_remembers(
    exported: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(exported["rl2"]), *FEW, "--json"]) == 0
    drifts = json.loads(capsys.readouterr().out)["drift"]
    assert [drift["engine"] for drift in drifts] == list(ENGINES)
    for drift in drifts:
        assert drift["ticks"] == 1000
        assert 0.0 < drift["max_rel"] <= 1e-4
        assert drift["tensor"] in ("action", "hidden", "previous_action")


def test_a_thousand_inputs_agree(adaptive: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(adaptive.path), "--json"]) == 0
    assert [row["inputs"] for row in json.loads(capsys.readouterr().out)["rows"]] == 3 * [1000, 100]


def test_a_broken_weight_ends_with_one(
    adaptive: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = broken.with_constant(adaptive, tmp_path, "act", lambda values: values + np.float32(0.01))
    assert main(["verify", str(wrong.path), *FEW]) == 1
    out = capsys.readouterr().out
    assert "act on onnxruntime DIFFERS from torch" in out
    assert "golden check of act" in out
    assert "adapt on onnxruntime agrees" in out


def test_a_broken_weight_in_json(
    adaptive: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = broken.with_constant(adaptive, tmp_path, "act", lambda values: values * np.float32(math.nan))
    assert main(["verify", str(wrong.path), *FEW, "--json"]) == 1
    tree = json.loads(capsys.readouterr().out)
    assert tree["ok"] is False
    assert tree["rows"][0]["max_rel"] is None
    assert "golden check" in tree["golden"]


def test_its_run_agrees_too(adaptive: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(adaptive.path), "--run", str(adaptive.path.parent), *FEW]) == 0
    assert "agrees with torch" in capsys.readouterr().out


def test_a_run_that_has_moved_on_differs(
    adaptive: Bundle, trained_runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (trained_runs["maml"].parent / "maml.toml").read_text(encoding="utf-8")
    (tmp_path / "longer.toml").write_text(config, encoding="utf-8")
    assert (
        main(["train", str(tmp_path / "longer.toml"), "--out", str(tmp_path / "run"), "--iterations", "3"])
        == 0
    )
    capsys.readouterr()
    assert main(["verify", str(adaptive.path), "--run", str(tmp_path / "run"), *FEW]) == 1
    assert "is not as trained" in capsys.readouterr().out


def test_a_run_of_another_policy_is_refused(
    adaptive: Bundle, trained_runs: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = trained_runs["oracle"]
    capsys.readouterr()
    sentence = _refusal(capsys, str(adaptive.path), "--run", str(other))
    assert "was not exported from" in sentence


def test_a_bundle_without_meta_parameters_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = write_tiny(tmp_path / "tiny.acclimate")
    sentence = _refusal(capsys, str(tiny))
    assert f"{tiny} holds no meta.npz" in sentence
    assert "--run" in sentence


def test_an_altered_bundle_is_refused(
    adaptive: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(adaptive.path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "altered.acclimate").write_bytes(data)
    assert "altered" in _refusal(capsys, str(tmp_path / "altered.acclimate"))


def test_a_config_of_another_version_is_refused(
    adaptive: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from acclimate.bundle.file import write_bundle

    provenance = dict(adaptive.manifest.provenance)
    config = provenance["config"]
    assert isinstance(config, dict)
    provenance["config"] = {**config, "flux": 1}
    path = tmp_path / "other.acclimate"
    write_bundle(path, replace(adaptive.manifest, provenance=provenance), adaptive.members)
    assert "unknown key 'flux'" in _refusal(capsys, str(load(path).path))


@pytest.mark.parametrize("option", [("--inputs", "0"), ("--seed", "-1")])
def test_options_that_cannot_be_are_refused(
    adaptive: Bundle, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{option[0]} must be at least" in _refusal(capsys, str(adaptive.path), *option)
