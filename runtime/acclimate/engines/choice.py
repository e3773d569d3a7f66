"""Which engine drives: the fastest that is installed, has its members in the bundle and passes the golden check here.

Measuring takes a moment and loads every engine, so what it found is remembered (`engines.memory`): the next start
loads the one engine, and nothing of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from acclimate.arrays import FloatArray
from acclimate.bundle import Bundle
from acclimate.engines import ENGINES, memory, missing
from acclimate.errors import EngineError, GoldenError, NoEngineError

_ROUNDS = 5  # in turns, so that what else the board does falls on all engines
_ROUND = 0.01  # s, per engine
_RANKED = 1e6  # µs per s


class Acting(Protocol):
    """What is measured: a policy on one engine."""

    def act(self, obs: FloatArray, noise: FloatArray | None = None) -> FloatArray: ...

    def restore(self) -> None: ...


@dataclass(frozen=True)
class Choice:
    """The engine taken, and why.

    act_us:      of each engine that was measured, the median time of one `act`, hot, in µs.
    passed_over: of each other engine that was not, why not, in one sentence.
    remembered:  whether this was found at an earlier start.
    """

    engine: str
    why: str
    act_us: Mapping[str, float] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)
    remembered: bool = False

    def lines(self) -> list[str]:
        """For people: the engine and why, then a line for each that was passed over."""
        return [
            f"{self.engine}: {self.why}",
            *(f"not {name}: {reason}" for name, reason in self.passed_over.items()),
        ]


def named(engine: str) -> Choice:
    """The choice of a user who named the engine."""
    return Choice(engine, "as asked for")


def choose(bundle: Bundle, make: Callable[[str], Acting], *, anew: bool = False) -> Choice:
    """The choice for this bundle on this board; `make` loads the bundle on the engine of a name.

    Where `anew`, or $ACCLIMATE_CHOOSE is "anew", nothing remembered is believed. Raises NoEngineError or
    EngineError where no engine runs the bundle, GoldenError where those that do compute otherwise.
    """
    unfit = {name: reason for name in ENGINES if (reason := _unfit(name, bundle))}
    fit = [name for name in ENGINES if name not in unfit]
    if not fit:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unfit.items())
        raise NoEngineError(f"no engine here runs {bundle.path}: {reasons}")
    if len(fit) == 1:
        return Choice(fit[0], "the only engine here that the bundle has members for", {}, unfit)
    key = memory.key(bundle.sha256, fit)
    if not anew and (found := memory.recall(key)) is not None and found.engine in fit:
        return Choice(found.engine, _ranking(found.act_us), found.act_us, {**unfit, **found.failed}, True)
    choice = _measured(bundle, make, fit, unfit)
    failed = {name: reason for name, reason in choice.passed_over.items() if name in fit}
    memory.remember(key, memory.Found(choice.engine, choice.act_us, failed))
    return choice


def _unfit(name: str, bundle: Bundle) -> str:
    """Why engine `name` is out of the question, before anything is loaded; empty where it is not."""
    if reason := missing(name):
        return reason
    stems = ["act"] if bundle.manifest.graphs.adapt is None else ["act", "adapt"]
    lacking = [f"{stem}.{ENGINES[name].suffix}" for stem in stems]
    lacking = [member for member in lacking if member not in bundle.members]
    return f"the bundle has no {' and no '.join(lacking)}" if lacking else ""


def _measured(
    bundle: Bundle, make: Callable[[str], Acting], fit: list[str], unfit: Mapping[str, str]
) -> Choice:
    policies: dict[str, Acting] = {}
    failed: dict[str, str] = {}
    wrong = False  # whether an engine ran, and computed otherwise
    for name in fit:
        try:
            policies[name] = make(name)
        except (EngineError, GoldenError) as error:
            failed[name] = str(error)
            wrong = wrong or isinstance(error, GoldenError)
    if not policies:
        error_type = GoldenError if wrong else EngineError
        reasons = "; ".join(f"{name}: {reason}" for name, reason in {**unfit, **failed}.items())
        raise error_type(f"no engine here may drive with {bundle.path}: {reasons}")
    act_us = _times(bundle, policies)
    return Choice(min(act_us, key=lambda name: act_us[name]), _ranking(act_us), act_us, {**unfit, **failed})


def _times(bundle: Bundle, policies: Mapping[str, Acting]) -> dict[str, float]:
    """µs of one `act` on the golden sequence, hot: of each engine its best round, in `policies`' order."""
    rounds: dict[str, list[float]] = {name: [] for name in policies}
    for _ in range(_ROUNDS):
        for name, policy in policies.items():
            rounds[name].append(_round(bundle, policy))
    return {name: min(times) for name, times in rounds.items()}


def _round(bundle: Bundle, policy: Acting) -> float:
    """Mean µs of one `act` over whole golden sequences, for about 10 ms; leaves the policy as exported."""
    golden, act, clock = bundle.golden, policy.act, time.perf_counter
    policy.restore()
    begin, calls = clock(), 0
    while (elapsed := clock() - begin) < _ROUND:
        for k in range(golden.ticks):
            act(golden.obs[k], golden.noise[k])
        calls += golden.ticks
    policy.restore()
    return _RANKED * elapsed / calls


def _ranking(act_us: Mapping[str, float]) -> str:
    ranked = sorted(act_us, key=lambda name: act_us[name])
    if len(ranked) == 1:
        return "the only engine here that runs the bundle and passes the golden check"
    told = ", ".join(f"{name} {act_us[name]:.1f} µs" for name in ranked)
    return f"the fastest here that passes the golden check ({told} per act)"
