"""A device that is unplugged in mid-drive comes back, and moves again only when somebody says so."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from acclimate.control.devices import DeviceAddress
from acclimate.errors import UsageError
from acclimate_bridge.command.reconnecting import Identity, Patient

from .test_faults_verb import proxy


def _run(bundles: Path, place: Path, answer: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "acclimate",
        "run",
        str(bundles / "tiny.acclimate"),
        "--port",
        str(place),
    ]
    options = ["--seconds", "3", "--no-sign-test", "--reconnect", "20", "--engine", "onnxruntime"]
    return subprocess.run(
        [*command, *options], input=answer, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.alone
@pytest.mark.parametrize(("answer", "code"), [("\n", 0), ("", 1)])
def test_it_moves_again_only_with_consent(bundles: Path, tmp_path: Path, answer: str, code: int) -> None:
    place = tmp_path / "servo"
    with proxy("--unplug", "1.5", "--unplugged", ".5", "--link", str(place)) as bad:
        done = _run(bundles, place, answer)
        assert bad.report()["happened"] == ["unplugged", "plugged in again"]
    assert "has vanished while in use" in done.stderr
    assert "press Enter to drive on" in done.stderr
    assert done.returncode == code, done.stderr
    assert ("3 s of driving" in done.stdout) is (code == 0)


def test_a_port_without_a_serial_number_is_known_by_its_path(tmp_path: Path) -> None:
    place = tmp_path / "servo"
    place.touch()
    identity = Identity.of(str(place))
    assert identity == Identity(str(place), None)
    assert identity.find() == str(place)
    place.unlink()
    assert identity.find() is None
    assert Patient(0.3).await_return(identity) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reconnect": 0.0}, "must be above 0"),
        ({"reconnect": 5.0, "listen": True}, "asks on stdin"),
        ({"reconnect": 5.0, "reference": "-"}, "asks on stdin"),
    ],
)
def test_who_cannot_be_asked_cannot_wait(options: dict[str, object], said: str) -> None:
    args = Namespace(**({"reconnect": None, "listen": False, "reference": None} | options))
    with pytest.raises(UsageError, match=said):
        Patient.of(args, DeviceAddress("wire", "/dev/ttyACM0", {}))


def test_what_has_no_port_cannot_be_waited_for() -> None:
    args = Namespace(reconnect=5.0, listen=False, reference=None)
    with pytest.raises(UsageError, match="--reconnect waits for devices on the wire"):
        Patient.of(args, DeviceAddress("sim", "", {}))
