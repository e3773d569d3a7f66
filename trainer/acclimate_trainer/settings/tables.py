"""Tables, as TOML and JSON give them, into frozen dataclasses.

A key that nothing reads is refused, and the valid ones are listed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from acclimate.errors import UsageError

Value: TypeAlias = str | int | float | bool | list["Value"] | dict[str, "Value"]
Section = TypeVar("Section")


class ConfigError(UsageError):
    """A config that cannot be read, or holds what no part of the trainer knows."""


def read_table(
    cls: type[Section], table: object, where: str, path: str = "", chosen: Mapping[str, type] | None = None
) -> Section:
    """`table` as the dataclass `cls`.

    where: the file, for errors. path: the section's name; empty for the top. chosen: which class a field is that may be
    one of several. Raises ConfigError with one sentence that names file, section and key.
    """
    place = f"{where}: [{path}]" if path else f"{where}:"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place} must be a section, found {table!r}")
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ConfigError(f"{place} unknown key {key!r}; valid keys: {', '.join(known) or 'none'}")
    missing = [
        name for name, f in known.items() if f.default is f.default_factory is MISSING and name not in table
    ]
    if missing:
        raise ConfigError(f"{place} lacks {missing[0]!r}")
    types = get_type_hints(cls) | dict(chosen or {})
    dot = f"{path}." if path else ""
    values = {key: _value(types[key], value, where, dot + key) for key, value in table.items()}
    try:
        return cls(**values)
    except UsageError as error:
        raise ConfigError(f"{place} {error}") from None


def _value(expected: object, value: object, where: str, path: str) -> object:
    """`value` as a field of type `expected`. Raises ConfigError where it is not one."""
    if type(None) in get_args(expected):
        expected = next(each for each in get_args(expected) if each is not type(None))
    if isinstance(expected, type) and is_dataclass(expected):
        return read_table(expected, value, where, path)
    origin = get_origin(expected)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(value, where, path)
    if origin is Literal:
        return _literal(expected, value, where, path)
    if origin is tuple:
        return _tuple(expected, value, where, path)
    if expected is float:
        return _number(value, where, path)
    if isinstance(expected, type) and type(value) is expected:
        return value
    wanted = {int: "an integer", bool: "true or false"}.get(expected, "a string")  # type: ignore[call-overload]
    raise ConfigError(f"{where}: {path} must be {wanted}, found {value!r}")


def _mapping(value: object, where: str, path: str) -> object:
    if isinstance(value, Mapping):
        return value
    raise ConfigError(f"{where}: {path} must be a section, found {value!r}")


def _literal(expected: object, value: object, where: str, path: str) -> object:
    valid = get_args(expected)
    if value in valid:
        return value
    raise ConfigError(f"{where}: {path} is {value!r}; valid: {', '.join(map(str, valid))}")


def _tuple(expected: object, value: object, where: str, path: str) -> object:
    """Of two numbers, or of any number of numbers, of strings or of tables."""
    items = get_args(expected)
    endless = len(items) == 2 and items[1] is Ellipsis
    if endless and get_origin(items[0]) is not None:
        if isinstance(value, list | tuple):
            return tuple(_mapping(each, where, path) for each in value)
        raise ConfigError(f"{where}: {path} must be a list of tables, found {value!r}")
    if endless and items[0] is str:
        if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
            return tuple(value)
        raise ConfigError(f"{where}: {path} must be a list of strings, found {value!r}")
    if isinstance(value, list | tuple) and (endless or len(value) == len(items)):
        whole = items[0] is int
        return tuple(_whole(v, where, path) if whole else _number(v, where, path) for v in value)
    words = {2: "two"}.get(len(items), str(len(items)))
    wanted = "a list of numbers" if endless else f"{words} numbers"
    raise ConfigError(f"{where}: {path} must be {wanted}, found {value!r}")


def _whole(value: object, where: str, path: str) -> int:
    if type(value) is int:
        return value
    raise ConfigError(f"{where}: {path} must hold integers, found {value!r}")


def _number(value: object, where: str, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ConfigError(f"{where}: {path} must be a finite number, found {value!r}")
