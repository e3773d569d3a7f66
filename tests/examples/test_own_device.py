"""The example of a device of one's own: keeps the contract, comes in by every door, and is driven."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import acclimate
import numpy as np
import pytest
from acclimate.control.devices import DeviceAddress
from acclimate.errors import MissingPartError, UsageError
from acclimate.own_module import import_file
from acclimate.testing import DeviceContractError, check_device
from acclimate_demo.shipped import shipped_bundle

FILE = Path(__file__).parents[2] / "examples" / "own_device.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return import_file("own_device", FILE)


@pytest.mark.alone
def test_it_keeps_the_contract(example: ModuleType) -> None:
    check_device(example.open_device())


@pytest.mark.alone
def test_a_watchdog_that_never_trips_is_named(example: ModuleType) -> None:
    device = example.open_device()
    device._latch = lambda _: None
    with pytest.raises(DeviceContractError, match="its faults are none, expected watchdog"):
        check_device(device)
    device.close()


@pytest.mark.alone
def test_a_rearm_that_clears_any_latching_is_named(example: ModuleType) -> None:
    device = example.open_device()
    device.rearm = lambda _: device.start(0.01)
    with pytest.raises(DeviceContractError, match="cleared a latching that its reading did not tell of"):
        check_device(device)
    device.close()


@pytest.mark.alone
def test_it_is_driven_by_a_shipped_bundle() -> None:
    device = acclimate.open_device(f"{FILE}:open_device")
    manifest = acclimate.load(shipped_bundle("servo_wide_rl2")).manifest
    policy = acclimate.Policy(acclimate.load(shipped_bundle("servo_wide_rl2")), "onnxruntime")
    policy.reset("trial")
    with acclimate.ControlLoop(policy, device, acclimate.RealClock(), manifest) as loop:
        reference = np.zeros((101, 2), np.float32)
        reference[:, 0] = 0.2
        obs = loop.run_episode(reference).obs
    device.close()
    assert abs(float(obs[-1, 0]) - 0.2) < 0.05


@pytest.mark.alone
def test_the_verb_opens_it() -> None:
    command = [sys.executable, "-m", "acclimate", "run", str(shipped_bundle("servo_wide_rl2"))]
    options = ["--seconds", ".5", "--engine", "onnxruntime", "--json", "--no-sign-test"]
    device = ["--device", f"{FILE}:open_device"]
    done = subprocess.run([*command, *device, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["port"] == f"{FILE}:open_device"


@pytest.mark.parametrize(
    ("text", "name", "where"),
    [
        ("arm.toml", "bus", "arm.toml"),
        ("bus:arm.toml", "bus", "arm.toml"),
        ("left:arm.toml", "bus", "left:arm.toml"),
        ("sim:my_servo.toml", "sim", "my_servo.toml"),
    ],
)
def test_a_file_of_a_bus_needs_no_name_and_takes_nobody_elses(text: str, name: str, where: str) -> None:
    assert DeviceAddress.parse(text) == DeviceAddress(name, where, {})


def test_an_installed_package_brings_devices(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_arm(request: acclimate.DeviceRequest) -> object:
        assert request.address == DeviceAddress("arm", "left", {"speed": "2"})
        return example.open_device(request)

    class Entry:
        name = "arm"

        def load(self) -> object:
            return open_arm

    def found(*, group: str, name: str = "arm") -> list[Entry]:
        return [Entry()] if (group, name) == ("acclimate.devices", "arm") else []

    monkeypatch.setattr(metadata, "entry_points", found)
    device = acclimate.open_device("arm:left?speed=2")
    device.close()
    with pytest.raises(UsageError, match="there is no device 'rm'; did you mean 'arm'"):
        acclimate.open_device("rm:left")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("wire", "is not NAME:WHERE or FILE.py:FUNCTION; did you mean 'wire'?"),
        ("wrie:/dev/ttyACM0", "there is no device 'wrie'; did you mean 'wire'?"),
        ("wire:/dev/ttyACM0?bd=1", "no option 'bd'; did you mean 'baud'? valid options: baud, timeout, dtr"),
        ("wire:/dev/ttyACM0?baud=fast", "baud must be a number from 1200"),
        ("wire:/dev/ttyACM0?timeout=0", "timeout must be above 0"),
        ("wire:/dev/ttyACM0?baud", "'baud' is not KEY=VALUE"),
        ("wire:/dev/ttyACM0?baud=1&baud=2", "comes twice"),
        ("nowhere.py:open_device", "device file nowhere.py does not exist"),
        (f"{FILE}:open_devise", "has no function 'open_devise'; did you mean 'open_device'?"),
        (f"{FILE}:CAPS", "has no function 'CAPS'"),
    ],
)
def test_what_is_no_device_is_refused_in_a_sentence(address: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        acclimate.open_device(address)
    assert said in str(refused.value)


def test_what_a_function_gives_must_be_a_device(tmp_path: Path) -> None:
    file = tmp_path / "arm.py"
    file.write_text("def open_arm(request):\n    return 3\n")
    with pytest.raises(UsageError, match="a int is no device, since it has no caps, start"):
        acclimate.open_device(f"{file}:open_arm")
    file.write_text("1 / 0\n")
    with pytest.raises(UsageError, match="failed: ZeroDivisionError"):
        acclimate.open_device(f"{file}:open_arm")


def test_a_device_whose_part_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint("arm", "no_such_module:open", "acclimate.devices")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [entry])
    with pytest.raises(MissingPartError, match="needs no_such_module, which is not installed"):
        acclimate.open_device("arm:left")


@pytest.mark.alone
def test_a_simulated_device_comes_in_by_the_same_door() -> None:
    device = acclimate.open_device("sim:XL-320")
    assert device.simulates.startswith("XL-320")  # type: ignore[attr-defined]
    device.start(0.01)
    assert device.latest() is not None
    device.close()
    device.close()
