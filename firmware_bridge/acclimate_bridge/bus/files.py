"""bus.toml, which says what is built in where, and LeRobot's calibration files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.names import did_you_mean
from acclimate.text_files import read_json, read_toml

from acclimate_bridge.bus.models import TABLES, Family, Mode, names
from acclimate_bridge.bus.plan import Calibration, Joint
from acclimate_bridge.bus.port import LAST_ID

_BUS = ("family", "port", "baud", "mode", "switch_mode", "rate", "calibration", "joints")
_JOINT = ("family", "port", "baud", "id", "model", "sign", "zero", "range", "channels", "limits")
_CHANNELS = ("position", "velocity", "duty")
_LIMITS = ("duty", "temperature", "current", "voltage")
_LEROBOT = ("id", "drive_mode", "homing_offset", "range_min", "range_max")


class BusAt(NamedTuple):
    """Where a bus is."""

    family: Family
    port: str
    baud: int


class BusFile(NamedTuple):
    """What a file says. buses: the joints of each. mode: None where the bundle decides; rate: Hz, None likewise."""

    buses: Mapping[BusAt, tuple[Joint, ...]]
    mode: Mode | None
    switch: bool
    rate: float | None


class _Section:
    """A table of the file, whose keys are checked as they are read; `where` is what to call it."""

    def __init__(self, path: str, where: str, values: object, valid: tuple[str, ...]) -> None:
        self.where = f"{path}, {where}" if where else path
        if not isinstance(values, dict):
            raise UsageError(f"{self.where} must be a table, found {values!r}")
        self.values: dict[str, object] = values
        for key in values:
            if key not in valid:
                raise UsageError(f"{self.where}: there is no key {key!r}{did_you_mean(key, valid)}")

    def wrong(self, key: str, expected: str) -> UsageError:
        return UsageError(f"{self.where}: {key} must be {expected}, found {self.values.get(key)!r}")

    def number(self, key: str, usual: float, low: float, high: float) -> float:
        value = self.values.get(key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, usual: int | None, low: int, high: int) -> int:
        value = self.values.get(key, usual)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"a whole number from {low} to {high}")
        return value

    def text(self, key: str, usual: str | None) -> str:
        value = self.values.get(key, usual)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text")
        return value

    def range(self, key: str, low: float, high: float) -> tuple[float, float]:
        value = self.values.get(key, [low, high])
        if isinstance(value, list) and len(value) == 2:
            a, b = value
            if all(isinstance(x, int | float) and math.isfinite(x) for x in value) and a < b:
                return float(a), float(b)
        raise self.wrong(key, "two numbers, the lower first")

    def table(self, key: str, valid: tuple[str, ...]) -> _Section:
        return _Section(self.where, key, self.values.get(key, {}), valid)


def read_bus(path: str) -> BusFile:
    """What is built in, as a file says. Raises UsageError with the file, the key and what was expected."""
    top = _Section(path, "", dict(read_toml(path, "bus file")), _BUS)
    if "calibration" in top.values:
        file = Path(path).parent / top.text("calibration", None)
        calibrated = calibrated_joints(str(file))
    else:
        calibrated = {}
    joints = top.values.get("joints", {} if calibrated else None)
    if not isinstance(joints, dict) or not (joints or calibrated):
        raise top.wrong("joints", "a table with a table for each joint, as [joints.elbow]")
    found: dict[BusAt, tuple[Joint, ...]] = {}
    several = len({*joints, *calibrated}) > 1
    for name in dict.fromkeys([*joints, *calibrated]):
        section = _Section(path, f"joints.{name}", joints.get(name, {}), _JOINT)
        at = _at(top, section)
        found[at] = (*found.get(at, ()), _joint(name, section, at.family, calibrated.get(name), several))
    mode = _mode(top)
    switch = top.values.get("switch_mode", True)
    if not isinstance(switch, bool):
        raise top.wrong("switch_mode", "true or false")
    rate = top.number("rate", 100.0, 1.0, 2000.0) if "rate" in top.values else None
    return BusFile(found, mode, switch, rate)


def _at(top: _Section, section: _Section) -> BusAt:
    """Where a joint is: as it says itself, or else as the whole file does."""
    said = {**top.values, **section.values}
    merged = _Section(
        section.where, "", {key: said[key] for key in ("family", "port", "baud") if key in said}, _BUS
    )
    name = merged.text("family", None)
    family = next((family for family in Family if family == name), None)
    if family is None:
        raise UsageError(
            f"{section.where}: there is no family {name!r}{did_you_mean(name, map(str, Family))}"
        )
    baud = merged.whole("baud", 1_000_000, 1, 10**7)
    valid = sorted(TABLES[family].bauds.values())
    if baud not in valid:
        raise merged.wrong("baud", f"one of {', '.join(map(str, valid))}")
    return BusAt(family, merged.text("port", None), baud)


def _mode(top: _Section) -> Mode | None:
    if "mode" not in top.values:
        return None
    name = top.text("mode", None)
    mode = next((mode for mode in Mode if mode == name), None)
    if mode is None:
        raise top.wrong("mode", " or ".join(Mode))
    return mode


def _joint(name: str, section: _Section, family: Family, calibrated: Joint | None, several: bool) -> Joint:
    usual = calibrated or Joint(name, -1)
    model = section.text("model", None) if "model" in section.values else None
    if model is not None and model not in names(family):
        raise UsageError(f"{section.where}: there is no model {model!r}{did_you_mean(model, names(family))}")
    sign = section.whole("sign", usual.sign, -1, 1)
    if sign == 0:
        raise section.wrong("sign", "1 or -1")
    low, high = section.range("range", usual.low, usual.high)
    channels, limits = section.table("channels", _CHANNELS), section.table("limits", _LIMITS)
    lowest, highest = limits.range("voltage", 0.0, 100.0)
    given = limits.values
    return Joint(
        name,
        section.whole("id", usual.id if calibrated else None, 0, LAST_ID),
        model,
        sign,
        section.whole("zero", usual.zero, -(2**20), 2**20),
        low,
        high,
        limits.number("duty", 1.0, 0.0, 1.0),
        limits.number("temperature", 0.0, 0.0, 120.0) if "temperature" in given else None,
        limits.number("current", 0.0, 0.0, 20.0) if "current" in given else None,
        lowest if "voltage" in given else None,
        highest if "voltage" in given else None,
        **{key: channels.text(key, usual_name) for key, usual_name in _names(name, several)},
        prefix=f"{name}_" if several else "",
        calibration=calibrated.calibration if calibrated else None,
    )


def _names(name: str, several: bool) -> Iterator[tuple[str, str]]:
    """Of channels: those of a single servo, or of an arm with a joint of this name."""
    for key, alone, of_many in (
        ("position", "position", name),
        ("velocity", "velocity", f"{name}_velocity"),
        ("duty", "duty", f"{name}_duty"),
    ):
        yield key, of_many if several else alone


def calibrated_joints(path: str) -> dict[str, Joint]:
    """The joints of a LeRobot calibration file: 0 rad is the middle of each range. Raises UsageError."""
    tree: Json = read_json(path, "calibration file")
    if not isinstance(tree, dict) or not tree:
        raise UsageError(
            f"calibration file {path} is none of LeRobot's: expected an object with a joint each"
        )
    return {name: _calibrated(path, name, entry) for name, entry in tree.items()}


def _calibrated(path: str, name: str, entry: Json) -> Joint:
    section = _Section(path, name, entry, _LEROBOT)
    low, high = section.whole("range_min", None, 0, 4095), section.whole("range_max", None, 0, 4095)
    if low >= high:
        raise section.wrong("range_min", f"below range_max, which is {high}")
    zero = (low + high) // 2
    count = 2.0 * math.pi / 4096
    return Joint(
        name,
        section.whole("id", None, 0, LAST_ID),
        sign=-1 if section.whole("drive_mode", 0, 0, 1) else 1,
        zero=zero,
        low=(low - zero) * count,
        high=(high - zero) * count,
        calibration=Calibration(path, section.whole("homing_offset", None, -4095, 4095), low, high),
    )
