"""`acclimate audit`: on recordings of a simulated pair of joints, it finds what is wrong, and only that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.command.audit import audit
from acclimate.command.checks import Check
from acclimate.command.cli import main
from acclimate.control.recording import Record, load_record
from acclimate.errors import UsageError

from .joints import TASK, recorded, write


def altered(change: Callable[[FloatArray], None], record: Record | None = None) -> Record:
    record = record or recorded()
    obs = record.obs.copy()
    change(obs)
    return record._replace(obs=obs)


def bad(record: Record) -> list[Check]:
    return [check for check in audit(TASK, record) if not check.ok]


def test_a_sound_machine_has_nothing_wrong_with_it_and_its_lags_and_signs_are_told() -> None:
    checks = {check.name: check for check in audit(TASK, recorded(delay=2))}
    assert [name for name, check in checks.items() if not check.ok] == []
    assert checks["answer to duty.0"].found.startswith("position.0 turns with it, after 20 ms")
    assert checks["answer to duty.1"].found.startswith("position.1 turns against it, after 20 ms")


def _swap_velocities(obs: FloatArray) -> None:
    obs[..., [2, 3]] = obs[..., [3, 2]]


def _degrees(obs: FloatArray) -> None:
    obs[..., 0] *= 180 / np.pi


def _backwards(obs: FloatArray) -> None:
    obs[..., 3] *= -1.0


def _noise(obs: FloatArray) -> None:
    obs[..., 2] = np.random.default_rng(1).standard_normal(obs.shape[:2])


def _dead(obs: FloatArray) -> None:
    obs[..., [0, 2]] = 0.0


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (_swap_velocities, "velocity.0 of position.0", "the joints are permuted"),
        (_degrees, "velocity.0 of position.0", "the first seems to be in degrees"),
        (_backwards, "velocity.1 of position.1", "wrong sign"),
        (_noise, "velocity.0 of position.0", "measure it from the position"),
        (_dead, "sensors", "power and wiring"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    change: Callable[[FloatArray], None], name: str, said: str
) -> None:
    found = {check.name: check.remedy for check in bad(altered(change))}
    assert said in found[name]


def test_an_actuator_without_power_is_named() -> None:
    found = {check.name: check.found for check in bad(recorded(gains=(60.0, 0.0)))}
    assert found["answer to duty.1"] == "no sensor answers to it"


def test_a_record_that_is_mostly_masked_says_where_to_look() -> None:
    record = recorded()
    (check,) = [c for c in bad(record._replace(mask=0.3 * record.mask)) if c.name == "usable ticks"]
    assert "acclimate doctor" in check.remedy


def test_a_recording_says_what_was_driven(tmp_path: Path) -> None:
    write(tmp_path / "drive.npz")
    record = load_record(tmp_path / "drive.npz")
    assert record.task == TASK
    assert (record.obs == recorded().obs).all()


def test_the_verb_prints_a_line_a_check_and_fails_where_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "drive.npz")
    assert main(["audit", str(tmp_path / "drive.npz")]) == 0
    assert capsys.readouterr().out.count("\nok ") == 5
    assert main(["audit", str(tmp_path / "drive.npz"), "--json"]) == 0
    assert all(check["ok"] for check in json.loads(capsys.readouterr().out)["checks"])


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"hello", None])
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a recording|cannot read"):
        load_record(path)
