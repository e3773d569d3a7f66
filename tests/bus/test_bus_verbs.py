"""`acclimate bus`, `acclimate service`, `run` and `simulate --bus`, on simulated buses."""

from __future__ import annotations

import configparser
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from acclimate.command.cli import main
from acclimate_bridge.bus.models import Family
from acclimate_bridge.simulation.bus.bus import Disturbance, Disturber
from acclimate_bridge.simulation.bus.servo import BusServo
from acclimate_demo.shipped import shipped_bundle

from .serving import Bench, served

X, STS = Family.DYNAMIXEL, Family.FEETECH
BUNDLE = str(shipped_bundle("servo_wide_rl2"))


def test_scan_says_who_is_there_and_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    def prepare(servos: dict[int, BusServo]) -> None:
        servos[3].alarm = 1 << 2

    with served(STS, [1, 3], prepare=prepare) as bench:
        code = main(["bus", "scan", bench.port, "--family", "feetech", "--baud", "1000000", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert code == 1
    assert [(check["name"], check["ok"]) for check in checks] == [("id 1", True), ("id 3", False)]
    told = r"STS3215, firmware 3, 1000000 baud, position mode, 7\.4 V, 25 °C, at 20[45]\d"  # with noise
    assert re.search(told, checks[0]["found"])
    assert "overheating error" in checks[1]["remedy"]


def test_check_looks_at_each_servo_by_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def prepare(servos: dict[int, BusServo]) -> None:
        servos[1].alarm = 1 << 5

    with served(X, [1, 2], prepare=prepare) as bench:
        file = tmp_path / "bus.toml"
        joints = "[joints.a]\nid = 1\n[joints.b]\nid = 2\n[joints.c]\nid = 2\n[joints.d]\nid = 1\n"
        file.write_text(f'family = "dynamixel"\nport = "{bench.port}"\n{joints}')
        assert main(["bus", "check", str(file)]) == 1
        file.write_text(
            f'family = "dynamixel"\nport = "{bench.port}"\n[joints.a]\nid = 1\n[joints.b]\nid = 2\n'
        )
        capsys.readouterr()
        assert main(["bus", "check", str(file)]) == 1
    said = capsys.readouterr().out
    assert "has latched: overload error" in said
    assert "id 2, XL330-M288, firmware 52, has a watchdog of its own" in said


@pytest.mark.parametrize("family", Family)
def test_set_id_changes_the_one_that_is_there_and_lasts(family: Family) -> None:
    with served(family) as bench:
        servo = bench.servos[1]
        rate = ["--family", family, "--baud", "1000000"]
        assert main(["bus", "set-id", bench.port, *rate, "--to", "7"]) == 0
        bench.do(lambda: servo.restart(bench.now))
        assert servo.number == 7
    with served(family, [1, 2]) as bench:
        assert main(["bus", "set-id", bench.port, *rate, "--to", "7"]) == 2
        assert sorted(servo.number for servo in bench.bus.servos) == [1, 2]


class Silences(Disturber):
    """Loses the first answer."""

    def next(self) -> Disturbance | None:
        lost, self.shares = self.shares, {}
        return "silent" if lost else None


@pytest.mark.parametrize("family", Family)
def test_an_answer_that_is_missed_leaves_no_two_servos_with_one_id(family: Family) -> None:
    disturber = Silences(np.random.default_rng(0), {"silent": 1.0})
    with served(family, [1, 2], disturber=disturber) as bench:
        words = ["bus", "set-id", bench.port, "--family", family, "--baud", "1000000", "--to", "7"]
        assert main(words) == 2
        assert not disturber.shares
        assert sorted(servo.number for servo in bench.bus.servos) == [1, 2]


@pytest.mark.parametrize("family", Family)
def test_set_baud_changes_the_rate_and_lasts(family: Family) -> None:
    with served(family, baud=57_600) as bench:
        servo = bench.servos[1]
        words = ["bus", "set-baud", bench.port, "--family", family, "--baud", "57600"]
        assert main([*words, "--to", "1000000"]) == 0
        bench.do(lambda: servo.restart(bench.now))
        assert servo.baud == 1_000_000
        assert main([*words, "--to", "17"]) == 2


@pytest.mark.alone
@pytest.mark.parametrize("family", Family)
def test_selftest_shows_the_sign_and_stays_near(family: Family, capsys: pytest.CaptureFixture[str]) -> None:
    with served(family) as bench:
        assert main(["bus", "selftest", f"{family}:{bench.port}?id=1"]) == 0
        assert abs(bench.servos[1].plant.angle) < 0.3
        assert bench.servos[1].get("torque") == 0
    assert capsys.readouterr().out.startswith("ok   servo")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["frob", "/dev/ttyACM0"],
            "there is no such action; valid names: scan, check, set-id, set-baud, selftest",
        ),
        (["scan", "/dev/nothing"], "port /dev/nothing does not exist"),
        (["scan", "p", "--family", "fetech"], "did you mean 'feetech'?"),
        (["scan", "p", "--family", "feetech", "--baud", "3"], "--baud must be one of"),
        (["set-id", "p"], "bus set-id needs --family and --to"),
        (["set-id", "p", "--family", "feetech", "--to", "999"], "--to must be an id from 0 to 252"),
        (["check", "wire:/dev/ttyACM0"], "is no bus; give a bus file, or one of"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bus", *words]) == 2
    assert said in capsys.readouterr().err


def test_service_prints_a_unit_and_a_rule(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bus 100%.toml").touch()
    assert main(["service", BUNDLE, "--device", str(tmp_path / "bus 100%.toml"), "--user", "robot"]) == 0
    out = capsys.readouterr().out
    rule, _, unit = out.partition("# /etc/systemd")
    assert 'SYMLINK+="acclimate-servo_wide_rl2"' in rule
    parsed = configparser.RawConfigParser()
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(unit.partition("\n")[2])
    assert parsed["Service"]["User"] == "robot"
    assert parsed["Service"]["Restart"] == "no"
    assert f"'{tmp_path}/bus 100%%.toml' --forever --keep" in parsed["Service"]["ExecStart"]
    assert main(["service", BUNDLE, "--device", "bus.toml", "--usb", "/dev/nothing"]) == 2


def run(bench: Bench, family: Family, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acclimate", "run", BUNDLE, "--device", f"{family}:{bench.port}?id=1"]
    rest = ["--engine", "onnxruntime", "--no-sign-test", *options]
    return subprocess.run([*command, *rest], capture_output=True, text=True, check=False)


@pytest.mark.alone
@pytest.mark.parametrize("family", Family)
def test_a_shipped_bundle_tracks_on_a_bus_and_leaves_it_as_it_was(family: Family) -> None:
    with served(family) as bench:
        done = run(bench, family, "--seconds", "2", "--json")
        assert done.returncode == 0, done.stderr
        tree = json.loads(done.stdout)
        assert tree["figures"]["error"] < 0.15
        assert tree["link"]["exchanges"] > 100
        servo = bench.servos[1]
        assert until_off(servo)
        assert servo.get("mode") == servo.table.modes["position"]  # type: ignore[index]
    assert ("no watchdog of its own" in done.stderr) is (family is STS)


def until_off(servo: BusServo) -> bool:
    for _ in range(100):
        if servo.get("torque") == 0:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.alone
def test_a_fault_on_the_way_is_exit_code_1_with_the_servos_words() -> None:
    with served(X) as bench:
        command = [
            sys.executable,
            "-m",
            "acclimate",
            "run",
            BUNDLE,
            "--device",
            f"dynamixel:{bench.port}?id=1",
        ]
        rest = ["--engine", "onnxruntime", "--no-sign-test", "--seconds", "20"]
        with subprocess.Popen([*command, *rest], stderr=subprocess.PIPE, text=True) as process:
            while bench.servos[1].duty == 0.0:
                time.sleep(0.01)
            bench.do(lambda: setattr(bench.servos[1], "alarm", 1 << 5))
            _, said = process.communicate(timeout=20)
            assert process.returncode == 1
        assert "servo: overload error" in said
        assert until_off(bench.servos[1])
    with served(X, prepare=lambda servos: setattr(servos[1], "alarm", 1 << 5)) as bench:
        assert run(bench, X, "--seconds", "1").returncode == 2


@contextmanager
def simulated(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "acclimate", "simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_simulate_serves_a_bus_until_it_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    servos = ["--servo", "sts3215=1", "--servo", "STS3215=2"]
    with simulated("--bus", "feetech", *servos) as (process, port):
        assert main(["bus", "check", f"feetech:{port}?id=2"]) == 0
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5.0) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bus", "fetech"], "there is no such family; did you mean 'feetech'?"),
        (["--bus", "feetech", "--servo", "XL330=1"], "on a feetech bus there is no 'XL330'"),
        (["--bus", "feetech", "--servo", "STS3215"], "is not NAME=ID with an id from 1 to 252, as STS3215=1"),
        (["--bus", "feetech", "--baud", "3"], "feetech servos have one of"),
        (["--bus", "feetech", "--disturb", "quiet=1"], "there is no such kind"),
        (["--bus", "feetech", "--disturb", "short=2"], "is not KIND=SHARE with a share from 0 to 1"),
        (["--servo", "STS3215=1", "--servo", "STS3215=2"], "several --servo need --bus"),
    ],
)
def test_a_bus_that_cannot_be_is_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *options]) == 2
    assert said in capsys.readouterr().err
