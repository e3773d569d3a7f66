"""`acclimate train` on a family that no package knows, from its file to a finished run, interrupted on the way."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from acclimate.command import cli
from acclimate_trainer.outer_loop.training import Progress, start, train
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.configuration import load_config
from acclimate_trainer.runs.reporting import ProgressBar
from acclimate_trainer.runs.run_directory import CHECKPOINT, CONFIG, CURVE, METRICS, RunDirectory

from . import families

ITERATIONS, STOPPED_AT = 12, 5
GLIDER = Path(families.__file__).read_text(encoding="utf-8")
CONFIGURED = f"""
name = "mine"
seed = 1
[family]
use = "robots/glider.py:GliderFamily"
options.mirrored = false
[rl2]
hidden = 4
episodes = 1
episode_steps = 10
side_by_side = 2
[training]
iterations = {ITERATIONS}
meta_batch_size = 3
"""
COMMAND = ["train", "project/mine.toml"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a project in it: a config, and the family's file."""
    (tmp_path / "project" / "robots").mkdir(parents=True)
    (tmp_path / "project" / "robots" / "glider.py").write_text(GLIDER)
    (tmp_path / "project" / "mine.toml").write_text(CONFIGURED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def uninterrupted() -> Progress:
    config, last = load_config(Path("project/mine.toml")), list[Progress]()
    algorithm = algorithm_of(config)
    train(algorithm, config.training, config.seed, start(algorithm, config.seed), lambda p, _: last.append(p))
    return last[-1]


def test_it_is_trained_and_resumed_bit_by_bit(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update = ProgressBar.update

    def interrupted(bar: ProgressBar, done: int, figures: Mapping[str, float]) -> None:
        update(bar, done, figures)
        if done == STOPPED_AT:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(ProgressBar, "update", interrupted)
        assert cli.main(COMMAND) == 130
    remark = f"runs/mine: saved after iteration {STOPPED_AT}; the same command goes on from there"
    assert remark in capsys.readouterr().err
    run = RunDirectory(here / "runs" / "mine")
    saved = run.load()
    assert saved is not None
    assert saved.iteration == STOPPED_AT

    assert cli.main([*COMMAND, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["resumed_from"] == STOPPED_AT
    assert result["figures"].keys() == {"error", "grad_norm", "skipped"}
    last, expected = run.load(), uninterrupted()
    assert last is not None
    assert last.meta.keys() == expected.meta.keys()
    assert all(torch.equal(last.meta[name], value) for name, value in expected.meta.items())
    assert {path.name for path in run.path.iterdir()} == {CONFIG, METRICS, CHECKPOINT, CURVE}
    assert [line["iteration"] for line in run.metrics()] == list(range(1, ITERATIONS + 1))


def test_its_run_knows_it_again_from_anywhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["train", "project/mine.toml", "--iterations", "1", "--out", "run"]) == 0
    monkeypatch.chdir("/")
    config = RunDirectory.open(here / "run").config
    assert config.opened.family.spec == families.SPEC
    assert config.opened.options == {"mirrored": False}
    assert config.opened.use == f"{here / 'project' / 'robots' / 'glider.py'}:GliderFamily"


@pytest.mark.usefixtures("here")
def test_its_headline_and_its_unit_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "project/mine.toml", "--iterations", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("runs/mine: rl2 trained for 2 iterations: error ")
    assert out.splitlines()[0].endswith(" m")
    assert "error" in err.splitlines()[0]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("sample(self", "draw(self", "glider.py:GliderFamily is no task family: it lacks 'sample'"),
        ("import numpy", "import numpie", "cannot be imported: ModuleNotFoundError (line "),
        ("GliderFamily", "GlidersFamily", "has no class 'GliderFamily'; it has: GlidersFamily, "),
        ("mirrored: bool", "twisted: bool", "[family.options] unknown key 'mirrored'; valid keys: twisted"),
        ("torch.cat(tasks, dim=-1)", "9.0 * torch.cat(tasks, dim=-1)", "glider.py:GliderFamily: parameters: "),
        ("return self.state[0]\n", "return float('nan') * self.state[0]\n", "glider.py:GliderFamily: "),
        ("def open(self, tasks: Gliders, episodes: int, steps: int, rng: np.random.Generator) -> GliderSession:",
         "def open(self, tasks, episodes, steps, rng):\n        rng = np.random.default_rng()",
         "glider.py:GliderFamily: "),
        ("episodes, 2))", "episodes, 3))", "glider.py:GliderFamily: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_said_in_one_sentence_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert old in GLIDER
    (here / "project" / "robots" / "glider.py").write_text(GLIDER.replace(old, new))
    assert cli.main(["train", "project/mine.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("acclimate: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert not (here / "runs").exists()
