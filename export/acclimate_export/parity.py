"""Does an engine compute what torch computes? Both get the same inputs, taken from simulated servos.

What counts is, for each output tensor by itself, the largest difference over all inputs, relative to the largest
value that torch gives that tensor over all inputs: the golden check's measure, without its absolute term. Relative
to each single number it would say nothing, since an action that happens to be near zero has no relative precision
in float32; relative to several tensors together, a wrong bias could hide behind large weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from acclimate.bundle import STATE, Bundle
from acclimate.engines import Graph, open_engine
from acclimate.errors import GoldenError, UsageError
from acclimate.policy import Policy
from torch import Tensor

from acclimate_export.drift import Drift, drift, ratio, remembers
from acclimate_export.practice import Stage, outputs, practise, replay
from acclimate_export.trained import Trained, as_array

LIMIT = 1e-5  # on max_rel
_BATCH = 32  # tasks that torch works on at once
_MASKED = 0.3  # at most this share of a window is hidden
_DRIFT_TICKS = 1000
_WINDOWS = 0.1  # windows that adapt gets per input that act gets


class Row(NamedTuple):
    """One graph on one engine. `tensor` is where `max_rel` was found."""

    engine: str
    graph: str
    max_abs: float
    max_rel: float
    tensor: str
    inputs: int

    @property
    def ok(self) -> bool:
        return self.max_rel <= LIMIT  # False for NaN


class Parity(NamedTuple):
    """What differs between a bundle and its policy in torch; the sentences are empty where nothing does."""

    rows: tuple[Row, ...]
    state: str
    golden: str
    drift: Drift | None  # of a policy that remembers

    @property
    def ok(self) -> bool:
        remembers = self.drift is None or self.drift.ok
        return all(row.ok for row in self.rows) and remembers and not self.state and not self.golden


def compare(trained: Trained, bundle: Bundle, inputs: int, seed: int) -> Parity:
    """`act` on at least `inputs` ticks, `adapt` on a tenth as many windows, the initial state, the golden sequence.

    For a policy that remembers, also 1,000 consecutive ticks.

    Raises EngineError where the engine refuses a graph.
    """
    engine, rng = open_engine(), np.random.default_rng([seed, 0])
    graphs = {"act": bundle.manifest.graphs.act, "adapt": bundle.manifest.graphs.adapt}
    tallies: dict[str, _Tally] = {}
    for name, spec in graphs.items():
        if spec is not None:
            member = f"{name}.{engine.suffix}"
            program = engine.load(bundle.members[member], spec, f"{bundle.path}: {member}")
            tallies[name] = _Tally(program.bind())
    for stage, ticks in _stages(trained, inputs, rng):
        tallies["act"].act(trained, stage, ticks, rng)
        if "adapt" in tallies:
            tallies["adapt"].adapt(stage)
    rows = tuple(tally.row(engine.name, name) for name, tally in tallies.items())
    golden = _golden_differs(bundle)
    remembered = drift(trained, bundle, _DRIFT_TICKS, seed) if remembers(trained) and not golden else None
    return Parity(rows, _state_differs(trained, bundle), golden, remembered)


def check_same_state(trained: Trained, bundle: Bundle, where: str) -> None:
    """Raises UsageError where a bundle is not of the policy in `where`."""
    if bundle.manifest.state != trained.policy.state or bundle.manifest.window != trained.policy.window:
        raise UsageError(
            f"{bundle.path} ({bundle.manifest.algorithm}) was not exported from {where} "
            f"({trained.policy.algorithm}): their state tensors or windows differ"
        )


class _Tally:
    """Of every output of a graph, the largest difference and the largest expected value so far."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._worst = dict.fromkeys(graph.outputs, 0.0)
        self._scale = dict.fromkeys(graph.outputs, 0.0)
        self._inputs = 0

    def act(self, trained: Trained, stage: Stage, count: int, rng: np.random.Generator) -> None:
        """`count` random ticks of every task."""
        obs = stage.window.obs[:, :, :-1]
        ticks = replay(trained.policy, stage.state, obs, stage.noise)
        tasks, episodes, steps = obs.shape[:3]
        for task in np.repeat(np.arange(tasks), count):
            at = (int(task), int(rng.integers(episodes)), int(rng.integers(steps)))
            state = _at(stage.state, at[:1]) | _at(ticks.before, at)
            given = {"obs": obs[at], "noise": stage.noise[at]} | _named("state", state)
            self._compare(given, _at(ticks.after, at))

    def adapt(self, stage: Stage) -> None:
        """The window of every task."""
        assert stage.adapted is not None  # the bundle has an adapt graph, and so the policy a window
        expected = outputs({}, stage.adapted.next, stage.adapted.info)
        # Where adapt reads a tensor that act writes, it is that of an episode's begin.
        for task in range(stage.noise.shape[0]):
            window = _named("window", _at(stage.window._asdict(), (task,)))
            self._compare(window | _named("state", _at(stage.state, (task,))), _at(expected, (task,)))

    def row(self, engine: str, graph: str) -> Row:
        relative = {name: ratio(worst, self._scale[name]) for name, worst in self._worst.items()}
        tensor = max(relative, key=lambda name: float(np.nan_to_num(relative[name], nan=np.inf)))
        largest = float(np.max(list(self._worst.values())))
        return Row(engine, graph, largest, relative[tensor], tensor, self._inputs)

    def _compare(self, given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        for name, array in self._graph.inputs.items():
            array[...] = given[name].numpy()
        self._graph.run()
        self._inputs += 1
        for name, found in self._graph.outputs.items():
            wanted = expected[name].numpy().astype(np.float64)
            difference = float(np.abs(found - wanted).max())
            self._worst[name] = float(np.maximum(self._worst[name], difference))  # NaN stays
            self._scale[name] = max(self._scale[name], float(np.abs(wanted).max()))


def _stages(trained: Trained, inputs: int, rng: np.random.Generator) -> Iterator[tuple[Stage, int]]:
    """Stages of simulated trials, and how many ticks of each task to compare."""
    adaptation = trained.policy.adaptation
    per_trial = adaptation.max_steps if adaptation else 1
    tasks = math.ceil(inputs * _WINDOWS / per_trial)
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


def _golden_differs(bundle: Bundle) -> str:
    try:
        Policy(bundle)
    except GoldenError as error:
        return str(error)
    return ""


def _at(tensors: Mapping[str, Tensor], index: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: value[index] for name, value in tensors.items()}


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
