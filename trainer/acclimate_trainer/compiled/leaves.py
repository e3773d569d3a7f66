"""What an object keeps, taken apart and put together again: the tensors and numbers in its attributes.

So a session that a user wrote as a class becomes a function of tensors: a copy of it gets other tensors, steps, and is
taken apart again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from acclimate_trainer.compiled.ticks.errors import NotCompiled

Path: TypeAlias = tuple[str | int, ...]
"""An attribute's name, then names and numbers of what it holds."""
T = TypeVar("T")


def leaves(thing: object) -> dict[Path, object]:
    """All that is in the attributes, and in the tuples, lists and dictionaries in these; cached properties are none."""
    try:
        attributes = vars(thing)
    except TypeError:
        raise NotCompiled(f"{type(thing).__name__} has no attributes to take it apart by") from None
    return {
        path: leaf
        for name, value in attributes.items()
        if not isinstance(getattr(type(thing), name, None), cached_property)
        for path, leaf in _walk(value, (name,))
    }


def at(thing: object, path: Path) -> object:
    """The leaf at a path, or a container of leaves; None where there is none."""
    found = vars(thing).get(str(path[0]))
    for key in path[1:]:
        try:
            found = found[key] if isinstance(key, int) or isinstance(found, dict) else getattr(found, key)  # type: ignore[index]
        except (LookupError, AttributeError, TypeError):
            return None
    return found


def tensor_at(thing: object, path: Path) -> Tensor:
    found = at(thing, path)
    assert isinstance(found, Tensor), name_of(path)
    return found


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _walk(part, (*path, key))
    elif isinstance(value, tuple | list):
        for key, part in zip(_keys(value), value, strict=True):
            yield from _walk(part, (*path, key))
    else:
        yield path, value


def _keys(value: Sequence[object]) -> Sequence[str | int]:
    """Numbers, or the names of a NamedTuple's fields."""
    names: Sequence[str] | None = getattr(value, "_fields", None)
    return range(len(value)) if names is None else names


def copied(thing: T, replaced: Mapping[Path, object]) -> T:
    """A copy with other leaves; what is replaced in neither shares a container."""
    other = copy.copy(thing)
    assign(other, {**leaves(thing), **replaced})
    return other


def assign(thing: object, replaced: Mapping[Path, object]) -> None:
    """Put leaves into their places, in new containers."""
    for name in dict.fromkeys(path[0] for path in replaced):
        vars(thing)[str(name)] = _rebuilt(vars(thing)[str(name)], (name,), replaced)


def _rebuilt(value: object, path: Path, replaced: Mapping[Path, object]) -> object:
    if isinstance(value, dict):
        return type(value)({key: _rebuilt(part, (*path, key), replaced) for key, part in value.items()})
    if isinstance(value, tuple | list):
        parts = [
            _rebuilt(part, (*path, key), replaced) for key, part in zip(_keys(value), value, strict=True)
        ]
        make = getattr(type(value), "_make", type(value))  # a NamedTuple takes its fields one by one
        made: object = make(parts)
        return made
    return replaced.get(path, value)


@cache
def name_of(path: Path) -> str:
    return ".".join(map(str, path))


def same(a: object, b: object) -> bool:
    """Whether two leaves that are no tensors mean the same."""
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, Tensor):
        return False
    try:
        return bool(a == b)
    except (TypeError, ValueError, RuntimeError):  # whatever it is, it does not say so
        return False


def same_content(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))
