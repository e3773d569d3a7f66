"""Both demos once, with hardly any training, where only the extras that they ask for are installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate_demo import shipped
from acclimate_demo.report import mapping, number, rows_of
from acclimate_demo.verbs import DEMO

from tests.house.conftest import Board, wheel
from tests.house.environments import environment

__all__ = ["wheel"]  # the fixture

PNG = b"\x89PNG\r\n\x1a\n"
SERVOS = {"MX-64", "MX-106", "XL-320", "all"}
SHOTS, MEASURED, EXPLORING = 1, 2, 8  # steps of the trial on the wire, and episodes before or after each


@pytest.fixture(scope="module")
def desktop(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """With the extras that the verb asks for, and nothing else."""
    return environment(tmp_path_factory, wheel, DEMO.extra)


def demo(desktop: Board, out: Path, *options: str) -> dict[str, Json]:
    """Its report, and that there is a picture."""
    done = desktop.run(desktop.acclimate, "demo", "--quick", "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert f"report   {out / 'report.json'}" in done.stdout, done.stderr
    assert (out / "demo.png").read_bytes().startswith(PNG)
    report: dict[str, Json] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert all(number(row["mean"]) > 0.0 for row in rows_of(report, "rows"))
    assert {row["machine"] for row in rows_of(report, "rows")} == SERVOS
    return report


def contestants(report: dict[str, Json]) -> dict[str, set[str]]:
    """Who drove, by family."""
    found: dict[str, set[str]] = {}
    for row in rows_of(report, "rows"):
        found.setdefault(str(row["family"]), set()).add(f"{row['controller']} {row['shots']}")
    return found


MAML = {f"maml {shots}" for shots in range(3)}
GUARDED = {f"guarded {shots}" for shots in (1, 2)}  # where the evaluated policy takes steps


@pytest.mark.slow
@pytest.mark.skipif(not shipped.shipped(), reason="`make bundles` has not been run")
def test_the_demo(desktop: Board, tmp_path: Path) -> None:
    report = demo(desktop, tmp_path / "demo")
    drove = {"pid 0", "robust 0", "rl2 0", "oracle 0"} | MAML
    assert contestants(report) == {"servo wide": drove | GUARDED, "servo miswired": drove}
    shown = json.loads((tmp_path / "demo" / "picture.json").read_text(encoding="utf-8"))
    wide, miswired = shown["traces"]["servo wide"], shown["traces"]["servo miswired"]
    assert [trace["title"] for trace in wide] == ["before adapting", "after 1 step"]
    assert len(miswired[0]["time"]) == 800


@pytest.mark.slow
def test_the_full_demo(desktop: Board, tmp_path: Path) -> None:
    report = demo(desktop, tmp_path / "demo", "--full")
    assert contestants(report) == {"servo wide": {"pid 0", "robust 0", "oracle 0"} | MAML | GUARDED}
    assert set(mapping(report["gap_closed"])) == {"servo wide"}
    with np.load(tmp_path / "demo" / "wide" / "trial.npz") as trial:
        assert np.bincount(trial["purpose"])[:2].tolist() == [(SHOTS + 1) * MEASURED, SHOTS * EXPLORING]
        assert trial["obs"].shape[1:] == (101, 4)


def test_a_bundle_that_did_not_come_along_is_refused_with_all_that_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipped, "shipped", lambda: {"servo_wide_maml": Path("a"), "arm_rl2": Path("b")})
    assert shipped.shipped_bundle("arm_rl2") == Path("b")
    with pytest.raises(UsageError, match=r"no bundle 'arm_maml' came with this .*: servo_wide_maml, arm_rl2"):
        shipped.shipped_bundle("arm_maml")
