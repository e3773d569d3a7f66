"""A family of the user's own: exported, verified and driven like any; its file is needed on a desktop, to verify."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.command.cli import main
from acclimate.policy.policy import Policy
from acclimate_export import export, verify

from tests.sharing import made_once

FILE = Path(__file__).parents[2] / "examples" / "own_family.py"
CONFIG = """name = "own"
seed = 1
classical = false
[family]
use = "machines/own_family.py:{cls}"
[robust]
hidden = 6
episode_steps = 20
[training]
iterations = 2
meta_batch_size = 4
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, the file of its family in a folder, a run and its bundle."""

    def make(folder: Path) -> None:
        (folder / "machines").mkdir()
        shutil.copy(FILE, folder / "machines")
        (folder / "own.toml").write_text(CONFIG.format(cls=_class()))
        assert main(["train", str(folder / "own.toml"), "--out", str(folder / "run")]) == 0
        export(folder / "run", forms="onnx")

    return made_once(tmp_path_factory, "own_family", make)


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """The bundle alone, in a folder of its own."""
    return Path(shutil.copy(made / "run" / "robust.acclimate", tmp_path))


def _class() -> str:
    """The family of the example: the class that its config names."""
    text = (FILE.parent / "own_family_robust.toml").read_text(encoding="utf-8")
    return text.split("own_family.py:", 1)[1].split('"', 1)[0]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No file is found because of where the tests are run."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


def test_the_manifest_names_the_file_without_its_folder(made: Path) -> None:
    bundle = load(made / "run" / "robust.acclimate")
    assert bundle.manifest.family.use == f"own_family.py:{_class()}"
    assert bundle.manifest.family.sha256 is not None
    manifest = json.dumps(bundle.manifest.provenance) + json.dumps(dict(bundle.manifest.family.options))
    assert str(made) not in manifest
    assert "machines" not in manifest


def test_verify_finds_the_file_where_training_had_it_from(made: Path) -> None:
    parity = verify(made / "run" / "robust.acclimate", inputs=20)
    assert parity.ok
    assert parity.family == ""


def test_verify_finds_the_file_beside_the_bundle(here: Path) -> None:
    shutil.copy(FILE, here.parent)
    assert verify(here, inputs=20).ok


def test_verify_finds_the_file_in_a_folder_here_if_it_is_the_same(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, more in (("another", "raise SystemExit  # never run"), ("machines", "")):
        (tmp_path / folder).mkdir()
        text = FILE.read_text(encoding="utf-8") + more
        (tmp_path / folder / FILE.name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert verify(here).ok


def test_verify_takes_the_file_that_it_is_given(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(here), "--inputs", "20", "--family", str(FILE)]) == 0
    assert "agrees with torch" in capsys.readouterr().out


def test_without_the_file_verify_says_what_it_needs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(here)]) == 2
    sentence = capsys.readouterr().err
    digest = load(here).manifest.family.sha256
    assert digest is not None
    assert f"trained on the family own_family.py:{_class()}" in sentence
    assert f"(SHA-256 {digest[:12]}…)" in sentence
    assert (
        f"is not {here.parent / 'own_family.py'} or own_family.py; say where it is with --family" in sentence
    )
    assert sentence.count("\n") == 1


def test_verify_says_that_the_file_has_changed(here: Path) -> None:
    changed = here.parent / "own_family.py"
    changed.write_text(FILE.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
    parity = verify(here, inputs=20)
    assert parity.ok
    assert parity.family.startswith(f"{changed} has changed since {here} was exported: its SHA-256 was ")
    assert parity.family in str(parity)
    assert parity.tree()["family"] == parity.family


def test_a_board_needs_no_file(here: Path) -> None:
    bundle: Bundle = load(here)
    policy = Policy(bundle, "onnxruntime")
    assert policy.act(bundle.golden.obs[0]).shape == (bundle.manifest.n_act,)
    code = "import sys, acclimate\nacclimate.Policy(acclimate.load(sys.argv[1]), 'onnxruntime')\n"
    code += "assert not [name for name in sys.modules if name.startswith(('torch', 'acclimate_trainer'))]"
    subprocess.run([sys.executable, "-c", code, str(here)], check=True, cwd=here.parent)
