"""Which engine drives: the fastest that is installed, has its members in the bundle and passes the golden check here.

Every engine is tried in a process of its own: one that crashes on this board, or takes much memory, does neither to
the program that drives. What was found is remembered (`engines.findings`), so that the next start loads one engine and
tries none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from acclimate.bundle.file import Bundle
from acclimate.engines import ENGINES, findings, missing
from acclimate.errors import EngineError, GoldenError, NoEngineError
from acclimate.policy.trust import untrusted

if TYPE_CHECKING:
    from acclimate.engines.child_process import ChildProcess

_PROGRAM = "from acclimate.policy.engine_trial import main; main()"
_ROUNDS = 5  # in turns, so that what else the board does falls on all engines
_ROUND = 0.01  # s, per engine


@dataclass(frozen=True)
class Choice:
    """The engine taken, and why.

    act_us:      of each engine that was measured, the median time of one `act`, hot, in µs.
    passed_over: of each other engine that was not, why not, in one sentence.
    remembered:  whether this was found at an earlier start.
    remark:      why starting takes longer than it must, where it does.
    """

    engine: str
    why: str
    act_us: Mapping[str, float] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)
    remembered: bool = False
    remark: str = ""

    def lines(self) -> list[str]:
        """For people: the engine and why, then a line for each that was passed over, and the remark."""
        return [
            f"{self.engine}: {self.why}",
            *(f"not {name}: {reason}" for name, reason in self.passed_over.items()),
            *([self.remark] if self.remark else []),
        ]


def named(engine: str) -> Choice:
    """The choice of a user who named the engine."""
    return Choice(engine, "as asked for")


def choose(bundle: Bundle, *, anew: bool = False) -> Choice:
    """The choice for this bundle, which is read from its file, on this board.

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
    key = findings.key(bundle.sha256, fit)
    if not anew and (found := findings.recall(key)) is not None and found.engine in fit:
        return Choice(found.engine, _ranking(found.act_us), found.act_us, {**unfit, **found.failed}, True)
    choice = _measured(bundle, fit, unfit)
    failed = {name: reason for name, reason in choice.passed_over.items() if name in fit}
    reason = findings.remember(key, findings.Found(choice.engine, choice.act_us, failed))
    return (
        replace(choice, remark=f"all engines are tried at every start, since {reason}") if reason else choice
    )


def _unfit(name: str, bundle: Bundle) -> str:
    """Why engine `name` is out of the question, before anything is loaded; empty where it is not."""
    if reason := missing(name):
        return reason
    stems = ["act"] if bundle.manifest.graphs.adapt is None else ["act", "adapt"]
    lacking = [f"{stem}.{ENGINES[name].suffix}" for stem in stems]
    lacking = [member for member in lacking if member not in bundle.members]
    if lacking:
        return f"the bundle has no {' and no '.join(lacking)}"
    return untrusted(ENGINES[name].suffix, bundle)


def _measured(bundle: Bundle, fit: list[str], unfit: Mapping[str, str]) -> Choice:
    trials = _Trials()
    with trials.stack:
        trials.bring_up(bundle, fit)
        act_us = trials.act_us()
    passed_over = {**unfit, **trials.failed}
    if not act_us:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in passed_over.items())
        error_type = GoldenError if trials.computed_otherwise else EngineError
        raise error_type(f"no engine here may drive with {bundle.path}: {reasons}")
    return Choice(min(act_us, key=lambda name: act_us[name]), _ranking(act_us), act_us, passed_over)


@dataclass
class _Trials:
    """The engines that are being tried, each in its process, and why the others failed."""

    stack: ExitStack = field(default_factory=ExitStack)
    processes: dict[str, ChildProcess] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    computed_otherwise: bool = False

    def bring_up(self, bundle: Bundle, names: list[str]) -> None:
        from acclimate.engines.child_process import (
            ChildProcess,
        )  # not before: a start that remembers needs none

        for name in names:
            try:
                self.processes[name] = self.stack.enter_context(
                    ChildProcess(_PROGRAM, [str(bundle.path), name])
                )
            except (EngineError, GoldenError) as error:
                self.failed[name] = str(error)
                self.computed_otherwise |= isinstance(error, GoldenError)

    def act_us(self) -> dict[str, float]:
        """µs of one `act`, hot: of each engine the median call of its best round."""
        best: dict[str, float] = {}
        for _ in range(_ROUNDS):
            for name, process in list(self.processes.items()):
                try:
                    calls = max(int(_ROUND / (1e-6 * min(_times(process, 5)))), 5)
                    found = median(_times(process, calls))
                except EngineError as error:  # it died of it
                    self.failed[name] = str(error)
                    del self.processes[name]
                    continue
                best[name] = min(best.get(name, found), found)
        return {name: us for name, us in best.items() if name in self.processes}


def _times(process: ChildProcess, calls: int) -> list[float]:
    """µs of each of `calls` calls of `act`, hot."""
    answer = process.ask(str(calls))
    assert isinstance(answer, list)
    return [float(us) for us in answer]  # type: ignore[arg-type]  # numbers all


def _ranking(act_us: Mapping[str, float]) -> str:
    ranked = sorted(act_us, key=lambda name: act_us[name])
    if len(ranked) == 1:
        return "the only engine here that runs the bundle and passes the golden check"
    told = ", ".join(f"{name} {act_us[name]:.1f} µs" for name in ranked)
    return f"the fastest here that passes the golden check ({told} per act)"
