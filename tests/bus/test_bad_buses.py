"""Buses that must not be driven: a sentence each, exit code 2, and nothing has moved or has torque."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import acclimate
import pytest
from acclimate.errors import UsageError
from acclimate.testing import check_device
from acclimate_bridge.bus.files import calibrated_joints, read_bus
from acclimate_bridge.bus.models import Family
from acclimate_bridge.simulation.bus.servo import BusServo

from .serving import Bench, served

X, STS = Family.DYNAMIXEL, Family.FEETECH


def _latched(servos: dict[int, BusServo]) -> None:
    servos[1].alarm = 1 << 5


def _unpowered(servos: dict[int, BusServo]) -> None:
    servos[1].supply = 0.0


def _weak(servos: dict[int, BusServo]) -> None:
    servos[1].supply = 2.0


def _unknown(servos: dict[int, BusServo]) -> None:
    servos[1].put("model_number", 4711)


def _another_baud(servos: dict[int, BusServo]) -> None:
    servos[1].put("baud", next(code for code, rate in servos[1].table.bauds.items() if rate == 57_600))


def _nothing(_: dict[int, BusServo]) -> None:
    return


def opens(bench: Bench, family: Family, query: str = "id=1") -> None:
    acclimate.open_device(f"{family}:{bench.port}?{query}").close()


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("prepare", "query", "said"),
    [
        (_latched, "id=1", "has latched: overload error; find out why"),
        (_unpowered, "id=1", "does not answer on /dev/pts/"),
        (_weak, "id=1", "has 2.0 V, below its limit of"),
        (_unknown, "id=1", "of a model that is not known here (model number 4711); known are"),
        (_another_baud, "id=1", "answers at 57600 baud, not at 1000000; set baud = 57600"),
        (_nothing, "id=9", "Of ids 1 to 20 these answer: 1"),
        (_nothing, "", "say which servo, as"),
        (_nothing, "id=1&baud=1234", "baud must be one of"),
        (_nothing, "id=1&bad=1", "there is no option 'bad'; did you mean 'baud'?"),
    ],
)
def test_it_is_refused_in_a_sentence(
    family: Family, prepare: Callable[[dict[int, BusServo]], None], query: str, said: str
) -> None:
    with served(family, prepare=prepare) as bench:
        with pytest.raises(UsageError) as refused:
            opens(bench, family, query)
        assert said in str(refused.value)
        assert bench.servos[1].get("torque") == 0
        assert bench.servos[1].duty == 0.0


@pytest.mark.parametrize("family", Family)
def test_two_servos_of_one_id_are_refused(family: Family) -> None:
    with served(family, [1, 1]) as bench, pytest.raises(UsageError, match="either two servos have id 1"):
        opens(bench, family)


def test_a_port_that_is_not_there_or_in_use_is_refused() -> None:
    with pytest.raises(UsageError, match="port /dev/nothing does not exist"):
        acclimate.open_device("feetech:/dev/nothing?id=1")
    with served(STS) as bench:
        device = acclimate.open_device(f"feetech:{bench.port}?id=1")
        with pytest.raises(UsageError, match="is in use by another program"):
            opens(bench, STS)
        device.close()


def bus_file(folder: Path, text: str) -> str:
    (folder / "bus.toml").write_text(text, encoding="utf-8")
    return str(folder / "bus.toml")


HEAD = 'family = "feetech"\nport = "{port}"\n'
TWO = HEAD + "[joints.shoulder]\nid = 1\n[joints.elbow]\nid = 2\nsign = -1\nrange = [-1.0, 1.5]\n"


def test_a_bus_file_names_channels_by_joint(tmp_path: Path) -> None:
    with served(STS, [1, 2]) as bench:
        device = acclimate.open_device(bus_file(tmp_path, TWO.format(port=bench.port)))
        names = [channel.name for channel in device.caps.sensors]
        assert names[:3] == ["shoulder", "shoulder_velocity", "shoulder_current"]
        assert [channel.name for channel in device.caps.actuators] == ["shoulder_duty", "elbow_duty"]
        elbow = device.caps.sensors[names.index("elbow")]
        assert (elbow.minimum, elbow.maximum) == (-1.0, 1.5)
        device.close()


@pytest.mark.alone
def test_two_buses_are_one_device(tmp_path: Path) -> None:
    with served(STS) as one, served(X) as other:
        text = (
            f'[joints.a]\nfamily = "feetech"\nport = "{one.port}"\nid = 1\n'
            f'[joints.b]\nfamily = "dynamixel"\nport = "{other.port}"\nid = 1\n'
        )
        device = acclimate.open_device(bus_file(tmp_path, text))
        device.start(0.01)
        assert one.servos[1].get("torque") == other.servos[1].get("torque") == 1
        sample = device.latest()
        assert sample is not None
        assert len(sample.values) == len(device.caps.sensors) == 10
        check_device(device)
        device.close()
        assert one.servos[1].get("torque") == other.servos[1].get("torque") == 0


def test_a_servo_in_another_mode_is_refused_where_it_must_not_be_switched(tmp_path: Path) -> None:
    with served(STS) as bench:
        text = "switch_mode = false\n" + HEAD.format(port=bench.port) + "[joints.servo]\nid = 1\n"
        with pytest.raises(UsageError, match="is in position mode, expected pwm mode"):
            acclimate.open_device(bus_file(tmp_path, text))


def test_a_range_beyond_the_servos_own_limits_is_refused(tmp_path: Path) -> None:
    with served(STS, prepare=lambda servos: servos[1].put("max_position", 3000)) as bench:
        text = (
            'mode = "position"\n'
            + HEAD.format(port=bench.port)
            + "[joints.servo]\nid = 1\nrange = [{}, {}]\n"
        )
        with pytest.raises(UsageError, match="counts 940 to 3156, and its own limits are 0 to 3000"):
            acclimate.open_device(bus_file(tmp_path, text.format(-1.7, 1.7)))
        acclimate.open_device(bus_file(tmp_path, text.format(-1.7, 1.4))).close()


def test_a_hot_servo_is_refused(tmp_path: Path) -> None:
    with served(STS) as bench:
        text = HEAD.format(port=bench.port) + "[joints.servo]\nid = 1\nlimits = { temperature = 20 }\n"
        with pytest.raises(UsageError, match="is at 25 °C, its limit is 20 °C; let it cool down"):
            acclimate.open_device(bus_file(tmp_path, text))


def test_a_servo_of_another_model_is_refused(tmp_path: Path) -> None:
    with served(STS) as bench:
        text = HEAD.format(port=bench.port) + '[joints.servo]\nid = 1\nmodel = "STS3250"\n'
        with pytest.raises(UsageError, match="is a STS3215, expected a STS3250"):
            acclimate.open_device(bus_file(tmp_path, text))


def calibration(folder: Path, **changed: int) -> Path:
    """As LeRobot writes them."""
    entry = {"id": 1, "drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 4095} | changed
    path = folder / "arm.json"
    path.write_text(json.dumps({"elbow": entry}), encoding="utf-8")
    return path


def test_a_lerobot_calibration_says_what_is_built_in(tmp_path: Path) -> None:
    calibration(tmp_path, range_min=1000, range_max=3000, drive_mode=1)
    joint = calibrated_joints(str(tmp_path / "arm.json"))["elbow"]
    assert (joint.id, joint.sign, joint.zero) == (1, -1, 2000)
    assert joint.low == pytest.approx(-1.534, abs=1e-3)
    with served(STS) as bench:
        calibration(tmp_path)
        device = acclimate.open_device(
            bus_file(tmp_path, HEAD.format(port=bench.port) + 'calibration = "arm.json"\n')
        )
        assert device.caps.sensors[0].name == "position"
        device.close()


@pytest.mark.parametrize("changed", [{"homing_offset": 85}, {"range_min": 900}, {"range_max": 3000}])
def test_a_calibration_of_another_servo_is_refused(tmp_path: Path, changed: dict[str, int]) -> None:
    path = calibration(tmp_path, **changed)
    with served(STS) as bench:
        text = HEAD.format(port=bench.port) + f'calibration = "{path.name}"\n'
        with pytest.raises(UsageError, match="it is the file of another servo"):
            acclimate.open_device(bus_file(tmp_path, text))


GOOD = 'family = "feetech"\nport = "p"\n[joints.a]\nid = 1\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("feetech", "fetech"), "no family 'fetech'; did you mean 'feetech'?"),
        (GOOD + "ide = 2\n", "bus.toml, joints.a: there is no key 'ide'; did you mean 'id'?"),
        (GOOD.replace("id = 1", "id = 300"), "id must be a whole number from 0 to 252, found 300"),
        (GOOD.replace("id = 1", "id = true"), "id must be a whole number from 0 to 252, found True"),
        (GOOD.replace("id = 1", ""), "id must be a whole number"),
        (GOOD + "sign = 0\n", "sign must be 1 or -1"),
        (GOOD + "range = [2, 1]\n", "range must be two numbers, the lower first"),
        (GOOD + 'model = "STS3216"\n', "no model 'STS3216'; did you mean 'STS3215'?"),
        (GOOD + "limits = { duty = 2 }\n", "duty must be a number from 0 to 1, found 2"),
        (GOOD + "limits = { heat = 2 }\n", "there is no key 'heat'"),
        ('family = "feetech"\nport = "p"\n', "joints must be a table with a table for each joint"),
        ("baud = 17\n" + GOOD, "baud must be one of"),
        ('mode = "velocity"\n' + GOOD, "mode must be pwm or position"),
        ('family = "feetech"\n[joints.a]\nid = 1\n', "port must be a text"),
    ],
)
def test_a_wrong_file_is_refused_by_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_bus(bus_file(tmp_path, text))
    assert said in str(refused.value)


def test_what_does_not_fit_onto_the_wire_is_refused_with_the_numbers(tmp_path: Path) -> None:
    text = 'baud = 57600\nfamily = "feetech"\nport = "p"\n'
    text += "".join(f"[joints.j{i}]\nid = {i}\n" for i in range(1, 7))
    with pytest.raises(UsageError, match=r"6 servos on p need \d+ bytes a tick, [\d.]+ ms at 57600 baud"):
        acclimate.open_device(bus_file(tmp_path, text))


def test_the_file_on_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "servos.md").read_text(encoding="utf-8")
    block = page.split("## An arm: bus.toml\n")[1].split("\n\n    acclimate")[0]
    text = "\n".join(line.removeprefix("    ") for line in block.splitlines() if line.startswith("    "))
    found = read_bus(bus_file(tmp_path, text))
    ((at, (shoulder, elbow)),) = found.buses.items()
    assert (at.family, at.baud, found.rate) == (STS, 1_000_000, 100.0)
    assert (shoulder.max_duty, shoulder.max_temperature, shoulder.max_voltage) == (0.8, 60.0, 8.4)
    assert (elbow.id, elbow.position, elbow.duty) == (2, "elbow", "elbow_duty")
