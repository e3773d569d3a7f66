"""The benchmarks' harness: names, refusals, and what a results file holds."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acclimate.errors import UsageError
from acclimate.stats import Interval, mean_interval

from benchmarks.harness import BenchmarkError, Figure
from benchmarks.harness import machine as machine_module
from benchmarks.harness.command import main, run_benchmark
from benchmarks.harness.machine import commit, machine
from benchmarks.harness.record import Record, lines, tree, write_record

ROOT = Path(__file__).parents[2]
DICE = """
import random
from acclimate.stats import mean_interval

def run(seed):
    rng = random.Random(seed)
    throws = [rng.randint(1, 6) for _ in range(100)]
    return {"mean": mean_interval(throws), "largest": max(throws), "first": float(throws[0])}
"""


def record(**figures: Figure) -> Record:
    return Record("python -m benchmarks x --seed 1", 1, "abc1234", 2.34567, "a machine", figures)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with a benchmark called dice, one that fails, and a module that is none."""
    folder = tmp_path / "samples"
    folder.mkdir()
    sources = {
        "__init__": "",
        "dice": DICE,
        "silent": "",
        "_private": "",
        "broken": "def run(seed): return {}",
    }
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "samples"
    for module in [name for name in sys.modules if name.split(".")[0] == "samples"]:
        del sys.modules[module]


def test_a_run_leaves_its_figures_and_how_to_repeat_them(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dice", "--seed", "7"], package) == 0
    path = tmp_path / "samples" / "results" / "dice.json"
    found = json.loads(path.read_text())
    assert list(found) == ["command", "seed", "commit", "wall_s", "machine", "figures"]
    assert found["command"] == "python -m benchmarks dice --seed 7"
    assert found["seed"] == 7
    assert found["commit"] == "unknown"  # the folder is no checkout
    assert found["wall_s"] >= 0.0
    assert set(found["figures"]["mean"]) == {"mean", "low", "high", "n"}
    assert found["figures"]["mean"]["n"] == 100
    assert found["figures"]["largest"] == 6
    shown = capsys.readouterr().out
    assert "n = 100" in shown
    assert str(path) in shown


def test_the_seed_reaches_the_benchmark(package: str) -> None:
    figures = [json.loads(run_benchmark("dice", seed, package).read_text())["figures"] for seed in (1, 1, 2)]
    assert figures[0] == figures[1] != figures[2]


@pytest.mark.parametrize(("arguments", "words"), [(["dies"], "there is no benchmark 'dies'"), ([], "name a")])
def test_an_unknown_name_is_answered_with_the_valid_ones(
    package: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments, package) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert shown.err.endswith("valid names: broken, dice, silent\n")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("name", ["harness.command", "../dice", "_private", "results", "__init__"])
def test_nothing_else_can_be_run(package: str, name: str) -> None:
    with pytest.raises(UsageError, match="valid names"):
        run_benchmark(name, 0, package)


def test_a_negative_seed_is_refused(package: str) -> None:
    with pytest.raises(UsageError, match="--seed must be at least 0, found -1"):
        run_benchmark("dice", -1, package)


@pytest.mark.parametrize(
    ("name", "words"), [("silent", "has no function run"), ("broken", "gave no figures")]
)
def test_a_benchmark_without_figures_leaves_nothing(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    assert main([name], package) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "samples" / "results").exists()


@pytest.mark.parametrize("figure", [math.nan, math.inf, Interval(math.nan, 0.0, 1.0, 3)])
def test_what_is_no_number_is_not_recorded(tmp_path: Path, figure: Figure) -> None:
    write_record(tmp_path, "x", record(good=1.0))
    with pytest.raises(BenchmarkError, match="figure 'bad' is"):
        write_record(tmp_path, "x", record(bad=figure))
    assert json.loads((tmp_path / "x.json").read_text())["figures"] == {"good": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_an_interval_of_one_sample_has_no_ends() -> None:
    found = tree(record(once=mean_interval([2.0])))["figures"]
    assert found == {"once": {"mean": 2.0, "low": None, "high": None, "n": 1}}
    assert lines(record(once=mean_interval([2.0]), number=0.25)) == ["once    2, n = 1", "number  0.25"]


def test_the_machine_is_described_without_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2 GHz\n")
    monkeypatch.setattr(machine_module, "_CPUINFO", cpuinfo)
    found = machine()
    version = ".".join(map(str, sys.version_info[:3]))
    assert found.startswith("Some CPU @ 2 GHz, ")
    assert f" cores, CPython {version}, " in found
    monkeypatch.setattr(machine_module, "_CPUINFO", tmp_path / "none")
    assert machine().split(",")[0]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_says_whether_the_code_was_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    folder = tmp_path / "benchmarks"
    (folder / "results").mkdir(parents=True)
    (tmp_path / "code.py").write_text("1")
    (folder / "results" / "x.json").write_text("{}")
    assert commit(folder) == "unknown"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "begin")
    head = git("rev-parse", "--short", "HEAD")
    assert commit(folder) == head
    (folder / "results" / "x.json").write_text("[]")  # an earlier benchmark's
    assert commit(folder) == head
    (tmp_path / "code.py").write_text("2")
    assert commit(folder) == f"{head}-dirty"


def test_the_command_is_a_module() -> None:
    command = [sys.executable, "-m", "benchmarks", "no-such-benchmark"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("benchmarks: there is no benchmark 'no-such-benchmark'; valid names: ")
