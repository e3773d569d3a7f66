"""`acclimate run` in real time, against the simulated device in its own process: success, and every fault."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from acclimate_bridge.spawn import SimulatedPort, simulated_port

from .conftest import Acclimate

QUICK = ("--episodes", "1", "--shots", "1")


@pytest.fixture(scope="module")
def device() -> Iterator[SimulatedPort]:
    with simulated_port("--servo", "XL-320", "--drive-gain", "2") as device:
        yield device


def test_a_trial_reports_errors_loop_and_link(
    acclimate: Acclimate, bundles: Path, device: SimulatedPort, tmp_path: Path
) -> None:
    saved = tmp_path / "learned"
    done = acclimate(
        "run", bundles / "tiny.acclimate", "--port", device.port, "--json", "--save", saved, "--episodes", "2"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["shots"] for row in report["rows"]] == [0, 1, 2]
    assert all(len(row["errors"]) == 2 and 0.0 < row["rms"] < 1.0 for row in report["rows"])
    assert len(report["shots"]) == 2
    assert report["shots"][0]["info"]["step_norm"] > 0.0
    # 2 episodes before, and per shot 3 to explore, at least 1 while adapting, and 2 after, of 20 ticks each
    assert report["loop"]["ticks"] >= 20 * (2 + 2 * 6)
    assert report["link"]["received"] > report["loop"]["ticks"]
    assert saved.is_file()


def test_text_for_people(acclimate: Acclimate, bundles: Path, device: SimulatedPort) -> None:
    done = acclimate("run", bundles / "robust.acclimate", "--port", device.port, "--episodes", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("before adapting")
    assert "jitter p50" in done.stdout


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan@0.1", "measures 'position' as nan"),
        ("reboot@0.1", "has restarted"),
        ("unplug@0.1", "has vanished while in use"),
        ("hang@0.1", "nothing new"),
    ],
)
def test_faults_end_in_one_sentence_and_save_nothing(
    acclimate: Acclimate, bundles: Path, tmp_path: Path, fault: str, words: str
) -> None:
    saved = tmp_path / "learned"
    with simulated_port("--fault", fault) as device:
        done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port, "--save", saved)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_for_other_channels_is_refused_with_all_differences(
    acclimate: Acclimate, tiny: ModuleType, tmp_path: Path, device: SimulatedPort
) -> None:
    manifest = tiny.without_adapt(tiny.manifest())
    names = {"velocity": "speed"}
    other = replace(
        manifest,
        observation=tuple(replace(c, name=names.get(c.name, c.name)) for c in manifest.observation),
        action=(replace(manifest.action[0], unit="V"),),
    )
    path = tiny.write_tiny(tmp_path / "other.acclimate", other)
    done = acclimate("run", path, "--port", device.port)
    assert done.returncode == 2
    assert "no sensor 'speed' (the device has: position, velocity)" in done.stderr
    assert "actuator 'duty' in '1', expected 'V'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "/dev/ttyNONE"), "/dev/ttyNONE does not exist"),
        (("--port", "/dev/null", "--shots", "9"), "--shots must be from 0 to 2"),
        (("--port", "/dev/null", "--episodes", "0"), "--episodes must be at least 1"),
        (("--port", "/dev/null", "--seed", "-1"), "--seed must be at least 0"),
        (("--port", "/dev/null", "--save", "/no/such/folder/x"), "the folder /no/such/folder does not exist"),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    acclimate: Acclimate, bundles: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = acclimate("run", bundles / "tiny.acclimate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_oracle_cannot_be_run(acclimate: Acclimate, bundles: Path) -> None:
    done = acclimate("run", bundles / "oracle.acclimate", "--port", "/dev/null")
    assert done.returncode == 2
    assert "true parameters" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_device_safe(
    acclimate: Acclimate, bundles: Path, device: SimulatedPort, number: signal.Signals, code: int
) -> None:
    main = "from acclimate.cli import main; raise SystemExit(main())"
    bundle = str(bundles / "tiny.acclimate")
    command = [sys.executable, "-c", main, "run", bundle, "--port", device.port, "--episodes", "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(1.5)
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    # the port is free again, and the device obeys a new host
    assert acclimate("run", bundle, "--port", device.port, *QUICK).returncode == 0


def test_a_busy_port_is_refused(acclimate: Acclimate, bundles: Path, device: SimulatedPort) -> None:
    from acclimate_bridge.transport import SerialTransport

    holder = SerialTransport(device.port)
    done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port)
    holder.close()
    assert done.returncode == 2
    assert "in use by another program" in done.stderr
