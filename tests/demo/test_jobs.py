"""Commands side by side: what is told of one that fails, and that the others end with it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from acclimate.errors import DeviceFault
from acclimate_demo.jobs import Iterations, Job, beside, run_in_sight, run_jobs
from acclimate_demo.shipped import shipped_bundle


def test_a_job_that_fails_is_told_with_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with pytest.raises(DeviceFault, match=r"the thing ended with exit code 2: .*no_such_config.*log\.txt"):
        run_jobs("jobs", [Job("the thing", ("train", "no_such_config"), log)], 1)


def test_a_result_is_not_mixed_with_what_is_told_of_it(tmp_path: Path) -> None:
    log, result = tmp_path / "log.txt", tmp_path / "result.json"
    bundle = shipped_bundle("servo_wide_rl2")
    drive = ("run", str(bundle), "--port", "sim:XL-320", "--seconds", "0.2", "--json")
    run_jobs("jobs", [Job("drive", drive, log, result=result)], 1)
    assert json.loads(result.read_text())["loop"]["ticks"] > 0
    assert "XL-320" in log.read_text()


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


def test_a_job_in_sight_shows_its_progress_and_keeps_its_result(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.txt"
    run_in_sight("looking for ports", Job("ports", ("ports", "--json"), log))
    assert log.read_text().startswith("{")
    assert "looking for ports: " in capfd.readouterr().err
    with pytest.raises(DeviceFault, match="training ended with exit code 2"):
        run_in_sight("training", Job("train", ("train", "no_such_config"), log))
    assert "there is no config" in capfd.readouterr().err


def test_a_job_beside_another_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with beside("looking", Job("ports", ("ports", "--json"), log)):
        pass
    assert log.read_text().startswith("{")
    failing = Job("train", ("train", "no_such_config"), log)
    with (
        pytest.raises(DeviceFault, match=r"train ended with exit code 2: .*there is no config"),
        beside("training", failing),
    ):
        pass


def test_a_job_beside_another_ends_with_it(tmp_path: Path) -> None:
    link = tmp_path / "port"
    forever = Job("device", ("simulate", "--servo", "MX-64", "--link", str(link)), tmp_path / "log.txt")

    def in_sight() -> None:
        with beside("device", forever):
            while not link.is_symlink():
                time.sleep(0.05)
            raise DeviceFault("what was in sight has failed")

    with pytest.raises(DeviceFault, match="in sight"):
        in_sight()
    assert not link.is_symlink()  # it ended, and cleaned up behind itself


def test_iterations_are_counted_as_they_come(tmp_path: Path) -> None:
    status = Iterations(tmp_path)
    assert status() == ""
    (tmp_path / "metrics.jsonl").write_text("{}\n{}\n")
    assert status() == "2"
