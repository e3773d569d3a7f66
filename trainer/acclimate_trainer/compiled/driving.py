"""Whether roll-outs are compiled, those that were, and why others were not.

What cannot be compiled is driven by torch. What is compiled is compared with torch where it is new: its episodes, and
the gradient of their first ticks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Never, TypeAlias

from acclimate.cache import VARIABLE, cache_folder

from acclimate_trainer.compiled.comparison import compare
from acclimate_trainer.compiled.ride import Ridden, Ride
from acclimate_trainer.compiled.rollout import Rollout
from acclimate_trainer.compiled.rows import RowFunction, RowGradient
from acclimate_trainer.compiled.stopwatch import COMPILING, STOPWATCH
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.contract.family import Session
from acclimate_trainer.contract.policy import Policy, Tensors

Driver: TypeAlias = Callable[[Ride], Ridden]
_MOST_KINDS = 16  # of roll-outs of one policy on one session


@dataclass
class _State:
    on: bool = False
    kinds: list[Rollout] = field(default_factory=list)
    refused: set[tuple[type, type]] = field(default_factory=set)
    rows: dict[tuple[object, ...], RowGradient | None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)


_state = _State()


@contextmanager
def compiling(on: bool = True) -> Iterator[None]:
    """Inside, roll-outs are compiled where they can be."""
    before, _state.on = _state.on, on
    try:
        yield
    finally:
        _state.on = before


def notes() -> list[str]:
    """Why roll-outs were left to torch, a sentence each, given once."""
    found = list(_state.notes)
    _state.notes.clear()
    return found


def forget() -> None:
    """All that was compiled, and all that was refused."""
    _state.kinds.clear()
    _state.refused.clear()
    _state.rows.clear()
    _state.notes.clear()


def drive(asked: Ride, by_torch: Driver) -> Ridden:
    """In C where that is wanted and possible, else by torch."""
    STOPWATCH.ticks += asked.noise.shape[:3].numel()
    if not wanted(asked.policy, asked.session):
        return by_torch(asked)
    untouched = asked._replace(
        session=copy.copy(asked.session)
    )  # whoever moves the other puts new tensors in
    try:
        kind = _kind_of(asked)
        ridden, is_new = kind.ride(asked)
        if is_new:
            with STOPWATCH.on(COMPILING):
                compare(kind, untouched, ridden, by_torch)
            _note_unkept(kind)
    except NotCompiled as why:
        refuse(asked.policy, asked.session, str(why))
        return by_torch(untouched)
    return ridden


def wanted(policy: Policy, session: Session[Never]) -> bool:
    """Whether roll-outs of such a policy on such a session are to be compiled, as far as is known."""
    return _state.on and (type(policy), type(session)) not in _state.refused


def refuse(policy: Policy, session: Session[Never], why: str) -> None:
    """Leave them to torch from now on, and say so once."""
    both = type(policy), type(session)
    if both not in _state.refused:
        _state.refused.add(both)
        names = f"{both[0].__name__} on {both[1].__name__}"
        _state.notes[f"{names} is driven by torch and not compiled, since {why}"] = None


def _kind_of(asked: Ride) -> Rollout:
    for kind in _state.kinds:
        if kind.fits(asked):
            return kind
    both = type(asked.policy), type(asked.session)
    if sum(kind.types == both for kind in _state.kinds) >= _MOST_KINDS:
        raise NotCompiled("something in them that should be constant is another one in every roll-out")
    with STOPWATCH.on(COMPILING):
        kind = Rollout(asked)
    _state.kinds.append(kind)
    return kind


def row_gradient(
    what: str, function: RowFunction, weights: Tensors, handed: Tensors, row: Tensors, *settings: object
) -> RowGradient | None:
    """A gradient over many rows in C, where that is wanted and possible; one for each set of sizes and `settings`.

    what: what it is of, for the sentence that says why not.
    """
    if not _state.on:
        return None
    sizes = (
        tuple((n, x.shape[1:]) for n, x in weights.items()),
        tuple((n, x.shape[2:]) for n, x in (*handed.items(), *row.items())),
    )
    key = (what, *sizes, *settings)
    if key not in _state.rows:
        try:
            with STOPWATCH.on(COMPILING):
                made = _state.rows[key] = RowGradient(function, weights, handed, row)
            _note_unkept(made)
        except NotCompiled as why:
            _state.rows[key] = None
            _state.notes[f"{what} is left to torch and not compiled, since {why}"] = None
    return _state.rows[key]


def _note_unkept(compiled: Rollout | RowGradient) -> None:
    if not compiled.kept:
        folder = cache_folder()
        why = "there is no home folder for a cache" if folder is None else f"{folder} cannot be written"
        _state.notes[
            f"what is compiled is not kept for the next run, since {why}; name another folder in ${VARIABLE}"
        ] = None
