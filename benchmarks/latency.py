"""How long one `act` and one `adapt` take: the runtime's pre-bound onnxruntime, onnxruntime with its defaults, torch.

Hot: one call after the other. Paced: one call per control period, as on a device, when caches have gone cold and the
core has slept. The contestants take turns, so that what else the machine does falls on all of them. One bundle of the
trainer's default size, untrained: the figures do not depend on what the weights are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.command.bench.answers import calls_of
from acclimate.command.bench.percentiles import Times
from acclimate.command.bench.subjects import DEFAULTS, build
from acclimate.engines.timing import Call, hot, paced
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.outer_loop.training import start
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import load_config

from benchmarks.harness import Figure

ROUNDS = 5
HOT = {"act": 2000, "adapt": 15}  # calls per round
PACED = {"act": 150, "adapt": 15}
PERIOD = {"act": 0.01, "adapt": 0.1}  # s
CONTESTANTS = {"acclimate": "onnxruntime", "onnxruntime_defaults": DEFAULTS, "torch_eager": "torch_eager"}


def run(seed: int) -> Mapping[str, Figure]:
    """Microseconds: GRAPH.NAME.hot|paced.p50|p99, and the ratios of medians NAME_vs_acclimate."""
    bundle = _untrained(seed)
    calls = {name: calls_of(bundle, build(subject, bundle)) for name, subject in CONTESTANTS.items()}
    figures: dict[str, Figure] = {}
    for graph in ("act", "adapt"):
        for pace in ("hot", "paced"):
            found = _times({name: of[graph] for name, of in calls.items()}, graph, pace)
            for name, times in found.items():
                figures[f"{graph}.{name}.{pace}.p50_us"] = times.p50
                figures[f"{graph}.{name}.{pace}.p99_us"] = times.p99
            for name, times in found.items():
                if name != "acclimate":
                    figures[f"{graph}.{pace}.{name}_vs_acclimate"] = times.p50 / found["acclimate"].p50
    return figures


def _times(calls: Mapping[str, Call], graph: str, pace: str) -> dict[str, Times]:
    """Of every contestant."""
    us: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            us[name] += hot(call, HOT[graph]) if pace == "hot" else paced(call, PACED[graph], PERIOD[graph])
    return {name: Times.of(of) for name, of in us.items()}


def _untrained(seed: int) -> Bundle:
    config = load_config(find_config("servo_wide_maml"))
    meta = start(algorithm_of(config), seed).meta
    parts = make_parts(Trained.of(config, meta, "benchmark"), {}, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adaptive.acclimate"
        write_bundle(path, parts.manifest, parts.members)
        return load(path)
