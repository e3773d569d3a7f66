"""`acclimate run` as a machine is operated: what it follows, how it begins, what ends it, and what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from acclimate.bundle.file import load
from acclimate.control.clock import RealClock
from acclimate.control.device import Channel, DeviceCaps
from acclimate.policy.checkpoint import load_checkpoint, save_checkpoint
from acclimate.policy.policy import Policy
from acclimate_bridge.command.operating import tamed
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.spawn import simulated_port
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Acclimate

MAIN = (sys.executable, "-c", "from acclimate.command.cli import main; raise SystemExit(main())")
SHIPPED = Path(__file__).parents[2] / "examples" / "bundles"
GOOD = SHIPPED / "servo_wide_rl2.acclimate"
EITHER_WAY = SHIPPED / "servo_miswired_rl2.acclimate"


def _until_driving(process: subprocess.Popen[str], port: str) -> None:
    end = time.monotonic() + 30.0
    while time.monotonic() < end and process.poll() is None:
        if any(str(fd.readlink()) == port for fd in Path(f"/proc/{process.pid}/fd").iterdir() if fd.exists()):
            return
        time.sleep(0.05)
    pytest.fail(f"the process has not opened {port}")


def _seen(port: str) -> tuple[frozenset[str], float, int]:
    """Faults, position and refused commands of the device at a port, which is not moved."""
    with HostLink(SerialTransport(port), RealClock()) as link:
        time.sleep(0.1)
        sample = link.latest()
        assert sample is not None
        return sample.faults, float(sample.values[0]), link.stats.device_refused


# The first drive.


def test_a_motor_that_is_wired_backwards_is_found_before_it_is_driven(acclimate: Acclimate) -> None:
    with simulated_port("--servo", "XL-320", "--polarity", "-1") as device:
        refused = acclimate("run", GOOD, "--port", device.port, "--seconds", "1")
        assert refused.returncode == 2
        assert "'position' falls where 'duty' is driven up: wired backwards" in refused.stderr
        assert abs(_seen(device.port)[1]) < 0.3
        learned = acclimate("run", EITHER_WAY, "--port", device.port, "--seconds", "3")
        assert learned.returncode == 0, learned.stderr
        assert "sign test of duty: position is driven backwards" in learned.stderr


def test_a_drive_that_diverges_has_an_exit_code_of_its_own_and_a_report(acclimate: Acclimate) -> None:
    with simulated_port("--servo", "XL-320", "--polarity", "-1") as device:
        arguments = ("run", GOOD, "--port", device.port, "--no-sign-test", "--seconds", "4", "--json")
        done = acclimate(*arguments)
        assert done.returncode == 3
        assert "it diverged: the error in the end" in done.stderr
        assert json.loads(done.stdout)["seconds"] == 4.0
        aborted = acclimate(*arguments, "--abort-error", "0.2")
    assert aborted.returncode == 3
    assert "more than 0.2 away for 0.25 s; the device was stopped" in aborted.stderr
    assert aborted.stdout == ""


def test_a_share_of_the_action_is_all_that_is_used(acclimate: Acclimate, tmp_path: Path) -> None:
    record = tmp_path / "drive.npz"
    with simulated_port("--servo", "XL-320") as device:
        arguments = ("run", GOOD, "--port", device.port, "--seconds", "2", "--record", record)
        done = acclimate(*arguments, "--max-action", "0.1", "--amplitude", "0.2", "--seed", "3")
    assert done.returncode in (0, 3), done.stderr
    with np.load(record) as drive:
        assert float(np.abs(drive["applied"]).max()) <= 0.1 + 1e-6
        assert float(np.abs(drive["obs"][0, :, 2]).max()) <= 0.2 + 1e-6


def test_a_dry_run_moves_nothing_and_says_what_it_would_have_sent(acclimate: Acclimate) -> None:
    with simulated_port("--servo", "XL-320") as device:
        before = _seen(device.port)
        done = acclimate("run", GOOD, "--port", device.port, "--dry-run", "--seconds", "1", "--json")
        after = _seen(device.port)
    assert done.returncode == 0, done.stderr
    dry = json.loads(done.stdout)["dry_run"]
    assert dry["commands"] == 100
    (duty,) = dry["actuators"]
    assert duty["name"] == "duty"
    assert -1.0 <= duty["lowest"] <= duty["first"] <= duty["highest"] <= 1.0
    assert after[0] == {"session"}
    assert after[1] == pytest.approx(before[1], abs=0.01)
    assert after[2] == before[2]


@given(
    amplitude=st.floats(0.01, 5.0),
    low=st.floats(-3.0, -0.1),
    high=st.floats(0.1, 3.0),
)
def test_references_stay_within_what_was_asked_and_what_the_sensor_reaches(
    tiny: ModuleType, amplitude: float, low: float, high: float
) -> None:
    task = tiny.manifest().task
    caps = DeviceCaps(
        (Channel("position", "rad", low, high), Channel("velocity", "rad/s", -40.0, 40.0)),
        (Channel("duty", "1", -1.0, 1.0),),
        100.0,
        1,
        "test",
    )
    reference = tamed(task, caps, amplitude).reference
    assert reference is not None
    (track,) = reference.tracks
    margin = 0.05 * (high - low)
    assert track.amplitude <= amplitude
    assert track.center - track.amplitude >= low + margin - 1e-9
    assert track.center + track.amplitude <= high - margin + 1e-9


# What to follow.


def test_a_file_is_followed_to_its_end(acclimate: Acclimate, tmp_path: Path) -> None:
    rows, record = tmp_path / "rows.csv", tmp_path / "drive.npz"
    rows.write_text("time,target\n0,0\n1,0.5\n1.5,0.5\n", encoding="utf-8")
    with simulated_port("--servo", "XL-320") as device:
        arguments = ("run", GOOD, "--port", device.port, "--reference", rows, "--record", record)
        done = acclimate(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["seconds"] == 1.5
        with np.load(record) as drive:
            np.testing.assert_allclose(
                drive["obs"][0, [0, 50, 100, 150], 2], [0.0, 0.25, 0.5, 0.5], atol=1e-6
            )
            assert abs(float(drive["obs"][0, -1, 0]) - 0.5) < 0.1
        rows.write_text("0 0\n1 99\n", encoding="utf-8")
        refused = acclimate(*arguments)
    assert refused.returncode == 2
    assert "line 2: target = 99 is outside of" in refused.stderr


def test_rows_are_followed_as_they_come_until_the_stream_ends() -> None:
    with simulated_port("--servo", "XL-320") as device:
        command = [*MAIN, "run", str(GOOD), "--port", device.port, "--reference", "-", "--json"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            _until_driving(process, device.port)
            for k in range(60):
                process.stdin.write(f"{k * 0.05:.2f} {0.3 * min(k / 20, 1.0):.3f}\n")
                process.stdin.flush()
                time.sleep(0.05)
            out, error = process.communicate(timeout=20)
        where = _seen(device.port)[1]
    assert process.returncode == 0, error
    report = json.loads(out)
    assert report["seconds"] > 1.0
    assert report["overtaken"] == report["wrong"] == 0
    assert where == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_drives_forever_is_ended_by_a_signal_and_that_is_no_failure(
    number: signal.Signals, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with simulated_port("--servo", "XL-320") as device:
        command = [*MAIN, "run", str(GOOD), "--port", device.port, "--forever", "--json", "--no-sign-test"]
        command += ["--keep", str(kept)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            _until_driving(process, device.port)
            time.sleep(1.5)
            process.send_signal(number)
            out, error = process.communicate(timeout=20)
        assert process.returncode == 0, error
        assert _seen(device.port)[0] == {"session"}
    report = json.loads(out)
    assert report["seconds"] > 0.3
    assert report["figures"]["error"] < 0.5
    assert kept.is_file()


# How it begins and what is left.


@pytest.mark.parametrize("how", [("--episodes", "1", "--shots", "0"), ("--seconds", "0.5")])
def test_adaptation_goes_on_after_a_restart(
    acclimate: Acclimate, bundles: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    """`shots` counts the steps in the policy's own state."""
    bundle, kept = bundles / "tiny.acclimate", tmp_path / "kept"
    policy = Policy(load(bundle))
    policy.set_state("shots", np.array([5.0], np.float32))
    save_checkpoint(kept, policy)
    with simulated_port("--servo", "XL-320", "--drive-gain", "2") as device:
        done = acclimate("run", bundle, "--port", device.port, *how, "--keep", kept)
    assert done.returncode == 0, done.stderr
    policy.restore()
    load_checkpoint(kept, policy)
    assert policy.state("shots") == 5.0


