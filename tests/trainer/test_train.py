"""The verb `train`: interrupted, killed and resumed for real; every refusal with exit code 2 and nothing written."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.command import cli
from acclimate_trainer.compiled.driving import compiling
from acclimate_trainer.outer_loop.training import Progress, start, train
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import load_config
from acclimate_trainer.runs.run_directory import CHECKPOINT, CLASSICAL, CONFIG, CURVE, METRICS, RunDirectory
from acclimate_trainer.runs.training_run import is_compiled
from acclimate_trainer.tasks.servo.family import ServoFamily

ITERATIONS = 200
CONFIGURED = f"""
name = "small"
seed = 1
classical = false
[family]
name = "servo"
[robust]
hidden = 4
episodes = 2
episode_steps = 10
[training]
iterations = {ITERATIONS}
meta_batch_size = 4
"""
COMMAND = [sys.executable, "-m", "acclimate", "train", "small.toml"]
NOBODY_KNOWS = f"there is no config 'nowhere'; give a TOML file, or a built-in one: {', '.join(built_in())}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with one small config."""
    (tmp_path / "small.toml").write_text(CONFIGURED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(here: Path) -> Path:
    """The same, for tests in this process."""
    (here / "small.toml").write_text(CONFIGURED.replace(f"iterations = {ITERATIONS}", "iterations = 3"))
    return here


def stop(number: signal.Signals) -> tuple[int, str]:
    """Start training, send a signal once it has got somewhere; exit code and stderr."""
    process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    shown = process.stderr.readline()
    process.send_signal(number)
    shown += process.stderr.read()
    return process.wait(timeout=60), shown


def uninterrupted() -> Progress:
    config, last = load_config(Path("small.toml")), []
    algorithm = algorithm_of(config)
    with compiling(is_compiled(config.training)):
        train(
            algorithm,
            config.training,
            config.seed,
            start(algorithm, config.seed),
            lambda p, _: last.append(p),
        )
    return last[-1]


def test_a_run_interrupted_and_killed_ends_as_if_nothing_had_happened(here: Path) -> None:
    run = RunDirectory(here / "runs" / "small")
    code, shown = stop(signal.SIGINT)
    saved = run.load()
    assert saved is not None
    assert 0 < saved.iteration < ITERATIONS
    assert code == 130
    remark = f"runs/small: saved after iteration {saved.iteration}; the same command goes on from there"
    assert shown.splitlines()[-2:] == [remark, "acclimate: interrupted"]

    code, shown = stop(signal.SIGKILL)
    assert code == -signal.SIGKILL
    killed = run.load()
    assert killed is not None
    assert killed.iteration == saved.iteration

    done = subprocess.run([*COMMAND, "--json"], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["resumed_from"] == saved.iteration
    assert result["iterations"] == ITERATIONS
    assert result["run"] == "runs/small"
    assert result["iterations_per_s"] > 0.0
    assert set(result["shares"]) == {"torch", "compiled_roll_outs", "optimizer", "compiling"}
    assert sum(result["shares"].values()) == pytest.approx(1.0)
    assert all(share > 0.0 for share in result["shares"].values())
    assert re.search(r"\nsmall: .* iterations/s; of the time torch \d+ %", done.stderr)
    assert set(result["figures"]) == {"error", "grad_norm", "skipped", "validation"}
    assert [line["iteration"] for line in run.metrics()] == list(range(1, ITERATIONS + 1))
    last, expected = run.load(), uninterrupted()
    assert last is not None
    assert all(torch.equal(last.meta[name], value) for name, value in expected.meta.items())
    left = {path.name for path in run.path.iterdir()}
    assert left == {CONFIG, METRICS, CHECKPOINT, CURVE}


def test_a_bar_is_drawn_where_somebody_watches(quick: Path) -> None:
    host, device = pty.openpty()
    termios.tcsetwinsize(device, (24, 80))
    with subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=device, cwd=quick) as process:
        os.close(device)
        shown = b"".join(_read_all(host)).decode()
    assert process.returncode == 0
    assert "\r████████" in shown
    assert "small 3/3" in shown


def _read_all(host: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(host, 4096)
        except OSError:  # the other end has gone
            os.close(host)
            return


def test_what_was_trained_is_said_and_what_comes_next(
    quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del quick
    assert cli.main(["train", "small.toml"]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.startswith("runs/small: robust trained for 3 iterations: error 0.")
    assert first.endswith(" rad")
    assert second == "next: acclimate export runs/small"
    *lines, last = err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert re.fullmatch(r"small: [0-9.]+ iterations/s; of the time torch \d+ %(, optimizer \d+ %)?", last)


def test_several_seeds_are_runs_of_their_own(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "small.toml", "--seed", "4", "--out", "many", "--seeds", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[::2]] == ["many/seed4", "many/seed5", "over 2 seeds"]
    figures = []
    for seed in (4, 5):
        alone = ["train", "small.toml", "--seed", str(seed), "--out", f"alone{seed}", "--json"]
        assert cli.main(alone) == 0
        figures.append(json.loads(capsys.readouterr().out)["figures"]["error"])
        one, other = (RunDirectory.open(quick / p).load() for p in (f"many/seed{seed}", f"alone{seed}"))
        assert one is not None
        assert other is not None
        assert all(torch.equal(one.meta[name], value) for name, value in other.meta.items())
    assert f"error {sum(figures) / 2:.4f} (" in said[-1]
    assert said[-1].endswith(f"worst {max(figures):.4f} rad")
    assert cli.main(["train", "small.toml", "--seed", "4", "--out", "many", "--seeds", "2", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["run"], run["resumed_from"]) for run in runs] == [("many/seed4", 3), ("many/seed5", 3)]


def test_no_seeds_are_refused_before_anything_is_written(
    quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "small.toml", "--seeds", "0"]) == 2
    assert capsys.readouterr().err == "acclimate: --seeds must be at least 1, found 0\n"
    assert not (quick / "runs").exists()


def test_a_finished_run_is_left_as_it_is(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "small.toml"]) == 0
    before = (quick / "runs" / "small" / CHECKPOINT).read_bytes()
    capsys.readouterr()
    assert cli.main(["train", "small.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed_from"] == 3
    saved = RunDirectory(quick / "runs" / "small").load()
    assert saved is not None
    assert saved.iteration == 3
    (quick / "again.pt").write_bytes(before)
    assert torch.equal(saved.meta["w0"], torch.load(quick / "again.pt", weights_only=True)["meta"]["w0"])


def test_options_take_the_place_of_the_configs_own(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "small.toml", "--out", "elsewhere/mine", "--seed", "7", "--iterations", "2"]
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["iterations"] == 2
    config = RunDirectory.open(quick / "elsewhere" / "mine").config
    plain = load_config(quick / "small.toml")
    assert config.tree() == replace(plain, seed=7, training=replace(plain.training, iterations=2)).tree()


def test_values_of_the_config_may_be_set(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "small.toml", "--set", "robust.hidden=6", "--set", "family.options.preset=miswired"]
    assert cli.main([*arguments, "--set", "robust.activation=silu"]) == 0
    config = RunDirectory.open(quick / "runs" / "small").config
    assert config.robust == replace(load_config(quick / "small.toml").robust, hidden=6, activation="silu")  # type: ignore[type-var]
    assert config.opened.options["preset"] == "miswired"
    capsys.readouterr()
    assert cli.main(["train", "small.toml", "--set", "robust.width=6"]) == 2
    assert capsys.readouterr().err.startswith(
        "acclimate: small.toml: [robust] unknown key 'width'; valid keys: "
    )


def test_fresh_begins_anew_over_another_config(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del quick
    assert cli.main(["train", "small.toml"]) == 0
    assert cli.main(["train", "small.toml", "--iterations", "2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "acclimate: runs/small holds a run of another config; give --out another folder, or --fresh to begin anew"
    )
    assert cli.main(["train", "small.toml", "--iterations", "2", "--fresh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumed_from"] == 0


def test_classical_controllers_are_tuned_once(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned: list[float] = []

    def classical(_: ServoFamily, rng: np.random.Generator) -> dict[str, dict[str, float]]:
        tuned.append(rng.random())
        return {"pid": {"kp": tuned[-1]}}

    monkeypatch.setattr(ServoFamily, "classical", classical)
    run = RunDirectory(quick / "runs" / "small")
    assert cli.main(["train", "small.toml", "--iterations", "1"]) == 0
    assert not (run.path / CLASSICAL).exists()  # the config says so
    for _ in range(2):
        arguments = ["--iterations", "1", "--set", "classical=true"]
        assert cli.main(["train", "small.toml", "--out", "runs/tuned", *arguments]) == 0
        assert RunDirectory(quick / "runs" / "tuned").classical() == {"pid": {"kp": tuned[0]}}
    assert len(tuned) == 1


def test_figures_that_are_no_numbers_are_null_in_json(
    quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "small.toml"]) == 0
    metrics = quick / "runs" / "small" / METRICS
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([*lines[:-1], '{"iteration": 3, "error": NaN}']) + "\n")
    capsys.readouterr()
    assert cli.main(["train", "small.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == {"error": None}


def test_a_checkpoint_of_another_version_is_refused(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "small.toml"]) == 0
    run = RunDirectory(quick / "runs" / "small")
    saved = run.load()
    assert saved is not None
    run.save(replace(saved, meta={name: v for name, v in saved.meta.items() if name != "b1"}))
    capsys.readouterr()
    assert cli.main(["train", "small.toml"]) == 2
    assert capsys.readouterr().err == (
        "acclimate: runs/small was trained by another version of Acclimate, whose parameters are not those of this "
        "one; begin anew with --fresh\n"
    )


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (("", ""), ["nowhere"], NOBODY_KNOWS),
        (("", ""), ["."], "there is no config '.'; give a TOML file"),
        (("[family]", "family = 1\n[family]"), ["small.toml"], "small.toml is not valid TOML: "),
        (("seed = 1", "sede = 1"), ["small.toml"], "small.toml: unknown key 'sede'; valid keys: name, seed"),
        (
            ('"servo"', '"servo"\noptions.preset = "x"'),
            ["small.toml"],
            "small.toml: [family.options] preset is 'x'; valid: wide",
        ),
        (("[robust]", "[maml]\n[robust]"), ["small.toml"], "found [maml] and [robust]"),
        (
            ("hidden = 4", "hidden = 0"),
            ["small.toml"],
            "small.toml: [robust] hidden must be at least 1, found 0",
        ),
        (
            ('"servo"', '"servo"\noptions.ranges.armature = [-1, 1]'),
            ["small.toml"],
            "small.toml: [family.options] ranges: range armature must lie above 0, found [-1.0, 1.0]",
        ),
        (("", ""), ["small.toml", "--seed", "-1"], "--seed must be at least 0, found -1"),
        (("", ""), ["small.toml", "--set", "robust"], "--set 'robust' is not SECTION.KEY=VALUE"),
        (("", ""), ["small.toml", "--iterations", "0"], "--iterations must be at least 1, found 0"),
        (
            ("", ""),
            ["small.toml", "--out", "small.toml"],
            "small.toml is a file, expected a folder for the run",
        ),
        (
            ("", ""),
            ["small.toml", "--out", "small.toml/run"],
            "small.toml/run cannot be made the folder of a run: Not a directory",
        ),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_nothing_is_written(
    change: tuple[str, str],
    arguments: list[str],
    words: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = CONFIGURED.replace(*change, 1)
    (here / "small.toml").write_text(text)
    assert cli.main(["train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("acclimate: ")
    assert words in err
    assert err.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["small.toml"]
    assert (here / "small.toml").read_text() == text


def test_a_folder_that_cannot_be_written_is_refused(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (quick / "runs").symlink_to("/proc/self")
    assert cli.main(["train", "small.toml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("acclimate: runs/small cannot be made the folder of a run: ")
    assert err.count("\n") == 1


def test_a_bandit_is_trained_and_its_return_told(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        'name = "pulls"\nseed = 1\n[family]\nname = "bandit"\n[ppo]\nhidden = 4\n[training]\niterations = 3\n'
    )
    (quick / "pulls.toml").write_text(text)
    assert cli.main(["train", "pulls.toml"]) == 0
    out, err = capsys.readouterr()
    assert "runs/pulls: ppo trained for 3 iterations: return " in out
    assert "rad" not in out + err
    run = RunDirectory(quick / "runs" / "pulls")
    seconds = [line["seconds"] for line in run.metrics()]
    assert 0.0 < seconds[0] <= seconds[1] <= seconds[2] == run.seconds()
    assert cli.main(["train", "pulls.toml"]) == 0  # all done: nothing is added
    assert run.seconds() == seconds[2]
