"""How long `act` takes by generalised policy improvement over a library, against a single policy of the same size.

On the runtime's onnxruntime engine, bound once to fixed memory, as a device runs it: write the observation, run. One
library of P networks (two hidden layers of 64, 9 actions, 12 features) is one graph with batched products. *Looped* is
the graph of one policy, run P times: what it costs not to batch, without the comparison that would follow.

The contestants take turns, so that what else the machine does falls on all of them alike. Hot: one call after the
other. Paced: one call per control period, when caches have gone cold and the core has slept. The weights are random:
the figures do not depend on what they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from acclimate.engines import Graph
from acclimate.engines.onnx import OnnxEngine
from acclimate_export.graphs.onnx import to_onnx
from acclimate_export.graphs.tracing import trace_act
from acclimate_trainer.algorithms.successor.featured import Featured
from acclimate_trainer.algorithms.successor.policies import LibraryPolicy, PolicyConfig
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.networks.psi import Sizes, initial_library
from acclimate_trainer.tasks.reacher import DISCOUNT, ReacherFamily

from benchmarks.harness import Figure

LIBRARIES = (1, 4, 8, 16)
VIEW = Featured.of(Complete.of(ReacherFamily()))
SPEC = VIEW.family.spec
SIZES = Sizes(VIEW.family.n_inputs, 64, len(VIEW.choices), len(VIEW.names))
ROUNDS, HOT, PACED = 40, 250, 15  # rounds, and calls of each contestant in one
PERIOD = 0.01  # s
Call = Callable[[], object]


def run(seed: int) -> Mapping[str, Figure]:
    """Microseconds PACE.policies_P.p50_us and .min_us, and of looped_P; ratios of medians, `ratio_8_to_1` being hot."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    graphs = {p: _graph(p, rng) for p in LIBRARIES}
    calls = {f"policies_{p}": _call(graphs[p], 1, rng) for p in LIBRARIES}
    calls |= {f"looped_{p}": _call(graphs[1], p, rng) for p in LIBRARIES if p > 1}
    figures: dict[str, Figure] = {}
    for pace, count in (("hot", HOT), ("paced", PACED)):
        times = _times(calls, count, PERIOD if pace == "paced" else 0.0)
        for name, found in times.items():
            figures[f"{pace}.{name}.p50_us"] = float(np.median(found))
            figures[f"{pace}.{name}.min_us"] = float(np.min(found))
        for name in calls:
            if name != "policies_1":
                ratio = _ratio(times, name)
                figures[f"{pace}.{name}_to_1"] = ratio
                if (pace, name) == ("hot", "policies_8"):
                    figures["ratio_8_to_1"] = ratio
                    figures["ratio_8_to_1_of_minima"] = float(
                        np.min(times[name]) / np.min(times["policies_1"])
                    )
    return figures


def _graph(policies: int, rng: np.random.Generator) -> Graph:
    """`act` of a library, its state bound to memory that holds the weights."""
    params = initial_library(policies, SIZES, rng)
    policy = LibraryPolicy(params, torch.ones(SIZES.features), DISCOUNT, PolicyConfig(), VIEW)
    exported = to_onnx(trace_act(policy), "act")
    graph = OnnxEngine().load(exported.model, exported.spec, f"library of {policies}").bind()
    for name, value in policy.initial().items():
        if f"state.{name}" in graph.inputs:
            graph.inputs[f"state.{name}"][...] = value.numpy()
    return graph


def _call(graph: Graph, times: int, rng: np.random.Generator) -> Call:
    obs = rng.standard_normal((64, SPEC.n_obs)).astype(np.float32)
    target, turn = graph.inputs["obs"], iter(range(1 << 60))

    def call() -> None:
        target[...] = obs[next(turn) % 64]
        for _ in range(times):
            graph.run()

    return call


def _times(calls: Mapping[str, Call], count: int, period: float) -> dict[str, list[float]]:
    """Microseconds of every call by contestant, who take turns round by round; `period` in s, 0: at once."""
    out: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()  # what ran before was another
            due = time.perf_counter()
            for _ in range(count):
                if period:
                    due += period
                    time.sleep(max(0.0, due - time.perf_counter()))
                begin = time.perf_counter()
                call()
                out[name].append(1e6 * (time.perf_counter() - begin))
    return out


def _ratio(times: Mapping[str, list[float]], name: str) -> float:
    """Of the median of `name` to that of the single policy."""
    return float(np.median(times[name]) / np.median(times["policies_1"]))
