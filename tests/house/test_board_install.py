"""The board's install: from a wheel, in a clean environment, outside the checkout, without torch and onnx."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Board

PACKAGES = {
    "acclimate", "acclimate_bridge", "acclimate_trainer", "acclimate_export", "acclimate_demo", "acclimate_transfer",
}  # fmt: skip
# Tests, their folders, and what is hidden; the packages named `testing` are for tests of one's own.
STRAY = re.compile(r"(^|/)(tests?|test_[^/]*|conftest\.py|\.[^/]*)(/|$)")
ABSENT = ("torch", "onnx", "onnxscript", "matplotlib", "pytest")


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    members = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in members}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(members)
    assert [name for name in members if STRAY.search(name)] == []


def test_a_board_gets_numpy_an_engine_and_the_link_only(board: Board) -> None:
    installed = board.distributions()
    assert {"acclimate", "numpy", "onnxruntime", "pyserial", "cobs"} <= installed
    assert installed.isdisjoint(ABSENT)


@pytest.mark.parametrize("module", ABSENT)
def test_a_board_cannot_import(board: Board, module: str) -> None:
    done = board.run(board.python, "-c", f"import {module}")
    assert done.returncode == 1
    assert f"No module named '{module}'" in done.stderr


def test_a_board_runs_what_was_installed_and_not_the_checkout(board: Board) -> None:
    code = "import acclimate, acclimate_bridge as b; print(acclimate.__file__, b.__file__, sep='\\n')"
    found = [Path(line) for line in board.run(board.python, "-c", code).stdout.splitlines()]
    assert len(found) == 2
    assert all(path.is_relative_to(board.folder / "venv") for path in found)


def test_help_lists_what_a_board_can_run(board: Board) -> None:
    done = board.run(board.acclimate, "--help")
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.split("verbs:\n")[1].splitlines()]
    assert " ".join(listed) == (
        "audit bench doctor evaluate faults firmware inspect ports run service simulate"
    )


@pytest.mark.parametrize("verb", ["train", "export", "verify", "demo", "transfer"])
def test_a_desktops_verb_is_refused_in_one_sentence(board: Board, verb: str) -> None:
    done = board.run(board.acclimate, verb)
    assert done.returncode == 2
    assert done.stderr.startswith(f"acclimate: verb '{verb}' ")
    assert done.stderr.count("\n") == 1


def test_a_board_checks_a_bundle(board: Board, bundle: Path) -> None:
    done = board.run(board.acclimate, "inspect", bundle, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["golden"]["engine"] == "onnxruntime"
    assert json.loads(done.stdout)["golden"]["ok"] is True


def test_a_board_measures_its_engines(board: Board, bundle: Path) -> None:
    asked = ("onnxruntime", "litert", "torch_eager")
    done = board.run(board.acclimate, "bench", bundle, "--seconds", "0.1", "--only", *asked, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["onnxruntime"]["refused"] is None
    assert rows["onnxruntime"]["rss_mb"] < 100.0
    assert rows["torch_eager"]["refused"] == "torch is not installed; install acclimate[export]"
    assert rows["litert"]["refused"] == "engine 'litert' is not installed; install acclimate[litert]"


def test_a_board_adapts_on_a_device(board: Board, bundle: Path) -> None:
    with _simulated(board) as port:
        done = board.run(
            board.acclimate, "run", bundle, "--port", port, "--episodes", "1", "--shots", "1", "--json"
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert [row["shots"] for row in report["rows"]] == [0, 1]
    assert all(0.0 < row["figures"]["error"] < 1.0 for row in report["rows"])
    assert report["shots"][0]["info"]["step_norm"] > 0.0
    assert report["link"]["received"] > report["loop"]["ticks"] > 0


def test_a_board_refuses_a_port_that_is_not_there(board: Board, bundle: Path) -> None:
    done = board.run(board.acclimate, "run", bundle, "--port", "/dev/ttyNONE", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("acclimate: port /dev/ttyNONE does not exist")


@contextmanager
def _simulated(board: Board) -> Iterator[str]:
    """The board's own `acclimate simulate`; its port."""
    with subprocess.Popen(
        [board.acclimate, "simulate", "--servo", "XL-320"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=board.folder,
        env=board.environment,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(timeout=10)
