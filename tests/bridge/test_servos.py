"""Servo tables and servo files: what is read, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from acclimate_bridge.simulation.servo.files import ServoFileError, load_servo, read_servo_file
from acclimate_bridge.simulation.servo.motors import RichMotor, simple_from_rich
from acclimate_bridge.simulation.servo.servos import BUILT_IN

EXAMPLE = Path(__file__).parents[2] / "examples" / "servo_custom.toml"


@pytest.mark.parametrize("name", sorted(BUILT_IN.keys() - {"STS3215"}))  # of which only m1 was identified
def test_derived_simple_model_lands_near_the_identified_one(name: str) -> None:
    servo = BUILT_IN[name]
    derived = simple_from_rich(servo.m6, servo.supply, servo.max_duty)
    assert derived.resistance == pytest.approx(servo.m1.resistance, rel=0.12)
    assert servo.m1.coulomb / 2 < derived.coulomb < servo.m1.coulomb * 2
    assert servo.m1.viscous / 2 < derived.viscous < servo.m1.viscous * 2


@pytest.mark.parametrize("text", ["mx-64", "MX64", "mx64"])
def test_capitals_and_hyphens_of_names_do_not_matter(text: str) -> None:
    assert load_servo(text) is BUILT_IN["MX-64"]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.read_bytes())
    assert read_servo_file(path) == read_servo_file(EXAMPLE)


def test_the_example_file_describes_a_servo() -> None:
    servo = load_servo(str(EXAMPLE))
    assert servo.name == "custom-25kg"
    assert servo.load_inertia == pytest.approx(0.15 * 0.1**2)
    assert servo.load_gravity == pytest.approx(0.15 * 9.81 * 0.1)
    assert (servo.polarity, servo.delay, servo.drive_gain) == (1.0, 0.012, None)
    assert servo.m1 == simple_from_rich(servo.m6, servo.supply, servo.max_duty)


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("armature = 0.0062", "armature = -0.0062", ("m6.armature", "above 0", "-0.0062")),
        ("armature = 0.0062", "armature = 0", ("m6.armature", "above 0")),
        ("kt = 0.85", "kt = nan", ("m6.kt", "nan")),
        ("kt = 0.85", "kt = 'strong'", ("m6.kt", "'strong'")),
        ("kt = 0.85", "", ("m6.kt", "missing")),
        ("kt = 0.85", "torque = 0.85", ("'torque'", "[m6]", "kt, resistance")),
        ("mass = 0.15", "mass = -1", ("load.mass", "at least 0")),
        ("polarity = 1", "polarity = 0", ("polarity", "1 or -1")),
        ("delay = 0.012", "delay = 5.0", ("delay", "0 to 0.1")),
        ("supply = 7.4", "", ("supply", "missing")),
        ("supply = 7.4", "voltage = 7.4", ("'voltage'", "supply, max_duty")),
        ("encoder_counts = 4096", "encoder_counts = 100.5", ("encoder_counts", "whole number")),
        ("[m6]", "[m7]", ("'m7'", "m6")),
        ("[m6]", "[m6", ("not valid TOML",)),
        ("supply = 7.4", "supply = true", ("supply", "True")),
        ("[load]", "[[load]]", ("load must be a section",)),
    ],
)
def test_refusals_name_file_key_and_expectation(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(ServoFileError) as refusal:
        read_servo_file(path)
    message = str(refusal.value)
    assert str(path) in message
    assert all(word in message for word in words), message
    assert "\n" not in message or "TOML" in message
    assert refusal.value.exit_code == 2


def test_a_file_without_motor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("supply = 5.0\n", encoding="utf-8")
    with pytest.raises(ServoFileError, match=r"no motor: expected a section \[m6\]"):
        read_servo_file(path)


def test_simple_friction_alone_is_what_the_device_then_uses(tmp_path: Path) -> None:
    path = tmp_path / "simple.toml"
    motor = "kt = 1.0\nresistance = 5.0\narmature = 0.01\ncoulomb = 0.05\nviscous = 0.01\n"
    path.write_text(f"supply = 12.0\n[m1]\n{motor}", encoding="utf-8")
    servo = read_servo_file(path)
    assert servo.name == "simple"
    assert servo.m6 == RichMotor(1.0, 5.0, 0.01, base=0.05, viscous=0.01)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ServoFileError, match="'SG-90'; built-in servos: MX-64, MX-106, XL-320, XL330, STS3215; or"
    ):
        load_servo("SG-90")


@pytest.mark.parametrize(
    ("text", "meant"), [("XL-33", "XL330"), ("mx 164", "MX-64"), ("STS-3250", "STS3215")]
)
def test_a_name_that_is_close_is_asked_for(text: str, meant: str) -> None:
    with pytest.raises(ServoFileError, match=f"did you mean {meant!r}"):
        load_servo(text)


def test_missing_file_and_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServoFileError, match="No such file"):
        load_servo(str(tmp_path / "absent.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ServoFileError, match="UTF-8"):
        load_servo(str(tmp_path / "binary.toml"))
