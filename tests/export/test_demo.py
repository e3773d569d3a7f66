"""The demo: its report, its verdicts, its jobs; and the whole of it once, with hardly any training."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from acclimate.errors import DeviceFault
from acclimate.fields import Json
from acclimate_demo.jobs import Job, run_jobs
from acclimate_demo.report import conclusions, mapping, merged, number, rows_of, table

PNG = b"\x89PNG\r\n\x1a\n"


def report(
    preset: str, difference: float, low: float, high: float, *, one_servo_low: float = -1.0
) -> dict[str, Json]:
    """As `evaluate` would give it for one step; `difference`: maml less unadapted and less PID."""
    row: dict[str, Json] = {
        "family": preset,
        "machine": "all",
        "mean": 0.02,
        "low": 0.01,
        "high": 0.03,
        "n": 9,
    }
    compared: dict[str, Json] = {"family": preset, "a": "maml", "shots": 1, "n": 9}
    over_all: dict[str, Json] = {**compared, "machine": "all", "mean": difference, "low": low, "high": high}
    one: dict[str, Json] = {**over_all, "machine": "MX-64", "b": "unadapted", "low": one_servo_low}
    return {
        "metric": "error",
        "unit": "rad",
        "rows": [{**row, "controller": "pid", "shots": 0}, {**row, "controller": "maml", "shots": 1}],
        "gap_closed": {preset: {"1": 0.75}},
        "comparisons": [{**over_all, "b": "unadapted"}, {**over_all, "b": "pid"}, one],
        "tail": {preset: {"1": {"share_worse": 0.125, "n": 9}}},
        "machines": [],
    }


def test_reports_of_presets_become_one() -> None:
    both = merged([report("wide", -0.1, -0.2, -0.05), report("miswired", -0.1, -0.2, -0.05)])
    assert {row["family"] for row in rows_of(both, "rows")} == {"wide", "miswired"}
    assert set(mapping(both["gap_closed"])) == set(mapping(both["tail"])) == {"wide", "miswired"}
    assert len(rows_of(both, "comparisons")) == 6


def test_the_table_has_gap_and_tail() -> None:
    text = "\n".join(table(report("wide", -0.1, -0.2, -0.05)))
    assert "75%" in text
    assert "12.5% after 1 step" in text


def test_better_beyond_the_interval_passes() -> None:
    assert all(check.ok and check.binding for check in conclusions(report("wide", -0.1, -0.2, -0.05)))


def test_better_within_the_interval_does_not_pass() -> None:
    checks = conclusions(report("wide", -0.1, -0.2, 0.001))
    assert [check.ok for check in checks] == [False, False, True]
    assert "not better beyond the interval" in checks[0].sentence


def test_one_servo_beyond_the_interval_is_named() -> None:
    (last,) = conclusions(report("wide", -0.1, -0.2, -0.05, one_servo_low=0.001))[-1:]
    assert not last.ok
    assert "worse than unadapted on MX-64" in last.sentence


def test_a_job_that_fails_is_told_with_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with pytest.raises(DeviceFault, match=r"the thing ended with exit code 2: .*no_such_config.*log\.txt"):
        run_jobs("jobs", [Job("the thing", ("train", "no_such_config"), log)], 1)


def test_jobs_run_side_by_side_and_end_with_the_first_failure(tmp_path: Path) -> None:
    simulate = Job(
        "device", ("simulate", "--servo", "MX-64"), tmp_path / "device.txt"
    )  # never ends by itself
    failing = Job("train", ("train", "no_such_config"), tmp_path / "train.txt")
    begin = time.monotonic()
    with pytest.raises(DeviceFault, match="train ended"):
        run_jobs("jobs", [simulate, failing], 2)
    assert time.monotonic() - begin < 60.0
    assert (tmp_path / "device.txt").is_file()


def test_the_whole_demo_with_hardly_any_training(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "acclimate", "demo", "--quick", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr  # 1: such policies need not show anything
    assert f"report   {out / 'report.json'}" in done.stdout, done.stderr
    assert (out / "demo.png").read_bytes().startswith(PNG)
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert {(row["family"], row["controller"], row["shots"]) for row in found["rows"]} == {
        (preset, controller, shots)
        for preset in ("servo wide", "servo miswired")
        for controller, shots in [
            ("pid", 0),
            ("robust", 0),
            ("oracle", 0),
            *(("maml", k) for k in range(3)),
        ]
    }
    assert {row["machine"] for row in found["rows"]} == {"MX-64", "MX-106", "XL-320", "all"}
    assert all(number(row["mean"]) > 0.0 for row in found["rows"])
    with np.load(out / "wide" / "trial.npz") as trial:
        assert np.bincount(trial["purpose"])[:2].tolist() == [12, 16]  # measured and exploring episodes
        assert trial["obs"].shape[1:] == (101, 4)
