"""Exporting and verifying from a program: as easy as the command, with objects that tell what they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import acclimate
import pytest
from acclimate_export import Exported, export, verify
from acclimate_export.bundle import formats


@pytest.fixture(scope="module")
def robust(trained_runs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(trained_runs["robust"], tmp_path_factory.mktemp("api") / "x.acclimate", forms="onnx,c")


def test_what_was_exported_is_told_in_figures(robust: Exported) -> None:
    assert robust.path.name == "x.acclimate"
    assert robust.size == robust.path.stat().st_size
    assert robust.bundle.manifest.algorithm == "robust"
    assert robust.forms == ("onnx", "c")
    assert set(robust.nodes) == {"act"}
    assert robust.parity.ok
    assert 0.0 < robust.parity.max_rel < 1e-5
    assert robust.loss is None


def test_its_repr_is_one_line_and_printing_it_tells_all(robust: Exported) -> None:
    line = repr(robust)
    assert line.count("\n") == 0
    assert len(line) < 300
    for part in (str(robust.path), "robust for servo", "act of ", "as onnx, c", "KiB", "from torch"):
        assert part in line
    assert str(robust).startswith(f"{robust.path}: ")
    assert f"acclimate verify {robust.path}" in str(robust)


def test_verifying_gives_the_parity(robust: Exported) -> None:
    parity = verify(robust.path, inputs=20)
    assert parity.ok
    assert repr(parity).startswith("<Parity: agrees with torch on native, onnxruntime, at most ")
    assert verify(robust.bundle, inputs=20).rows == parity.rows
    assert verify(robust.bundle, inputs=20, seed=1).rows != parity.rows


def test_they_are_there_from_the_top() -> None:
    assert acclimate.export is export
    assert acclimate.verify is verify


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, acclimate_export, acclimate_export.command.verbs\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_forms_whose_tools_are_not_here_are_left_out_and_told(
    trained_runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in formats.FORMATS:
        entry = formats.FORMATS[name]._replace(requires=("no_such_tool",))
        monkeypatch.setitem(formats.FORMATS, name, entry)
    exported = export(trained_runs["robust"], tmp_path / "x.acclimate")
    assert exported.forms == ("onnx",)
    assert exported.left_out == {
        "c": "c needs no_such_tool, which is not installed; install acclimate[export]",
        "tflite": "tflite needs no_such_tool, which is not installed; install acclimate[tflite]",
    }
    assert "left out  c: c needs no_such_tool" in str(exported)
