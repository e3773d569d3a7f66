"""`acclimate run` in real time, against the simulated device in its own process: success, and every fault."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from acclimate.bundle.file import load
from acclimate.policy.checkpoint import load_checkpoint
from acclimate.policy.policy import Policy
from acclimate_bridge.simulation.spawn import SimulatedPort, simulated_port

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
    assert all(len(row["episodes"]) == 2 and 0.0 < row["figures"]["error"] < 1.0 for row in report["rows"])
    assert len(report["shots"]) == 2
    assert report["shots"][0]["info"]["step_norm"] > 0.0
    # 2 episodes before, and per shot 3 to explore, at least 1 while adapting, and 2 after, of 20 ticks each
    assert report["loop"]["ticks"] >= 20 * (2 + 2 * 6)
    assert report["link"]["received"] > report["loop"]["ticks"]
    assert saved.is_file()


def test_text_for_people(acclimate: Acclimate, bundles: Path, device: SimulatedPort) -> None:
    done = acclimate("run", bundles / "robust.acclimate", "--port", device.port, "--episodes", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("measured")
    assert "jitter p50" in done.stdout


def test_a_drive_without_a_pause(
    acclimate: Acclimate, bundles: Path, device: SimulatedPort, tmp_path: Path
) -> None:
    recorded, bundle = tmp_path / "drive.npz", bundles / "rl2.acclimate"
    arguments = ("run", bundle, "--port", device.port, "--seconds", "2.5")
    done = acclimate(*arguments, "--record", recorded, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["seconds"], report["resets"]) == (2.5, [])
    assert [(c["from"], c["to"]) for c in report["curve"]] == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]
    squares = [c["value"] ** 2 * (c["to"] - c["from"]) for c in report["curve"]]
    assert report["figures"]["error"] ** 2 == pytest.approx(sum(squares) / 2.5)
    with np.load(recorded) as drive:
        assert drive["obs"].shape == (1, 251, 4)
        error = drive["obs"][0, 1:, 0] - drive["obs"][0, 1:, 2]
    assert report["figures"]["error"] == pytest.approx(float(np.sqrt(np.mean(error**2))), rel=1e-5)
    text = acclimate(*arguments)
    assert text.stdout.startswith("2.5 s of driving")


def test_the_engine_is_the_one_named_and_told(
    acclimate: Acclimate, bundles: Path, device: SimulatedPort
) -> None:
    arguments = ("run", bundles / "rl2.acclimate", "--port", device.port, "--seconds", "0.2", "--json")
    report = json.loads(acclimate(*arguments, "--engine", "onnxruntime").stdout)
    assert (report["engine"], report["engine_why"]) == ("onnxruntime", "as asked for")
    refused = acclimate(*arguments, "--engine", "tensorrt")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "valid names: auto, native, litert, onnxruntime" in refused.stderr


@pytest.mark.parametrize("rule", ["trial", "episode", "never"])
@pytest.mark.parametrize("scope", ["trial", "episode"])
def test_a_reset_does_what_the_manifest_says(
    acclimate: Acclimate, tiny: ModuleType, tmp_path: Path, device: SimulatedPort, rule: str, scope: str
) -> None:
    """`ticks` counts the acts since its last reset: 100 or so, or 50 or so."""
    manifest = tiny.recurrent(tiny.manifest())
    rules = {"ticks": rule, "previous": "never"}
    state = tuple(replace(t, reset=rules.get(t.name, "never")) for t in manifest.state)
    bundle, saved = tmp_path / "bundle", tmp_path / "saved"
    tiny.write_tiny(bundle, replace(manifest, state=state))
    done = acclimate(
        "run",
        bundle,
        "--port",
        device.port,
        "--seconds",
        "1",
        "--reset",
        f"{scope}@0.5",
        "--save",
        saved,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    goes = rule == "episode" or rule == scope
    assert report["resets"] == [{"scope": scope, "at": 0.5, "tensors": ["ticks"] if goes else []}]
    policy = Policy(load(bundle))
    load_checkpoint(saved, policy)
    acts = 100 - report["loop"]["bad"]
    assert policy.state("previous") != 0.0
    if goes:
        assert acts - 51 <= policy.state("ticks")[0] <= 49
    else:
        assert policy.state("ticks")[0] == acts


def test_several_resets_come_in_their_order_and_are_told(
    acclimate: Acclimate, bundles: Path, device: SimulatedPort
) -> None:
    resets = ("--reset", "episode@0.4", "--reset", "trial@0.2")
    done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port, "--seconds", "0.5", *resets)
    assert done.returncode == 0, done.stderr
    assert "reset of the episode at 0.4 s: previous back to the initial value" in done.stdout
    assert "reset of the trial at 0.2 s: weight, shots, previous back to the initial value" in done.stdout


def test_a_device_of_another_rate_is_refused(acclimate: Acclimate, bundles: Path) -> None:
    for rate in ("50", "150"):
        with simulated_port("--rate", rate) as slow:
            done = acclimate("run", bundles / "rl2.acclimate", "--port", slow.port, "--seconds", "1")
        assert done.returncode == 2
        assert f"rate {rate} Hz, expected 100 Hz or a multiple of it" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.alone
def test_on_a_faster_device_memory_advances_at_the_bundles_rate(
    acclimate: Acclimate, bundles: Path, tmp_path: Path
) -> None:
    bundle, saved = bundles / "rl2.acclimate", tmp_path / "saved"
    with simulated_port("--rate", "200") as fast:
        begin = time.monotonic()
        done = acclimate("run", bundle, "--port", fast.port, "--seconds", "1.5", "--save", saved, "--json")
        took = time.monotonic() - begin
    assert done.returncode == 0, done.stderr
    policy, loop = Policy(load(bundle)), json.loads(done.stdout)["loop"]
    load_checkpoint(saved, policy)
    assert policy.state("ticks")[0] == 150 - loop["bad"]
    assert took > 1.5


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan@0.1", "measures 'position' as nan"),
        ("reboot@0.1", "has restarted"),
        ("unplug@0.1", "has vanished while in use"),
        ("hang@0.1", "has been silent for 0.5 s"),
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


def test_a_fault_leaves_what_was_recorded_and_learned(
    acclimate: Acclimate, bundles: Path, tmp_path: Path
) -> None:
    """What no earlier checkpoint has: here a step was kept before the device was unplugged."""
    record, saved = tmp_path / "drive.npz", tmp_path / "learned"
    keeps = ("--episodes", "1", "--shots", "2", "--record", record, "--save", saved)
    with simulated_port("--fault", "unplug@1.6") as device:
        done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port, *keeps)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    with np.load(record) as found:
        episodes, steps = len(found["steps"]), found["steps"]
    assert episodes > 1
    assert (steps[:-1] == 20).all()
    policy = Policy(load(bundles / "tiny.acclimate"))
    if saved.exists():  # as the guard found: a step that was taken back is not there
        load_checkpoint(saved, policy)
        assert policy.state("shots")[0] == 1


def test_each_result_is_written_by_itself(bundles: Path, device: SimulatedPort, tmp_path: Path) -> None:
    """A folder that goes away during the drive takes the recording with it, and nothing else."""
    gone, saved = tmp_path / "gone", tmp_path / "learned"
    gone.mkdir()
    arguments = [bundles / "tiny.acclimate", "--port", device.port, "--json", *QUICK, "--save", saved]
    command = [sys.executable, "-m", "acclimate", "run", *arguments, "--record", gone / "drive.npz"]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _await_port(process, device.port)
        shutil.rmtree(gone)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert json.loads(out)["rows"]
    assert saved.is_file()
    assert "drive.npz: No such file or directory" in said


@pytest.mark.parametrize("option", ["--record", "--save"])
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("/dev/full", "it is a device or a pipe, expected a file"),
        ("/proc/x.npz", "cannot write /proc/x.npz: No such file or directory"),
        ("/nowhere/x.npz", "the folder /nowhere does not exist"),
    ],
)
def test_what_cannot_be_written_is_said_before_driving(
    here: Acclimate, bundles: Path, option: str, file: str, words: str
) -> None:
    done = here("run", bundles / "tiny.acclimate", "--port", "/nowhere/port", option, file)
    assert done.returncode == 2
    assert words in done.stderr
    assert option in done.stderr
    assert Path("/dev/full").is_char_device()


def test_a_full_stdout_loses_the_report_alone(bundles: Path, device: SimulatedPort, tmp_path: Path) -> None:
    record, saved = tmp_path / "drive.npz", tmp_path / "learned"
    arguments = ["--port", device.port, *QUICK, "--record", record, "--save", saved]
    command = [sys.executable, "-m", "acclimate", "run", bundles / "tiny.acclimate", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            list(map(str, command)), stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (
        1,
        "acclimate: cannot write to stdout: No space left on device\n",
    )
    assert record.is_file()
    assert saved.is_file()


def test_a_bundle_for_other_channels_is_refused_with_all_differences(
    acclimate: Acclimate, tiny: ModuleType, tmp_path: Path, device: SimulatedPort
) -> None:
    manifest = tiny.without_adapt(tiny.manifest())
    names = {"velocity": "speed"}
    task = replace(
        manifest.task,
        observation=tuple(replace(c, name=names.get(c.name, c.name)) for c in manifest.observation),
        action=(replace(manifest.action[0], unit="V"),),
    )
    path = tiny.write_tiny(tmp_path / "other.acclimate", replace(manifest, task=task))
    done = acclimate("run", path, "--port", device.port)
    assert done.returncode == 2
    assert "no sensor 'speed' (the device has: position, velocity)" in done.stderr
    assert "actuator 'duty' in '1', expected 'V'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "/dev/ttyNONE"), "/dev/ttyNONE does not exist"),
        (("--port", "/dev/null", "--shots", "9"), "shots must be from 0 to 2"),
        (("--port", "/dev/null", "--episodes", "0"), "--episodes must be at least 1"),
        (("--port", "/dev/null", "--seed", "-1"), "--seed must be at least 0"),
        (("--port", "/dev/null", "--seconds", "0"), "--seconds must be from 0.1 to 3600, found 0"),
        (("--port", "/dev/null", "--seconds", "nan"), "--seconds must be from 0.1 to 3600, found nan"),
        (("--port", "/dev/null", "--seconds", "9", "--shots", "1"), "leave out --shots and --episodes"),
        (("--port", "/dev/null", "--reset", "trial@1"), "--reset needs --seconds"),
        (("--port", "/dev/null", "--seconds", "9", "--reset", "never@1"), "valid SCOPE: trial, episode"),
        (("--port", "/dev/null", "--seconds", "9", "--reset", "trial"), "is not SCOPE@SECONDS"),
        (("--port", "/dev/null", "--seconds", "9", "--reset", "trial@9"), "comes after the end"),
        (("--port", "/dev/null", "--save", "/no/such/folder/x"), "the folder /no/such/folder does not exist"),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    here: Acclimate, bundles: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = here("run", bundles / "tiny.acclimate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_oracle_cannot_be_run(here: Acclimate, bundles: Path) -> None:
    done = here("run", bundles / "oracle.acclimate", "--port", "/dev/null")
    assert done.returncode == 2
    assert "true parameters" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_device_safe(
    acclimate: Acclimate,
    bundles: Path,
    device: SimulatedPort,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    """And what was recorded is kept."""
    main = "from acclimate.command.cli import main; raise SystemExit(main())"
    bundle, record = str(bundles / "tiny.acclimate"), tmp_path / "drive.npz"
    command = [sys.executable, "-c", main, "run", bundle, "--port", device.port, "--episodes", "200"]
    command += ["--record", str(record), "--no-sign-test"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _await_port(process, device.port)
        time.sleep(0.8)
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    with np.load(record) as found:
        assert found["steps"].sum() > 20
    # the port is free again, and the device obeys a new host
    assert acclimate("run", bundle, "--port", device.port, *QUICK).returncode == 0


def _await_port(process: subprocess.Popen[str], port: str) -> None:
    """Until the process has opened the port, however long this machine takes to start it."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) == port for fd in Path(f"/proc/{process.pid}/fd").iterdir()):
                return
        time.sleep(0.05)
    pytest.fail(f"the process has not opened {port}")


def test_a_busy_port_is_refused(acclimate: Acclimate, bundles: Path, device: SimulatedPort) -> None:
    from acclimate_bridge.link.transport import SerialTransport

    holder = SerialTransport(device.port)
    done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port)
    holder.close()
    assert done.returncode == 2
    assert "in use by another program" in done.stderr


def test_nothing_is_saved_of_a_machine_that_does_not_answer(
    acclimate: Acclimate, bundles: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "learned"
    with simulated_port("--drive-gain", "0.001") as device:
        options = (
            "--port",
            device.port,
            "--episodes",
            "1",
            "--shots",
            "1",
            "--save",
            saved,
            "--no-sign-test",
        )
        done = acclimate("run", bundles / "tiny.acclimate", *options)
    assert done.returncode == 0
    assert "the step was not taken" in done.stdout
    assert f"nothing was learned; {saved} is not written" in done.stderr
    assert not saved.exists()
