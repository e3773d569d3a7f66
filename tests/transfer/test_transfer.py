"""The verb itself: what cannot be is refused before anything is made; what was made is not made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acclimate.command.cli import main
from acclimate_transfer.sets import SETS

from tests.house.test_cli_page import SECTIONS

QUICK = (
    "--samples", "0.1", "--parameters", "60", "--machines", "1", "--shots", "0", "1", "--shot-seconds", "2",
    "--jobs", "2", "--methods", "robust", "scratch",
)  # fmt: skip
FREE = {
    "methods",
    "left_out",
    "sets",
    "left_worse",
}  # objects whose keys are names of methods, metrics or shots


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of a command that is refused."""
    assert main(["transfer", *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("servo", "point_frame"), "action 'duty' is in the source only"),
        (("point", "point", "--methods", "successor"), "method 'successor' does not go here: [objectives]"),
        (("point", "point", "--shots", "-1"), "--shots must be at least 0, found -1"),
        (("point", "point", "--samples", "0"), "--samples must be above 0, found 0"),
        (("point", "point", "--shot-seconds", "nan"), "--shot-seconds must be above 0, found nan"),
        (("bandit", "bandit", "--methods", "rl2"), "method 'rl2' does not go here"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    found = told(capsys, *arguments, "--out", str(out))
    assert said in found
    assert found.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_all_of_it_once_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["transfer", "point_frame", "point_frame", *QUICK, "--out", str(out)]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert f"report   {out / 'report.json'}" in table
    made = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    assert len([path for path in made if path.suffix == ".acclimate"]) == 4  # scratch has three step sizes
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert report == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (out / "transfer.png").read_bytes().startswith(b"\x89PNG")
    robust, scratch = report["methods"]["robust"], report["methods"]["scratch"]
    assert (robust["tried"], scratch["tried"]) == (1, 3)
    assert scratch["samples"] == 0.0 < robust["samples"] <= 0.1e6
    for name in SETS:
        error = robust["sets"][name]["error"]
        assert error["0"] == error["1"]  # it does not adapt
        assert f"{error['0']['mean']:.4f}" in table
    assert _undocumented(report) == set()


def _undocumented(report: dict[str, object]) -> set[str]:
    """Fields that the page does not name."""
    found = set(report)
    for method in report["methods"].values():  # type: ignore[attr-defined]
        found |= set(method) | set(method["board"]) | set(method["sets"])
    return {name for name in found if f"`{name}`" not in SECTIONS["transfer"]}
