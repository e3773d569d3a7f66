"""How long one `act` and one `adapt` take: the runtime's pre-bound onnxruntime, onnxruntime with its defaults, torch.

Hot: one call after the other. Paced: one call per control period, as on a device, when caches have gone cold and the
core has slept. The contestants take turns, so that what else the machine does falls on all of them. One bundle of the
trainer's default size, untrained: the figures do not depend on what the weights are.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from acclimate.bundle import Bundle, load, write_bundle
from acclimate.policy import Policy
from acclimate_export.bundling import make_parts
from acclimate_export.trained import Trained
from acclimate_trainer import contract
from acclimate_trainer.configuration import find_config, load_config
from acclimate_trainer.running import algorithm_of
from acclimate_trainer.training import start

from benchmarks.harness import Figure

ROUNDS = 5
HOT = {"act": 2000, "adapt": 15}  # calls per round
PACED = {"act": 150, "adapt": 15}
PERIOD = {"act": 0.01, "adapt": 0.1}  # s
Call = Callable[[], object]


class Contestant(NamedTuple):
    name: str
    act: Call
    adapt: Call


def run(seed: int) -> Mapping[str, Figure]:
    """Microseconds: GRAPH.NAME.hot|paced.p50|p99, and the ratios of medians NAME_vs_acclimate."""
    bundle, policy = _untrained(seed)
    contestants = [_acclimate(bundle), _onnxruntime(bundle), _torch(bundle, policy)]
    figures: dict[str, Figure] = {}
    for graph in ("act", "adapt"):
        for pace in ("hot", "paced"):
            medians = {}
            for name, times in _times(contestants, graph, pace).items():
                medians[name] = float(np.median(times))
                figures[f"{graph}.{name}.{pace}.p50_us"] = medians[name]
                figures[f"{graph}.{name}.{pace}.p99_us"] = float(np.percentile(times, 99))
            for name, median in medians.items():
                if name != "acclimate":
                    figures[f"{graph}.{pace}.{name}_vs_acclimate"] = median / medians["acclimate"]
    return figures


def _times(contestants: list[Contestant], graph: str, pace: str) -> dict[str, list[float]]:
    """Microseconds of every call, by contestant."""
    out: dict[str, list[float]] = {c.name: [] for c in contestants}
    for _ in range(ROUNDS):
        for c in contestants:
            call: Call = getattr(c, graph)
            call()
            measure = _hot if pace == "hot" else _paced
            out[c.name] += measure(call, (HOT if pace == "hot" else PACED)[graph], PERIOD[graph])
    return out


def _hot(call: Call, calls: int, period: float) -> list[float]:
    del period
    return [_microseconds(call) for _ in range(calls)]


def _paced(call: Call, calls: int, period: float) -> list[float]:
    out, due = [], time.perf_counter()
    for _ in range(calls):
        due += period
        time.sleep(max(0.0, due - time.perf_counter()))
        out.append(_microseconds(call))
    return out


def _microseconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - begin)


def _untrained(seed: int) -> tuple[Bundle, contract.Policy]:
    config = load_config(find_config("servo_wide_maml"))
    meta = start(algorithm_of(config), seed).meta
    trained = Trained.of(config, meta, "benchmark")
    parts = make_parts(trained, None, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adaptive.acclimate"
        write_bundle(path, parts.manifest, parts.members)
        return load(path), trained.policy


def _acclimate(bundle: Bundle) -> Contestant:
    policy, golden = Policy(bundle), bundle.golden
    assert golden.adapt is not None
    window = golden.adapt.window
    return Contestant(
        "acclimate", lambda: policy.act(golden.obs[0], golden.noise[0]), lambda: policy.adapt(window)
    )


def _onnxruntime(bundle: Bundle) -> Contestant:
    """What a user would write: a session with default options, and `run` with a dictionary."""
    calls = {}
    for graph in ("act", "adapt"):
        session = onnxruntime.InferenceSession(
            bundle.members[f"{graph}.onnx"], providers=["CPUExecutionProvider"]
        )
        feeds = _inputs(bundle)
        feed = {i.name: feeds[i.name] for i in session.get_inputs()}
        calls[graph] = lambda session=session, feed=feed: session.run(None, feed)
    return Contestant("onnxruntime_defaults", calls["act"], calls["adapt"])


def _inputs(bundle: Bundle) -> dict[str, np.ndarray]:
    golden = bundle.golden
    assert golden.adapt is not None
    window = {f"window.{name}": value for name, value in golden.adapt.window._asdict().items()}
    state = {f"state.{name}": value for name, value in bundle.state.items()}
    return {"obs": golden.obs[0], "noise": golden.noise[0], **window, **state}


def _torch(bundle: Bundle, policy: contract.Policy) -> Contestant:
    """Eager torch as it comes, on the same functions."""
    state = contract.stacked(policy, 1, 1)
    tensors = {name: torch.from_numpy(value.copy()) for name, value in _inputs(bundle).items()}
    obs, noise = tensors["obs"].view(1, 1, -1), tensors["noise"].view(1, 1, -1)
    window = contract.Window(*(tensors[f"window.{name}"].unsqueeze(0) for name in contract.Window._fields))

    def act() -> object:
        with torch.no_grad():
            return policy.act(state, obs, noise)

    def adapt() -> object:
        with torch.no_grad():
            return policy.adapt(state, window)

    return Contestant("torch_eager", act, adapt)
