"""Do the engines compute what torch computes? All get the same inputs, taken from simulated servos.

What counts is, for each output tensor by itself, the largest difference over all inputs, relative to the largest
value that torch gives that tensor over all inputs: the golden check's measure, without its absolute term. Relative
to each single number it would say nothing, since an action that happens to be near zero has no relative precision
in float32; relative to several tensors together, a wrong bias could hide behind large weights.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from acclimate.bundle.file import STATE, Bundle
from acclimate.engines import ENGINES, Engine, Entry, Graph, missing, open_engine
from acclimate.errors import EngineError, GoldenError, UsageError
from acclimate.policy.policy import Policy
from torch import Tensor

from acclimate_export.bundle.practice import Stage, outputs, practise, replay
from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.drift import QUANTISED_LIMIT, Drift, drift, limit_of, ratio, remembers

LIMIT = 1e-5  # on max_rel, for graphs in float32
_BATCH = 32  # tasks that torch works on at once
_MASKED = 0.3  # at most this share of a window is hidden
_DRIFT_TICKS = 1000
_WINDOWS = 0.1  # windows that adapt gets per input that act gets


class Sample(NamedTuple):
    """Inputs of a graph, by name, and what torch makes of them."""

    graph: str
    given: Mapping[str, Tensor]
    expected: Mapping[str, Tensor]


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


class Parity(NamedTuple):
    """What differs between a bundle and its policy in torch; the sentences are empty where nothing does."""

    rows: tuple[Row, ...]
    state: str
    golden: str
    drifts: tuple[Drift, ...]  # by engine, of a policy that remembers

    @property
    def ok(self) -> bool:
        agree = all(row.ok for row in self.rows) and all(drift.ok for drift in self.drifts)
        return agree and not self.state and not self.golden

    def within(self, wrong: float) -> bool:
        """Whether all rows and drifts are, but for those of quantised graphs, which have their own limit."""
        found: tuple[Row | Drift, ...] = (*self.rows, *self.drifts)
        return all(each.max_rel <= (each.limit if each.limit == QUANTISED_LIMIT else wrong) for each in found)


def compare(trained: Trained, bundle: Bundle, inputs: int, seed: int) -> Parity:
    """`act` on at least `inputs` ticks, `adapt` on a tenth as many windows, the initial state, the golden sequence.

    On every engine that is installed here and that the bundle has members for. For a policy that remembers, also
    1,000 consecutive ticks.

    Raises EngineError where an engine refuses a graph, or none is there.
    """
    engines = engines_for(bundle)
    tallies = [tally for engine in engines for tally in _tallies(bundle, engine)]
    for sample in samples(trained, inputs, seed):
        for tally in tallies:
            if tally.graph == sample.graph:
                tally.add(sample)
    golden = {engine.name: _golden_differs(bundle, engine) for engine in engines}
    driven = [engine for engine in engines if remembers(trained) and not golden[engine.name]]
    drifts = tuple(drift(trained, bundle, engine, _DRIFT_TICKS, seed) for engine in driven)
    sentences = "; ".join(filter(None, golden.values()))
    return Parity(tuple(tally.row() for tally in tallies), _state_differs(trained, bundle), sentences, drifts)


def engines_for(bundle: Bundle) -> list[Engine]:
    """Those that can run this bundle on this machine. Raises EngineError where none can."""
    held = [name for name, entry in ENGINES.items() if f"act.{entry.suffix}" in bundle.members]
    engines = [open_engine(name) for name in held if not missing(name) and _has_program(ENGINES[name])]
    if not engines:
        raise EngineError(
            f"none of the engines that {bundle.path} has members for is here: {', '.join(held)}"
        )
    return engines


def _has_program(entry: Entry) -> bool:
    return not entry.programs or any(shutil.which(program) for program in entry.programs)


@torch.no_grad()
def samples(trained: Trained, inputs: int, seed: int, windows: float = _WINDOWS) -> Iterator[Sample]:
    """At least `inputs` ticks of `act`, and, for a policy that has it, `windows` of `adapt` for each of these."""
    rng = np.random.default_rng([seed, 0])
    for stage, ticks in _stages(trained, inputs, windows, rng):
        yield from _ticks(trained, stage, ticks, rng)
        if stage.adapted is not None:
            yield from _windows(stage)


def check_same_state(trained: Trained, bundle: Bundle, where: str) -> None:
    """Raises UsageError where a bundle is not of the policy in `where`."""
    if bundle.manifest.state != trained.policy.state or bundle.manifest.window != trained.policy.window:
        raise UsageError(
            f"{bundle.path} ({bundle.manifest.algorithm}) was not exported from {where} "
            f"({trained.policy.algorithm}): their state tensors or windows differ"
        )


def _ticks(trained: Trained, stage: Stage, count: int, rng: np.random.Generator) -> Iterator[Sample]:
    """`count` random ticks of every task."""
    obs = stage.window.obs[:, :, :-1]
    ticks = replay(trained.policy, stage.state, obs, stage.noise)
    tasks, episodes, steps = obs.shape[:3]
    for task in np.repeat(np.arange(tasks), count):
        at = (int(task), int(rng.integers(episodes)), int(rng.integers(steps)))
        state = _at(stage.state, at[:1]) | _at(ticks.before, at)
        given = {"obs": obs[at], "noise": stage.noise[at]} | _named("state", state)
        yield Sample("act", given, _at(ticks.after, at))


def _windows(stage: Stage) -> Iterator[Sample]:
    """The window of every task."""
    assert stage.adapted is not None
    expected = outputs({}, stage.adapted.next, stage.adapted.info)
    # Where adapt reads a tensor that act writes, it is that of an episode's begin.
    for task in range(stage.noise.shape[0]):
        window = _named("window", _at(stage.window._asdict(), (task,)))
        given = window | _named("state", _at(stage.state, (task,)))
        yield Sample("adapt", given, _at(expected, (task,)))


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

    def add(self, sample: Sample) -> None:
        for name, array in self._bound.inputs.items():
            array[...] = sample.given[name].numpy()
        self._bound.run()
        self._inputs += 1
        for name, found in self._bound.outputs.items():
            wanted = sample.expected[name].numpy().astype(np.float64)
            difference = float(np.abs(found - wanted).max())
            self._worst[name] = float(np.maximum(self._worst[name], difference))  # NaN stays
            self._scale[name] = max(self._scale[name], float(np.abs(wanted).max()))

    def row(self) -> Row:
        relative = {name: ratio(worst, self._scale[name]) for name, worst in self._worst.items()}
        tensor = max(relative, key=lambda name: float(np.nan_to_num(relative[name], nan=np.inf)))
        largest = float(np.max(list(self._worst.values())))
        return Row(self._engine, self.graph, largest, relative[tensor], tensor, self._inputs, self._limit)


def _tallies(bundle: Bundle, engine: Engine) -> Iterator[_Tally]:
    """One for each graph."""
    m, limit = bundle.manifest, limit_of(bundle, engine, LIMIT)
    for name, spec in (("act", m.act_spec(engine.suffix)), ("adapt", m.graphs.adapt)):
        if spec is not None:
            member = f"{name}.{engine.suffix}"
            program = engine.load(bundle.members[member], spec, f"{bundle.path}: {member}")
            yield _Tally(engine.name, name, program.bind(), limit)


def _stages(
    trained: Trained, inputs: int, windows: float, rng: np.random.Generator
) -> Iterator[tuple[Stage, int]]:
    """Stages of simulated trials, and how many ticks of each task to compare."""
    adaptation = trained.policy.adaptation
    per_trial = adaptation.max_steps if adaptation else 1
    tasks = math.ceil(inputs * windows / per_trial)
    ticks = math.ceil(inputs / (tasks * per_trial))
    for first in range(0, tasks, _BATCH):
        for stage in practise(trained, min(_BATCH, tasks - first), rng, masked=_MASKED):
            yield stage, ticks


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


def _at(tensors: Mapping[str, Tensor], index: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: value[index] for name, value in tensors.items()}


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
