"""Typed reading of JSON: every wrong, missing or unknown field ends in one sentence that names its path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from acclimate.errors import ManifestError
from acclimate.plain import is_plain

LARGEST = 1e12  # of all numbers, either way
MOST = 1_000_000  # of whatever is counted
_WHOLE = 2**63  # of whole numbers that nobody counts with, as seeds
_DEPTH = 32  # of lists and objects in each other

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

T = TypeVar("T")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")


def parse_object(text: bytes, where: str) -> Fields:
    """The one JSON object in `text`, which is UTF-8.

    Raises ManifestError for anything else: duplicate keys, numbers that are not finite or beyond all bounds, text that
    a terminal would not show as it is, or objects too deep in each other.
    """
    try:
        value: Json = json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
        _check_texts(value)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where} is not valid JSON ({error})") from None
    return Fields.of(value, where)


def is_identifier(text: str) -> bool:
    """Whether `text` can be a name in a manifest: letters, digits, '_', '.' and '-'."""
    return _IDENTIFIER.fullmatch(text) is not None


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _bounded(text: str) -> int:
    if len(text) > 20 or not -_WHOLE <= int(text) < _WHOLE:
        raise ValueError(f"{text[:40]} is too large a whole number")
    return int(text)


def _check_texts(value: Json) -> None:
    """Raises ValueError unless all text, keys included, is plain, and the whole not too deep."""
    layer, depth = [value], 0
    while layer:
        if depth > _DEPTH:
            raise ValueError(f"lists and objects are more than {_DEPTH} deep in each other")
        for inner in layer:
            for text in inner if isinstance(inner, dict) else [inner]:
                if isinstance(text, str) and not is_plain(text):
                    raise ValueError(f"{text[:40]!a} holds characters that cannot be shown")
        layer = [
            further
            for inner in layer
            if isinstance(inner, dict | list)
            for further in (inner.values() if isinstance(inner, dict) else inner)
        ]
        depth += 1


class Fields:
    """One JSON object, read field by field; `finish` refuses what was not read."""

    def __init__(self, data: Mapping[str, Json], path: str) -> None:
        self._data = data
        self._path = path
        self._seen: set[str] = set()

    @classmethod
    def of(cls, value: Json, path: str) -> Fields:
        if not isinstance(value, dict):
            raise ManifestError(f"{path} must be an object, found {_show(value)}")
        return cls(value, path)

    @property
    def path(self) -> str:
        """Where this object stands, for errors."""
        return self._path

    def names(self) -> list[str]:
        return list(self._data)

    def raw(self, name: str) -> Json:
        self._seen.add(name)
        if name not in self._data:
            raise ManifestError(f"{self._path} lacks the field {name!r}")
        return self._data[name]

    def text(self, name: str) -> str:
        value = self.raw(name)
        if not isinstance(value, str):
            raise self._wrong(name, "text", value)
        return value

    def identifier(self, name: str) -> str:
        value = self.text(name)
        if not is_identifier(value):
            raise self._wrong(name, "a name of letters, digits, '_', '.' and '-'", value)
        return value

    def choice(self, name: str, choices: tuple[T, ...]) -> T:
        value = self.raw(name)
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        raise self._wrong(name, "one of " + ", ".join(json.dumps(c) for c in choices), value)

    def flag(self, name: str) -> bool:
        value = self.raw(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def number(self, name: str, *, above: float = -math.inf, most: float = LARGEST) -> float:
        return _number(self.raw(name), f"{self._path}.{name}", above, most)

    def count(self, name: str, most: int = MOST) -> int:
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self._wrong(name, f"a whole number from 1 to {most}", value)
        return value

    def shape(self, name: str, most: int = MOST) -> tuple[int, ...]:
        """`most`: entries in all."""
        value = self.raw(name)
        if not isinstance(value, list) or not value or not all(type(n) is int and n >= 1 for n in value):
            raise self._wrong(name, "a list of at least one whole number, each at least 1", value)
        shape = tuple(n for n in value if isinstance(n, int))
        if len(shape) > _DEPTH or math.prod(shape) > most:
            raise self._wrong(name, f"a shape of at most {most} entries", value)
        return shape

    def words(self, name: str) -> tuple[str, ...]:
        value = self.raw(name)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self._wrong(name, "a list of names", value)
        return tuple(v for v in value if isinstance(v, str))

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """A list of lists of two names."""
        value, pairs = self.raw(name), []
        for row in value if isinstance(value, list) else [None]:
            match row:
                case [str(first), str(second)]:
                    pairs.append((first, second))
                case _:
                    raise self._wrong(name, "a list of pairs of names", value)
        return tuple(pairs)

    def rows(self, name: str) -> tuple[tuple[float, ...], ...]:
        """A list of lists of numbers."""
        value, rows = self.raw(name), []
        for row in value if isinstance(value, list) else [None]:
            if not isinstance(row, list):
                raise self._wrong(name, "a list of lists of numbers", value)
            rows.append(tuple(_number(number, f"{self._path}.{name}") for number in row))
        return tuple(rows)

    def items(self, name: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """The objects of a list, each read whole by `read`."""
        value = self.raw(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list", value)
        return tuple(_whole(Fields.of(v, f"{self._path}.{name}[{i}]"), read) for i, v in enumerate(value))

    def object(self, name: str, read: Callable[[Fields], T]) -> T:
        return _whole(Fields.of(self.raw(name), f"{self._path}.{name}"), read)

    def optional(self, name: str, read: Callable[[Fields], T]) -> T | None:
        """As `object`; None where the field is null."""
        return None if self.raw(name) is None else self.object(name, read)

    def table(self, name: str, read: Callable[[Fields, str], T]) -> dict[str, T]:
        """An object with free keys: `read(fields, key)` for each."""
        return self.object(name, lambda fields: {key: read(fields, key) for key in fields.names()})

    def interval(self, name: str) -> tuple[float, float]:
        value, path = self.raw(name), f"{self._path}.{name}"
        if not isinstance(value, list) or len(value) != 2:
            raise self._wrong(name, "[low, high]", value)
        low, high = _number(value[0], path), _number(value[1], path)
        if low > high:
            raise self._wrong(name, "[low, high] with low <= high", value)
        return low, high

    def finish(self) -> None:
        unknown = [name for name in self._data if name not in self._seen]
        if unknown:
            valid = ", ".join(sorted(self._seen)) or "none"
            raise ManifestError(f"{self._path} has the unknown field {unknown[0]!r}; valid fields: {valid}")

    def _wrong(self, name: str, expected: str, found: Json) -> ManifestError:
        return ManifestError(f"{self._path}.{name} must be {expected}, found {_show(found)}")


def _whole(fields: Fields, read: Callable[[Fields], T]) -> T:
    result = read(fields)
    fields.finish()
    return result


def _number(value: Json, path: str, above: float = -math.inf, most: float = LARGEST) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and not math.isfinite(value)):
        raise ManifestError(f"{path} must be a finite number, found {_show(value)}")
    assert isinstance(value, int | float)
    if not value > above:
        raise ManifestError(f"{path} must be greater than {above:g}, found {value:g}")
    if not -LARGEST <= value <= most:
        raise ManifestError(
            f"{path} must lie within {max(above, -LARGEST):g} and {most:g}, found {_show(value)}"
        )
    return float(value)


def _show(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
