"""Reading a servo from its name or from a TOML file (examples/servo_custom.toml explains every key)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from math import inf, isfinite
from pathlib import Path
from typing import NamedTuple

from acclimate.errors import AcclimateError, UsageError
from acclimate.names import did_you_mean
from acclimate.text_files import read_toml

from acclimate_bridge.simulation.servo.motors import RichMotor, SimpleMotor, simple_from_rich
from acclimate_bridge.simulation.servo.servos import BUILT_IN, Servo, point_load


class ServoFileError(AcclimateError):
    """A servo description that cannot be used: the message names file, section and key."""

    exit_code = 2


_Table = Mapping[str, object]


class _Bounds(NamedTuple):
    low: float
    high: float = inf
    open_low: bool = False  # low itself is excluded

    def __str__(self) -> str:
        if isfinite(self.high):
            return f"a number {'above' if self.open_low else 'from'} {self.low:g} to {self.high:g}"
        return f"a number {'above' if self.open_low else 'of at least'} {self.low:g}"

    def admit(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return isfinite(value) and above and value <= self.high


_POSITIVE = _Bounds(0.0, open_low=True)
_NOT_NEGATIVE = _Bounds(0.0)

_TOP: dict[str, _Bounds] = {
    "supply": _POSITIVE,
    "max_duty": _Bounds(0.0, 1.0, open_low=True),
    "encoder_counts": _Bounds(16.0),
    "encoder_noise": _NOT_NEGATIVE,
    "backlash": _NOT_NEGATIVE,
    "supply_resistance": _NOT_NEGATIVE,
    "drive_gain": _POSITIVE,
    "polarity": _Bounds(-1.0, 1.0),
    "delay": _Bounds(0.0, 0.1),
}
_DEFAULTS = {
    "max_duty": 1.0,
    "encoder_counts": 4096.0,
    "encoder_noise": 0.0,
    "backlash": 0.0,
    "supply_resistance": 0.0,
}
_FIXED_IN_FIELD = ("drive_gain", "polarity", "delay")  # optional: elsewhere decides what is absent
_LOAD = {"mass": _NOT_NEGATIVE, "arm": _NOT_NEGATIVE}
_STRICTLY_POSITIVE = {"kt", "resistance", "armature", "stribeck_velocity", "alpha"}


def load_servo(name_or_file: str) -> Servo:
    """The servo of a built-in name, or the one that a TOML file describes.

    Raises ServoFileError: unknown name, unreadable file, unknown key, value out of its range.
    """
    for name, servo in BUILT_IN.items():
        if _plain(name) == _plain(name_or_file):
            return servo
    path = Path(name_or_file)
    if path.suffix != ".toml" and not path.is_file():
        raise ServoFileError(
            f"no servo is called {name_or_file!r}{did_you_mean(name_or_file, BUILT_IN, of='built-in servos')}; "
            "or give the path of a .toml file"
        )
    return read_servo_file(path)


def _plain(name: str) -> str:
    """As people write it who leave out hyphens and capitals."""
    return name.casefold().replace("-", "")


def read_servo_file(path: Path) -> Servo:
    """The servo that a TOML file describes; raises ServoFileError naming file, section and key."""
    try:
        table = read_toml(path, "servo file")
    except UsageError as error:
        raise ServoFileError(str(error)) from None
    return _servo(path, table)


def _servo(path: Path, table: _Table) -> Servo:
    sections = ("m1", "m6", "load")
    _known_keys(path, "", table, ("name", *_TOP, *sections))
    if "m1" not in table and "m6" not in table:
        raise ServoFileError(f"servo file {path} describes no motor: expected a section [m6], [m1] or both")
    name = table.get("name", path.stem)
    if not isinstance(name, str) or not name:
        raise ServoFileError(f"servo file {path}: name must be a text, found {name!r}")
    values = {
        key: _number(path, "", table, key, bounds, _DEFAULTS.get(key))
        for key, bounds in _TOP.items()
        if key in table or key not in _FIXED_IN_FIELD
    }
    if values.get("polarity", 1.0) not in (-1.0, 1.0):
        raise ServoFileError(f"servo file {path}: polarity must be 1 or -1, found {values['polarity']:g}")
    m1, m6 = _motors(path, table, values["supply"], values["max_duty"])
    inertia, gravity = _load(path, table)
    counts = int(values["encoder_counts"])
    if counts != values["encoder_counts"]:
        raise ServoFileError(
            f"servo file {path}: encoder_counts must be a whole number, found {table['encoder_counts']}"
        )
    return Servo(
        name=name,
        supply=values["supply"],
        max_duty=values["max_duty"],
        m1=m1,
        m6=m6,
        encoder_counts=counts,
        encoder_noise=values["encoder_noise"],
        backlash=values["backlash"],
        supply_resistance=values["supply_resistance"],
        load_inertia=inertia,
        load_gravity=gravity,
        drive_gain=values.get("drive_gain"),
        polarity=values.get("polarity"),
        delay=values.get("delay"),
    )


def _motors(path: Path, table: _Table, supply: float, max_duty: float) -> tuple[SimpleMotor, RichMotor]:
    m1 = SimpleMotor(**_motor(path, table, "m1", SimpleMotor)) if "m1" in table else None
    m6 = RichMotor(**_motor(path, table, "m6", RichMotor)) if "m6" in table else None
    if m6 is None:
        assert m1 is not None  # one of the two sections is there
        return m1, RichMotor.from_simple(m1)
    return m1 or simple_from_rich(m6, supply, max_duty), m6


def _motor(
    path: Path, table: _Table, section: str, motor: type[SimpleMotor] | type[RichMotor]
) -> dict[str, float]:
    names = tuple(field.name for field in fields(motor))
    values = _section(path, table, section, names)
    bounds = {name: _POSITIVE if name in _STRICTLY_POSITIVE else _NOT_NEGATIVE for name in names}
    return {name: _number(path, section, values, name, bounds[name], None) for name in names}


def _load(path: Path, table: _Table) -> tuple[float | None, float | None]:
    if "load" not in table:
        return None, None
    values = _section(path, table, "load", tuple(_LOAD))
    mass, arm = (_number(path, "load", values, key, bounds, None) for key, bounds in _LOAD.items())
    return point_load(mass, arm)


def _section(path: Path, table: _Table, section: str, known: tuple[str, ...]) -> _Table:
    found = table[section]
    if not isinstance(found, dict):
        raise ServoFileError(f"servo file {path}: {section} must be a section, [{section}], found {found!r}")
    values: _Table = found
    _known_keys(path, section, values, known)
    return values


def _known_keys(path: Path, section: str, table: _Table, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            where = f" in section [{section}]" if section else ""
            raise ServoFileError(
                f"servo file {path} has an unknown key {key!r}{where}{did_you_mean(key, known, of='valid keys')}"
            )


def _number(
    path: Path, section: str, table: _Table, key: str, bounds: _Bounds, default: float | None
) -> float:
    where = f"{section}.{key}" if section else key
    if key not in table and default is not None:
        return default
    if key not in table:
        raise ServoFileError(f"servo file {path}: {where} is missing: expected {bounds}")
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not bounds.admit(float(value)):
        raise ServoFileError(f"servo file {path}: {where} must be {bounds}, found {value!r}")
    return float(value)
