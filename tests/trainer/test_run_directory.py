"""What a run leaves behind can be read again, and what cannot be read is refused in one sentence."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.reactive import ReactiveConfig
from acclimate_trainer.outer_loop.training import Best, Progress, TrainingConfig
from acclimate_trainer.runs.configuration import Config, FamilyConfig
from acclimate_trainer.runs.curves import draw_curve
from acclimate_trainer.runs.run_directory import CHECKPOINT, CLASSICAL, CONFIG, METRICS, RunDirectory
from acclimate_trainer.tasks.servo.family import ServoFamily

from .servo_tasks import FAMILY

CONFIGURED = Config(
    "small", 3, FamilyConfig("servo"), TrainingConfig(iterations=9), robust=ReactiveConfig(hidden=4)
)
SETTINGS = {"pid": {"kp": 1.5, "ki": 0.25, "sign_test": 1.0}, "lqr": {"r": 2.0}}
PROGRESS = Progress(
    4,
    {"w": torch.tensor([1.0, 2.0], requires_grad=True)},
    {"state": {0: {"step": torch.ones(())}}},
    Best(3, {"w": torch.tensor([0.0, 4.0])}, 0.25),
)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", CONFIGURED)


def sentence(caught: pytest.ExceptionInfo[UsageError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_run_remembers_its_config(run: RunDirectory) -> None:
    """With every default of its family written out, and so the same again the next time."""
    kept = RunDirectory.open(run.path).config
    assert replace(kept, family=CONFIGURED.family) == CONFIGURED
    assert kept.family == FamilyConfig("servo", options=ServoFamily().options())
    assert kept.tree() == CONFIGURED.tree()


def test_a_checkpoint_comes_back_as_it_was(run: RunDirectory) -> None:
    assert run.load() is None
    run.save(PROGRESS)
    loaded = run.load()
    assert loaded is not None
    assert loaded.iteration == 4
    assert torch.equal(loaded.meta["w"], torch.tensor([1.0, 2.0]))
    assert not loaded.meta["w"].requires_grad
    assert loaded.optimizer == {"state": {0: {"step": torch.ones(())}}}
    assert loaded.best is not None
    assert (loaded.best.iteration, loaded.best.loss) == (3, 0.25)
    assert torch.equal(loaded.chosen["w"], torch.tensor([0.0, 4.0]))


def test_creating_again_with_the_same_config_keeps_everything(run: RunDirectory) -> None:
    run.save(PROGRESS)
    run.append_metrics({"iteration": 4, "error": 0.1})
    again = RunDirectory.create(run.path, CONFIGURED)
    assert again.load() is not None
    assert len(again.metrics()) == 1


def test_another_config_in_the_way_is_refused_and_left_alone(run: RunDirectory) -> None:
    run.save(PROGRESS)
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(UsageError) as caught:
        RunDirectory.create(run.path, replace(CONFIGURED, seed=4))
    expected = (
        f"{run.path} holds a run of another config; give --out another folder, or --fresh to begin anew"
    )
    assert sentence(caught) == expected
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_fresh_begins_anew(run: RunDirectory) -> None:
    run.save(PROGRESS)
    run.append_metrics({"iteration": 4, "error": 0.1})
    run.save_classical(SETTINGS)
    other = replace(CONFIGURED, seed=4)
    again = RunDirectory.create(run.path, other, fresh=True)
    assert (again.load(), again.classical(), again.metrics()) == (None, {}, [])
    assert again.config.seed == 4


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a checkpoint", b"\x80\x02}."])
def test_a_damaged_checkpoint_is_refused(run: RunDirectory, damage: bytes) -> None:
    (run.path / CHECKPOINT).write_bytes(damage)
    with pytest.raises(UsageError) as caught:
        run.load()
    assert sentence(caught).startswith(f"{run.path / CHECKPOINT} cannot be read (")
    assert sentence(caught).endswith("); begin anew with --fresh")


def test_a_checkpoint_cut_off_anywhere_is_refused(run: RunDirectory) -> None:
    run.save(PROGRESS)
    whole = (run.path / CHECKPOINT).read_bytes()
    for length in range(0, len(whole), len(whole) // 7):
        (run.path / CHECKPOINT).write_bytes(whole[:length])
        with pytest.raises(UsageError):
            run.load()


def test_a_checkpoint_that_holds_something_else_is_refused(run: RunDirectory) -> None:
    buffer = io.BytesIO()
    torch.save({"weights": torch.ones(3)}, buffer)
    (run.path / CHECKPOINT).write_bytes(buffer.getvalue())
    with pytest.raises(UsageError, match="cannot be read"):
        run.load()


def test_metrics_that_an_interruption_cut_off_are_dropped(run: RunDirectory) -> None:
    for iteration in (1, 2, 3):
        run.append_metrics({"iteration": iteration, "error": 0.5})
    with (run.path / METRICS).open("a") as file:
        file.write('{"iteration": 4, "err')
    assert [line["iteration"] for line in run.metrics()] == [1, 2, 3]
    run.truncate_metrics(2)  # where the checkpoint is older than the last line
    run.append_metrics({"iteration": 3, "error": 0.25})
    assert [(line["iteration"], line["error"]) for line in run.metrics()] == [(1, 0.5), (2, 0.5), (3, 0.25)]


@pytest.mark.parametrize(
    "damage", [b"garbage", b"\xff", b"[1]", b"3", b'{"error": 1}', b'{"iteration": "x"}']
)
def test_damaged_metrics_are_refused_with_their_line(run: RunDirectory, damage: bytes) -> None:
    (run.path / METRICS).write_bytes(b'{"iteration": 1}\n' + damage + b'\n{"iteration": 3}\n')
    with pytest.raises(UsageError) as caught:
        run.metrics()
    where = f"{run.path / METRICS} line 2"
    assert sentence(caught) == f"{where} cannot be read; remove it, or begin anew with --fresh"


def test_settings_of_classical_controllers_come_back_as_they_were(run: RunDirectory) -> None:
    assert run.classical() == {}
    run.save_classical(SETTINGS)
    assert run.classical() == SETTINGS


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"\xff", b'{"pid": 1}', b'{"pid": {"kp": "x"}}', b'{"pid": {"kp": null}}']
)
def test_damaged_settings_are_refused(run: RunDirectory, damage: bytes) -> None:
    (run.path / CLASSICAL).write_bytes(damage)
    with pytest.raises(UsageError) as caught:
        run.classical()
    assert sentence(caught) == f"{run.path / CLASSICAL} cannot be read; remove it, and they are tuned again"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        RunDirectory.open(tmp_path)
    assert (
        sentence(caught)
        == f"{tmp_path} is not a training run: it has no {CONFIG}; `acclimate train` makes one"
    )


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError) as caught:
        RunDirectory.create(file, CONFIGURED)
    assert sentence(caught) == f"{file} is a file, expected a folder for the run"
    with pytest.raises(UsageError, match="file/run cannot be made the folder of a run: Not a directory"):
        RunDirectory.create(file / "run", CONFIGURED)
    assert file.read_text() == "mine"


def test_the_curve_is_a_picture(tmp_path: Path) -> None:
    metrics = [
        {"iteration": k, "error_0": 1.0 / k, **({"error_1": 0.1} if k > 2 else {})} for k in range(1, 9)
    ]
    draw_curve(metrics, "small", FAMILY.spec.headline, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
