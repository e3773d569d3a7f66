"""What a machine can be rewarded for: φ, computed from the terms of the spec's features.

One definition serves the trainer, the graphs on the device and a device that judges itself, so that all mean the same
by "quiet". It is plain arithmetic, so it takes floats, numpy arrays and torch tensors alike, and can be traced. A
reward is wᵀφ (Barreto et al. 2017, equation 2); the weights w are the operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import Protocol, Self, TypeAlias, TypeVar

from acclimate.errors import UsageError
from acclimate.task.spec import Feature, Penalty, Term, TermKind


class Arithmetic(Protocol):
    """Floats, numpy arrays and torch tensors."""

    def __add__(self, other: Self | float, /) -> Self: ...
    def __sub__(self, other: Self | float, /) -> Self: ...
    def __mul__(self, other: Self | float, /) -> Self: ...
    def __pow__(self, other: float, /) -> Self: ...


Value = TypeVar("Value", bound=Arithmetic)
Lookup: TypeAlias = Callable[[str, int], Value]
"""(name, ago) -> the entry of that name, `ago` ticks before the newest."""

_Key: TypeAlias = tuple[TermKind, tuple[str, ...]]
_REACH: dict[TermKind, int] = {"error": 0, "jerk": 3, "action": 0, "change": 1}


def features(of: Sequence[Feature], observed: Lookup[Value], commanded: Lookup[Value]) -> tuple[Value, ...]:
    """φ of one tick, in the order of `of`.

    observed:  entries of the observation, the newest as it is after the tick.
    commanded: entries of the action, the newest that of the tick, as it was after clamping.

    Raises UsageError for a feature without a term, which only its family's own code can compute.
    """
    quantities: dict[_Key, Value] = {}  # each is computed once, however many features are made of it

    def penalised(term: Term) -> Iterator[Value]:
        for names in _operands(term):
            if (term.of, names) not in quantities:
                quantities[term.of, names] = _quantity(term.of, names, observed, commanded)
            yield _penalised(quantities[term.of, names], term.penalty, term.soft)

    def phi(term: Term) -> Value:
        total = reduce(add, penalised(term))
        return total if term.weight == 1.0 else total * term.weight

    return tuple(phi(_term(feature)) for feature in of)


def reach(of: Sequence[Feature]) -> int:
    """How many ticks before the newest `features` asks for."""
    return max((_REACH[feature.term.of] for feature in of if feature.term is not None), default=0)


def _term(feature: Feature) -> Term:
    if feature.term is None:
        raise UsageError(f"feature {feature.name!r} has no term; only the code of its family computes it")
    return feature.term


def _operands(term: Term) -> Iterator[tuple[str, ...]]:
    """The entries that each quantity is made of: a pair for an error, one for the rest."""
    size = 2 if term.of == "error" else 1
    return (term.channels[i : i + size] for i in range(0, len(term.channels), size))


def _quantity(
    of: TermKind, names: tuple[str, ...], observed: Lookup[Value], commanded: Lookup[Value]
) -> Value:
    name = names[0]
    if of == "error":
        return observed(name, 0) - observed(names[1], 0)
    if of == "jerk":
        now, one, two, three = (observed(name, ago) for ago in range(4))
        return now - three + (two - one) * 3.0
    return commanded(name, 0) if of == "action" else commanded(name, 0) - commanded(name, 1)


def _penalised(x: Value, penalty: Penalty, soft: float) -> Value:
    if penalty == "magnitude":
        return (x * x + soft * soft) ** 0.5 - soft  # |x|, smooth around 0
    if penalty == "square":
        return x * x
    return (x * x * (1.0 / soft**2) + 1.0) ** -1.0  # 1 at 0, a half at ± soft
