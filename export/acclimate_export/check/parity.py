"""Do the engines compute what torch computes? All get the same inputs, taken from simulated machines of the family."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from acclimate.bundle.file import STATE, Bundle
from acclimate.engines import ENGINES, Engine, Graph, missing, open_engine
from acclimate.errors import EngineError, GoldenError, UsageError
from acclimate.fields import Json
from acclimate.policy.policy import Policy
from acclimate.policy.trust import untrusted

from acclimate_export.bundle import family_file
from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.cases import Case, cases
from acclimate_export.check.differences import QUANTISED_LIMIT, Largest, finite, limit_of
from acclimate_export.check.drift import Drift, drift, remembers

LIMIT = 1e-5  # on max_rel, for graphs in float32
_DRIFT_TICKS = 1000


class Row(NamedTuple):
    """One graph on one engine. `tensor` is where `max_rel` was found; a quantised graph has a limit of its own."""

    engine: str
    graph: str
    max_abs: float
    max_rel: float
    tensor: str
    inputs: int
    limit: float = LIMIT

    @property
    def ok(self) -> bool:
        return self.max_rel <= self.limit  # False for NaN

    def __str__(self) -> str:
        near = "agrees with torch" if self.limit == LIMIT else "is quantised, and near torch"
        verdict = near if self.ok else "DIFFERS from torch"
        what = "ticks" if self.graph == "act" else "windows"
        return (
            f"{self.graph} on {self.engine} {verdict}: at most {self.max_rel:.1e} relative, in {self.tensor!r} "
            f"(limit {self.limit:g}, {self.inputs} {what})"
        )

    def tree(self) -> dict[str, Json]:
        """As docs/cli.md describes it."""
        return {**self._asdict(), "max_abs": finite(self.max_abs), "max_rel": finite(self.max_rel)}


@dataclass(frozen=True, repr=False)
class Parity:
    """What differs between a bundle and its policy in torch; printing it gives a line for everything that was compared.

    rows:      every graph on every engine.
    drifts:    by engine, of a policy that remembers.
    state:     what differs in the initial state, and `golden` in the golden sequence; empty where nothing does.
    unchecked: engines that the bundle has members for and this machine cannot run, and why.
    family:    that the file of the family is another than when the bundle was exported; empty where it is not.
    """

    rows: tuple[Row, ...]
    drifts: tuple[Drift, ...]
    state: str
    golden: str
    unchecked: Mapping[str, str]
    family: str

    @property
    def ok(self) -> bool:
        agree = all(row.ok for row in self.rows) and all(drift.ok for drift in self.drifts)
        return agree and not self.state and not self.golden

    @property
    def max_rel(self) -> float:
        """The largest relative difference of a graph in float32."""
        return float(np.max([row.max_rel for row in self.rows if row.limit == LIMIT]))  # NaN stays

    def within(self, wrong: float) -> bool:
        """Whether all rows and drifts are, but for those of quantised graphs, which have their own limit."""
        found: tuple[Row | Drift, ...] = (*self.rows, *self.drifts)
        return all(each.max_rel <= (each.limit if each.limit == QUANTISED_LIMIT else wrong) for each in found)

    def lines(self) -> list[str]:
        """A sentence for every graph, and one for everything else that was found."""
        unchecked = [f"not checked on {name}: {reason}" for name, reason in self.unchecked.items()]
        differences = filter(None, (self.family, self.state, self.golden))
        return [*map(str, (*self.rows, *self.drifts)), *differences, *unchecked]

    def tree(self) -> dict[str, Json]:
        """As docs/cli.md describes it."""
        return {
            "ok": self.ok,
            "rows": [row.tree() for row in self.rows],
            "drift": [drift.tree() for drift in self.drifts],
            "limit": LIMIT,
            "state": self.state,
            "golden": self.golden,
            "unchecked": dict(self.unchecked),
            "family": self.family,
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        engines = ", ".join(dict.fromkeys(row.engine for row in self.rows))
        verdict = "agrees with" if self.ok else "DIFFERS from"
        return f"<Parity: {verdict} torch on {engines}, at most {self.max_rel:.1e} relative>"


def compare(trained: Trained, bundle: Bundle, inputs: int, seed: int) -> Parity:
    """`act` on at least `inputs` ticks, `adapt` on a tenth as many windows, the initial state, the golden sequence.

    On every engine that is installed here and that the bundle has members for. For a policy that remembers, also
    1,000 consecutive ticks.

    Raises EngineError where an engine refuses a graph, or none is there.
    """
    unchecked = not_here(bundle)
    engines = engines_for(bundle)
    tallies = [tally for engine in engines for tally in _tallies(bundle, engine)]
    for case in cases(trained, inputs, seed):
        for tally in tallies:
            if tally.graph == case.graph:
                tally.add(case)
    golden = {engine.name: _golden_differs(bundle, engine) for engine in engines}
    driven = [engine for engine in engines if remembers(trained) and not golden[engine.name]]
    drifts = tuple(drift(trained, bundle, engine, _DRIFT_TICKS, seed) for engine in driven)
    rows = tuple(tally.row() for tally in tallies)
    sentences = "; ".join(filter(None, golden.values()))
    changed = family_file.changed(trained.config.opened, bundle)
    return Parity(rows, drifts, _state_differs(trained, bundle), sentences, unchecked, changed)


def engines_for(bundle: Bundle) -> list[Engine]:
    """Those that can run this bundle on this machine. Raises EngineError where none can."""
    absent = not_here(bundle)
    held = _held(bundle)
    engines = [open_engine(name) for name in held if name not in absent]
    if not engines:
        raise EngineError(
            f"none of the engines that {bundle.path} has members for is here: {', '.join(held)}"
        )
    return engines


def not_here(bundle: Bundle) -> dict[str, str]:
    """By engine that the bundle has members for, why it cannot run on this machine; those that can are left out."""
    held = {name: ENGINES[name].suffix for name in _held(bundle)}
    reasons = {
        name: missing(name) or _without_program(name) or untrusted(suffix, bundle)
        for name, suffix in held.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _held(bundle: Bundle) -> list[str]:
    return [name for name, entry in ENGINES.items() if f"act.{entry.suffix}" in bundle.members]


def _without_program(name: str) -> str:
    """Why an engine cannot run that needs one of several programs; empty where it can."""
    programs = ENGINES[name].programs
    found = not programs or any(shutil.which(program) for program in programs)
    return "" if found else f"engine {name!r} needs one of {', '.join(programs)}, and none is on PATH"


def check_same_state(trained: Trained, bundle: Bundle, where: str) -> None:
    """Raises UsageError where a bundle is not of the policy in `where`."""
    if bundle.manifest.state != trained.policy.state or bundle.manifest.window != trained.policy.window:
        raise UsageError(
            f"{bundle.path} ({bundle.manifest.algorithm}) was not exported from {where} "
            f"({trained.policy.algorithm}): their state tensors or windows differ"
        )


class _Tally:
    """Of every output of a graph, the largest difference and the largest expected value so far."""

    def __init__(self, engine: str, graph: str, bound: Graph, limit: float) -> None:
        self.graph = graph
        self._limit = limit
        self._engine = engine
        self._bound = bound
        self._worst = dict.fromkeys(bound.outputs, 0.0)
        self._scale = dict.fromkeys(bound.outputs, 0.0)
        self._inputs = 0

    def add(self, case: Case) -> None:
        for name, array in self._bound.inputs.items():
            array[...] = case.given[name].numpy()
        self._bound.run()
        self._inputs += 1
        for name, found in self._bound.outputs.items():
            wanted = case.expected[name].numpy().astype(np.float64)
            difference = float(np.abs(found - wanted).max())
            self._worst[name] = float(np.maximum(self._worst[name], difference))  # NaN stays
            self._scale[name] = max(self._scale[name], float(np.abs(wanted).max()))

    def row(self) -> Row:
        largest = Largest.of(self._worst, self._scale)
        return Row(self._engine, self.graph, *largest, self._inputs, self._limit)


def _tallies(bundle: Bundle, engine: Engine) -> Iterator[_Tally]:
    """One for each graph."""
    m, limit = bundle.manifest, limit_of(bundle, engine, LIMIT)
    for name, spec in (("act", m.act_spec(engine.suffix)), ("adapt", m.graphs.adapt)):
        if spec is not None:
            member = f"{name}.{engine.suffix}"
            program = engine.load(bundle.members[member], spec, f"{bundle.path}: {member}")
            yield _Tally(engine.name, name, program.bind(), limit)


def _state_differs(trained: Trained, bundle: Bundle) -> str:
    for name, value in trained.policy.initial().items():
        difference = np.abs(bundle.state[name].astype(np.float64) - as_array(value))
        if float(difference.max()) > 0.0:
            return (
                f"{bundle.path}: {STATE}: {name!r} is not as trained, by up to {float(difference.max()):.2g}"
            )
    return ""


def _golden_differs(bundle: Bundle, engine: Engine) -> str:
    try:
        Policy(bundle, engine)
    except GoldenError as error:
        return str(error)
    return ""
