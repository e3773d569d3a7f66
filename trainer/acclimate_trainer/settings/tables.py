"""Tables, as TOML and JSON give them, into frozen dataclasses, and back.

A key that nothing reads is refused, and the valid ones are listed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from acclimate.errors import UsageError
from acclimate.names import did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value: TypeAlias = str | int | float | bool | list["Value"] | dict[str, "Value"]
Section = TypeVar("Section")
_PLAIN: Mapping[object, tuple[str, str]] = {
    float: ("a finite number", "numbers"),
    int: ("an integer", "integers"),
    bool: ("true or false", "flags"),
    str: ("a string", "strings"),
}
"""What a value of these types is called, and several."""


class ConfigError(UsageError):
    """A config that cannot be read, or holds what no part of the trainer knows."""


def read_table(cls: type[Section], table: object, where: str, path: str = "") -> Section:
    """`table` as the dataclass `cls`.

    where: the file, for errors. path: the section's name; empty for the top. Fields may be numbers, flags, strings,
    `Literal`s, dataclasses, mappings, and tuples or lists of these, each of them optional. Raises ConfigError with one
    sentence that names file, section and key.
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
    types, dot = get_type_hints(cls), f"{path}." if path else ""
    values = {key: _value(types[key], value, where, dot + key) for key, value in table.items()}
    try:
        return cls(**values)
    except UsageError as error:
        raise ConfigError(f"{place} {error}") from None


def table_of(made: DataclassInstance) -> dict[str, Value]:
    """What `read_table` reads back to the same: every field that a dataclass was made with, but for what is None."""
    values = ((field.name, getattr(made, field.name)) for field in fields(made) if field.init)
    return {name: _as_toml(value) for name, value in values if value is not None}


def _as_toml(value: object) -> Value:
    """Tuples as lists, dataclasses and mappings as dictionaries, through and through."""
    if is_dataclass(value) and not isinstance(value, type):
        return table_of(value)
    if isinstance(value, Mapping):
        return {str(key): _as_toml(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_as_toml(item) for item in value]
    assert isinstance(value, str | int | float | bool)  # nothing else comes out of a table
    return value


def _value(expected: object, value: object, where: str, path: str) -> object:
    """`value` as a field of type `expected`. Raises ConfigError where it is not one."""
    if type(None) in get_args(expected):
        expected = next(each for each in get_args(expected) if each is not type(None))
    if isinstance(expected, type) and is_dataclass(expected):
        return read_table(expected, value, where, path)
    origin = get_origin(expected) or expected
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(expected, value, where, path)
    if origin is Literal:
        return _literal(expected, value, where, path)
    if origin in (tuple, list) and get_args(expected):
        return _sequence(expected, value, where, path)
    if expected in _PLAIN:
        return _plain(expected, value, where, path)
    raise ConfigError(f"{where}: {path} is declared as {expected}, which no config can hold")


def _plain(expected: object, value: object, where: str, path: str) -> object:
    """A number, a flag or a string; an integer is a number, too."""
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:  # which no NaN is
            return float(value)
    elif type(value) is expected:
        return value
    raise ConfigError(f"{where}: {path} must be {_PLAIN[expected][0]}, found {value!r}")


def _mapping(expected: object, value: object, where: str, path: str) -> object:
    """As it is, but for values that are to be of a plain type."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {path} must be a section, found {value!r}")
    of = get_args(expected)[1:]
    if not of or of[0] not in _PLAIN:
        return value
    return {key: _value(of[0], item, where, f"{path}.{key}") for key, item in value.items()}


def _literal(expected: object, value: object, where: str, path: str) -> object:
    valid = get_args(expected)
    if any(value == each and type(value) is type(each) for each in valid):
        return value
    raise ConfigError(f"{where}: {path} is {value!r}{did_you_mean(str(value), map(str, valid), of='valid')}")


def _sequence(expected: object, value: object, where: str, path: str) -> object:
    """A tuple of as many values as it says, or a tuple or list of any number of one kind."""
    items = get_args(expected)
    endless = get_origin(expected) is list or items[1:] == (Ellipsis,)
    if not isinstance(value, list | tuple) or not (endless or len(value) == len(items)):
        raise ConfigError(f"{where}: {path} must be {_many(items, endless=endless)}, found {value!r}")
    kinds = items[:1] * len(value) if endless else items
    made = [
        _value(kind, v, where, f"{path}[{i}]") for i, (kind, v) in enumerate(zip(kinds, value, strict=True))
    ]
    return made if get_origin(expected) is list else tuple(made)


def _many(items: Sequence[object], *, endless: bool) -> str:
    """What a sequence is called: "two numbers", "a list of tables"."""
    plural = _PLAIN[items[0]][1] if items[0] in _PLAIN else "tables"
    count = {2: "two", 3: "three"}.get(len(items), str(len(items)))
    return f"a list of {plural}" if endless else f"{count} {plural}"
