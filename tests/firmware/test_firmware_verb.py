"""`acclimate firmware new`: a project for one's own channels that builds at once, or one sentence and nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from acclimate.command.cli import main
from acclimate.control.clock import RealClock
from acclimate_bridge.firmware.c_tables import constants
from acclimate_bridge.firmware.channels import read_profile
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import WireChannel
from acclimate_bridge.link.transport import SerialTransport
from acclimate_demo.shipped import shipped_bundle

from benchmarks._boards import CORTEX_M4, FIRMWARE, SOURCES, compiled, host_device

from . import building
from .test_in_the_loop import acclimate

EXAMPLE = building.ROOT / "examples" / "own_firmware.toml"
QUADROTOR = shipped_bundle("quadrotor_rl2")
SENSOR = '[[sensors]]\nname = "x"\nminimum = 0\nmaximum = 1\n'
ACTUATOR = '[[actuators]]\nname = "u"\nminimum = -1\nmaximum = 1\n'


def new(folder: Path, channels: Path | str) -> int:
    return main(["firmware", "new", str(folder), "--channels", str(channels)])


@pytest.fixture(params=[EXAMPLE, QUADROTOR], ids=lambda path: path.stem)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder: Path = tmp_path / request.param.stem
    assert new(folder, request.param) == 0
    (tmp_path / "channels").write_text(str(request.param), encoding="utf-8")
    return folder


def test_it_builds_and_is_the_device_that_was_asked_for(project: Path, tmp_path: Path) -> None:
    building.need("cc")
    compiled("make", "-s", "-C", project)
    asked = read_profile((tmp_path / "channels").read_text(encoding="utf-8"), f"{project.name} 1")
    with (
        host_device(project / "build" / "device") as device,
        HostLink(SerialTransport(device.port), RealClock()) as link,
    ):
        assert link._schema.hash == asked.schema.hash
        assert link.caps.rate_hz == pytest.approx(asked.rate_hz)
        assert link.caps.firmware == f"{project.name} 1"
        link.start()


def test_arduino_would_build_it(project: Path, tmp_path: Path) -> None:
    building.need("arm-none-eabi-g++")
    sketch = project / f"{project.name}.ino"
    building.sketch(sketch, project, tmp_path)
    parts = [project / "channels.c", *(project / "src").glob("*.c")]
    for part in parts:
        compiled(
            "arm-none-eabi-gcc",
            "-std=gnu11",
            *CORTEX_M4,
            "-Werror",
            "-c",
            part,
            "-o",
            tmp_path / "part.o",
        )


@pytest.mark.parametrize("name", ["HBridgePotentiometer", "HBridgeEncoder"])
def test_the_examples_of_the_library_build(name: str, tmp_path: Path) -> None:
    building.need("arm-none-eabi-g++")
    building.sketch(FIRMWARE / "examples" / name / f"{name}.ino", SOURCES, tmp_path)


@pytest.mark.alone
def test_a_bundle_is_not_driven_on_a_device_of_other_channels(project: Path) -> None:
    building.need("cc")
    compiled("make", "-s", "-C", project)
    with host_device(project / "build" / "device") as device:
        done = acclimate("run", shipped_bundle("servo_wide_rl2"), "--port", device.port)
    assert done.returncode == 2
    assert "this device does not fit bundle 'servo_wide_rl2': " in done.stderr
    assert "'position'" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it must have 1 to 23 sensors, found 0"),
        (SENSOR, "it must have 1 to 27 actuators, found 0"),
        (SENSOR * 2 + ACTUATOR, "two sensors are called 'x'"),
        (SENSOR + ACTUATOR + 'neutral = "hold"', "for which it needs a sensor 'u' in 1; sensors: x"),
        (SENSOR + ACTUATOR + "neutral = 7", 'must be within its range, or "hold", found 7'),
        (SENSOR + ACTUATOR + "slew = -1", "slew must be at least 0, found -1"),
        (SENSOR + ACTUATOR + "speed = 1", "has the unknown field 'speed'; valid fields: "),
        (SENSOR + "scale = 1e-30\n" + ACTUATOR, "scale of 1e-30 cannot express 0 to 1"),
        (SENSOR.replace("= 0", "= 3") + ACTUATOR, "minimum must be below its maximum of 1, found 3"),
        (SENSOR.replace('"x"', '"' + 33 * "x" + '"') + ACTUATOR, "is too long for the wire"),
        (SENSOR.replace('"x"', '""') + ACTUATOR, "name must be letters that can be shown, found ''"),
        (SENSOR.replace("0", "2026-01-01") + ACTUATOR, "minimum must be a finite number"),
        (f"rate = 2000\n{SENSOR}{ACTUATOR}", "rate must be from 1 to 1000 Hz, found 2000"),
        (f"hz = 100\n{SENSOR}{ACTUATOR}", "has the unknown field 'hz'"),
        ("[[sensors", "is not valid TOML"),
    ],
)
def test_channels_that_cannot_be_end_in_a_sentence_and_leave_nothing(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "channels.toml").write_text(text, encoding="utf-8")
    assert new(tmp_path / "device", tmp_path / "channels.toml") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["channels.toml"]


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "device").mkdir()
    assert new(tmp_path / "device", EXAMPLE) == 2
    assert "exists; choose a new folder" in capsys.readouterr().err
    assert [*(tmp_path / "device").iterdir()] == []


@pytest.mark.parametrize("name", ["my device", "-x", "ö", "a" * 64])
def test_a_name_that_no_sketch_can_have_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["firmware", "new", f"{tmp_path}/{name}", "--channels", str(EXAMPLE)]) == 2
    assert "cannot be the name of a sketch" in capsys.readouterr().err


def test_nothing_is_left_where_the_disk_says_no(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert new(tmp_path / "file" / "device", EXAMPLE) == 2
    assert "cannot make" in capsys.readouterr().err


def test_names_that_come_to_the_same_in_c_are_told_apart() -> None:
    channels = [WireChannel(name, "1", 1.0, 0.0, 2.0) for name in ("a b", "a-b", "ä", "c")]
    assert constants(channels) == ["A_B_0", "A_B_1", "CHANNEL", "C"]


def test_a_name_of_any_letters_arrives_as_it_is(tmp_path: Path) -> None:
    """Quotes, trigraphs, what ends a comment, and letters that are no ASCII."""
    building.need("cc")
    names = ['say \\"hi\\"', "what??/", "*/ x /*", "°1", "\\\\n"]
    text = "".join(SENSOR.replace('"x"', f'"{name}"') for name in names) + ACTUATOR
    (tmp_path / "channels.toml").write_text(text, encoding="utf-8")
    assert new(tmp_path / "device", tmp_path / "channels.toml") == 0
    subprocess.run(["make", "-s", "-C", str(tmp_path / "device")], check=True)
    with (
        host_device(tmp_path / "device" / "build" / "device") as device,
        HostLink(SerialTransport(device.port), RealClock()) as link,
    ):
        assert [c.name for c in link.caps.sensors] == ['say "hi"', "what??/", "*/ x /*", "°1", "\\n"]
