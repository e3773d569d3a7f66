"""Checks of what a family is: its specification, the machines that it draws, and what it tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from acclimate.task.spec import Parameter, TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Changing, HasHeldOut, Property, Ranged
from acclimate_trainer.testing.subject import Subject, Tasks, differ, faults, unknown

_ROUNDING = 1e-5  # of an end of a range


def members(s: Subject) -> Iterator[str]:
    """It has all members, and its specification is one."""
    for name in ("spec", "sample", "parameters", "open"):
        if not hasattr(type(s.family), name) and not hasattr(s.family, name):
            yield f"it lacks {name}; a family has spec, sample, parameters and open"
    spec = unknown(s.spec)
    if not isinstance(spec, TaskSpec):
        yield f"spec is a {type(spec).__name__}, expected a TaskSpec"
    if s.spec != s.spec:
        yield "spec differs from one time to the next, expected the same value always"


def sampled(s: Subject) -> Iterator[str]:
    """Tasks are a NamedTuple of finite tensors, tasks first."""
    for n, progress in ((1, 1.0), (s.machines, 1.0), (s.machines, 0.0)):
        yield from _faults(f"sample({n}, rng, progress={progress:g})", s.tasks(n, progress=progress), n)


def _faults(member: str, tasks: Tasks, n: int) -> Iterator[str]:
    if not (isinstance(tasks, tuple) and hasattr(tasks, "_fields")):
        yield f"{member} gave {type(tasks).__name__}, expected a NamedTuple of tensors"
        return
    for name, value in zip(tasks._fields, tasks, strict=True):
        if not isinstance(value, Tensor) or value.dim() < 1 or len(value) != n:
            found = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            yield f"{member}: {name} is {found}, expected a tensor of {n} tasks, tasks first"
        elif value.is_floating_point():
            yield from faults(f"{member}: {name}", value, tuple(value.shape), torch.float32)


def sampled_by_seed(s: Subject) -> Iterator[str]:
    """The generator decides which machines are drawn, and nothing else does."""
    one, same, other = s.tasks(seed=1), s.tasks(seed=1), s.tasks(seed=2)
    for name, a, b in zip(one._fields, one, same, strict=True):
        if not torch.equal(a, b):
            yield f"sample: {name} differs between two calls with the same seed, expected all randomness from rng"
    if s.spec.parameters and all(torch.equal(a, b) for a, b in zip(one, other, strict=True)):
        yield "sample gives the same machines for different seeds, expected machines drawn from rng"


def told(s: Subject) -> Iterator[str]:
    """Parameters are as the specification says: in its order and within its ranges."""
    for progress in (0.0, 1.0):
        tasks = s.tasks(s.machines if s.quick else 64, progress=progress)
        n, given = len(tasks[0]), s.parameters(tasks)
        yield from faults("parameters", given, (n, len(s.spec.parameters)), torch.float32)
        for p, column in zip(s.spec.parameters, given.unbind(-1), strict=True):
            yield from _outside(p, column)
            field = getattr(tasks, p.name, None)
            if (
                isinstance(field, Tensor)
                and field.numel() == n
                and differ(field.view(-1), column, _size(column))
            ):
                yield (
                    f"parameters: {p.name} is {column[0]:g} where the field {p.name!r} of the tasks is "
                    f"{field.view(-1)[0]:g}, expected the order of the spec"
                )


def _outside(p: Parameter, column: Tensor) -> Iterator[str]:
    low, high = p.low - _ROUNDING * abs(p.low), p.high + _ROUNDING * abs(p.high)
    beyond = (column < low) | (column > high)
    if beyond.any():
        yield (
            f"parameters: {p.name} is {column[beyond][0]:g} {p.unit}, expected its range in spec.parameters, "
            f"{p.low:g} to {p.high:g}"
        )
    if p.scale == "sign" and not (column.abs() == 1.0).all():
        yield f"parameters: {p.name} is {column[column.abs() != 1.0][0]:g}, expected −1 or 1, as it is a sign"


def _size(column: Tensor) -> float:
    return max(float(column.abs().max()), 1e-30)


def changed(s: Subject) -> Iterator[str]:
    """What something has happened to is a machine still; ranges are those of new ones, and may be left."""
    family = s.family
    if not isinstance(family, Changing):
        return
    before = s.tasks()
    after, again = (s.call("change", lambda: family.change(before, _rng())) for _ in range(2))
    if type(after) is not type(before):
        yield f"change gave {type(after).__name__}, expected {type(before).__name__}, as sample gives"
        return
    yield from _faults("change", after, s.machines)
    for name, a, b, c in zip(after._fields, before, after, again, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"change: {name} has shape {list(b.shape)}, {b.dtype}, expected {list(a.shape)}, {a.dtype}"
        if not torch.equal(b, c):
            yield f"change: {name} differs between two calls with the same seed, expected all randomness from rng"
    if not all(torch.equal(a, b) for a, b in zip(before, s.tasks(), strict=True)):
        yield "change altered the tasks that it was given, expected new ones"
    given = s.parameters(after)
    for p, column in zip(s.spec.parameters, given.unbind(-1), strict=True):
        if p.scale == "sign":
            yield from _outside(p, column)
        if p.scale == "log" and not (column > 0.0).all():
            yield f"change: {p.name} became {column.min():g}, expected it above 0, as its scale is log"


def placed(s: Subject) -> Iterator[str]:
    """Machines made by the places of their properties are those that `sample` draws, within the same ranges."""
    family = s.family
    if not isinstance(family, Ranged):
        return
    properties = unknown(s.call("properties", lambda: family.properties))
    if not (
        isinstance(properties, tuple | list)
        and properties
        and all(isinstance(p, Property) for p in properties)
    ):
        yield f"properties gave {properties!r}, expected a tuple of Property, at least one"
        return
    for p in properties:
        if not p.lowest <= p.easiest <= p.highest:
            yield f"properties: {p.name} is easiest at {p.easiest:g}, expected {p.lowest:g} to {p.highest:g}"
    inside = np.clip(_rng().random((s.machines, len(properties))), *_room(properties))
    made, again = (s.call("placed", lambda: family.placed(inside, _rng())) for _ in range(2))
    yield from _faults("placed", made, s.machines)
    if type(made) is not type(s.tasks()):
        yield f"placed gave {type(made).__name__}, expected {type(s.tasks()).__name__}, as sample gives"
    elif not all(torch.equal(a, b) for a, b in zip(made, again, strict=True)):
        yield "placed differs between two calls with the same places and seed, expected nothing else to matter"
    for parameter, column in zip(s.spec.parameters, s.parameters(made).unbind(-1), strict=True):
        yield from _outside(parameter, column)
    far = np.clip(np.where(inside < 0.5, -0.25, 1.25), *_room(properties))
    yield from _faults(
        "placed, beyond the ranges,", s.call("placed", lambda: family.placed(far, _rng())), s.machines
    )


def _room(properties: Sequence[Property]) -> tuple[list[float], list[float]]:
    """The lowest and the highest place of each."""
    return [p.lowest for p in properties], [p.highest for p in properties]


def held_out(s: Subject) -> Iterator[str]:
    """Held-out machines are of the same specification, so that what drives the one can drive the other."""
    family = s.family
    if not isinstance(family, HasHeldOut):
        return
    other = s.call("held_out", family.held_out)
    spec = unknown(getattr(other, "spec", None))
    if not isinstance(spec, TaskSpec):
        yield f"held_out gave {type(other).__name__}, expected a family, as this one is"
    elif spec != s.spec:
        yield "held_out gave a family of another spec, expected the same channels, parameters and metrics"


def _rng() -> np.random.Generator:
    return np.random.default_rng(11)