def test_an_emergency_stop_is_released_only_where_that_is_said(acclimate: Acclimate) -> None:
    with simulated_port("--servo", "XL-320") as device:
        with HostLink(SerialTransport(device.port), RealClock()) as link:
            link.emergency_stop()
        arguments = ("run", GOOD, "--port", device.port, "--seconds", "0.5", "--no-sign-test")
        for _ in range(2):
            refused = acclimate(*arguments)
            assert refused.returncode == 1
            assert "emergency stop was pressed; look at the machine" in refused.stderr
        done = acclimate(*arguments, "--release-estop")
        assert done.returncode == 0, done.stderr
        assert acclimate(*arguments).returncode == 0


def test_a_machine_that_stands_elsewhere_is_refused_or_taken_there_and_back(
    acclimate: Acclimate, tmp_path: Path
) -> None:
    from acclimate.bundle.file import write_bundle

    bundle = load(GOOD)
    started = replace(bundle.manifest, start={"position": (-0.5, 0.5)}, files={})
    members = {name: data for name, data in bundle.members.items() if name != "manifest.json"}
    path = tmp_path / "started.acclimate"
    write_bundle(path, started, members)
    arguments = ("run", path, "--seconds", "1", "--no-sign-test", "--seed", "1")
    with simulated_port("--servo", "XL-320", "--angle", "0.9") as device:
        refused = acclimate(*arguments, "--port", device.port)
        assert refused.returncode == 2
        assert "'position' reads 0." in refused.stderr
        assert "may read -0.5 to 0.5" in refused.stderr
        done = acclimate(*arguments, "--port", device.port, "--approach", "--return")
        assert done.returncode == 0, done.stderr
        assert _seen(device.port)[1] == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--forever", "--seconds", "3"), "--forever and --seconds contradict each other"),
        (("--forever", "--record", "x.npz"), "--record keeps a drive that has an end"),
        (("--max-action", "0"), "--max-action must be above 0 and at most 1, found 0"),
        (("--max-action", "nan"), "--max-action must be above 0 and at most 1, found nan"),
        (("--abort-error", "-1"), "--abort-error must be above 0, found -1"),
        (("--reference", "no.csv"), "--reference no.csv cannot be read"),
        (("--dry-run", "--approach"), "--approach moves the machine, and --dry-run does not"),
        (("--dry-run", "--shots", "1"), "leave out --shots and --episodes"),
        (("--keep", "x", "--load", "y"), "--keep FILE is --load and --save of the same file"),
        (("--load", "none"), "none"),
    ],
)
def test_what_contradicts_itself_is_refused_before_a_port_is_opened(
    here: Acclimate, arguments: tuple[str, ...], words: str
) -> None:
    done = here("run", GOOD, "--port", "/dev/null", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_evaluation_that_is_ended_leaves_no_process_behind() -> None:
    command = [*MAIN, "evaluate", str(GOOD), "--machines", "64", "--jobs", "2", "--against"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            workers = _children(process.pid, at_least=2)
            process.send_signal(number)
            process.communicate(timeout=40)
            assert process.returncode in (143, -number)
        end = time.monotonic() + 20.0
        while any(map(_lives, workers)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not [worker for worker in workers if _lives(worker)]


def _children(parent: int, at_least: int) -> list[int]:
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        if len(found) > at_least:  # one more tracks resources
            time.sleep(1.0)
            return [int(pid) for pid in found]
        time.sleep(0.05)
    pytest.fail("no workers came up")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split(")")[1].split()[0]
