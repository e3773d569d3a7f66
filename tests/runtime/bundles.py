"""A small, complete, real bundle for tests: a linear policy with real adaptation arithmetic.

The policy is action = W·obs + sigma·noise + 0.1·previous; `adapt` is one likelihood-ratio gradient step on W,
with the reward −(position − target)². The graphs are built with onnx.helper; the golden sequence is computed
here in numpy, independently of any engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from acclimate.arrays import FloatArray
from acclimate.bundle.file import write_bundle
from acclimate.bundle.golden import Golden, GoldenAdapt
from acclimate.bundle.manifest import (
    AdaptationSpec,
    Family,
    Graphs,
    GraphSpec,
    Limits,
    Manifest,
    NoiseSpec,
    Objectives,
    StateTensor,
    TensorSpec,
    WindowSpec,
)
from acclimate.bundle.npz import pack_arrays
from acclimate.fields import Json
from acclimate.task.episode import Window
from acclimate.task.spec import (
    CHATTER,
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Track,
    TrackingReference,
)
from onnx import TensorProto, helper

EPISODES, STEPS, N_OBS, N_ACT = 3, 20, 4, 1
RATE = 0.05  # of the adaptation step
CARRY = 0.1  # of the previous action

INITIAL: dict[str, FloatArray] = {
    "weight": np.array([[-2.0, -0.1, 2.0, 0.1]], np.float32),
    "sigma": np.array([0.3], np.float32),
    "previous": np.zeros(1, np.float32),
    "ticks": np.zeros(1, np.float32),
    "shots": np.zeros(1, np.float32),
}


TASK = TaskSpec(
    name="servo",
    control_dt=0.01,
    observation=(
        ObservationChannel("position", "rad", -3.2, 3.2),
        ObservationChannel("velocity", "rad/s", -20.0, 20.0),
        ObservationChannel("target", "rad", -3.2, 3.2, "reference"),
        ObservationChannel("target_velocity", "rad/s", -20.0, 20.0, "reference"),
    ),
    action=(ActionChannel("duty", "1", -1.0, 1.0),),
    parameters=(
        *(
            Parameter(name, "", 0.001, 50.0, "log")
            for name in ("kt", "resistance", "voltage", "inertia", "coulomb")
        ),
        *(Parameter(name, "", 0.0, 1.0) for name in ("viscous", "gravity", "delay")),
        Parameter("polarity", "1", -1.0, 1.0, "sign"),
    ),
    metrics=(Metric("error", "rms", "rad", (("position", "target"),)), CHATTER),
    reference=TrackingReference((Track("position", "target", "target_velocity"),)),
    horizon=100,
)
RANGES: dict[str, Json] = {"drive_gain": [0.25, 4.0], "polarity": [1.0, 1.0]}


def servos(preset: str, **ranges: Json) -> Family:
    """The family of servos that are drawn from these ranges."""
    return Family("servo", options={"preset": preset, "ranges": ranges})


def manifest(name: str = "tiny") -> Manifest:
    """The manifest of the small bundle, without files."""
    window = (EPISODES, STEPS)
    state = (
        StateTensor("weight", (N_ACT, N_OBS), "trial", "adapt"),
        StateTensor("shots", (1,), "trial", "adapt"),
        StateTensor("previous", (1,), "episode", "act"),
        StateTensor("ticks", (1,), "never", "act"),
        StateTensor("sigma", (1,), "never", None),
    )
    act = GraphSpec(
        _specs(obs=(N_OBS,), noise=(N_ACT,)) + _states("weight", "sigma", "previous", "ticks"),
        _specs(action=(N_ACT,)) + _nexts("previous", "ticks") + (TensorSpec("info.size", (1,)),),
    )
    adapt = GraphSpec(
        (
            *_states("weight", "shots", "ticks"),
            TensorSpec("window.obs", (EPISODES, STEPS + 1, N_OBS)),
            TensorSpec("window.action", (*window, N_ACT)),
            TensorSpec("window.mask", window),
        ),
        _nexts("weight", "shots")
        + tuple(TensorSpec(f"info.{n}", (1,)) for n in ("loss", "reward", "grad_norm", "step_norm", "ticks")),
    )
    return Manifest(
        name=name,
        algorithm="maml",
        task=TASK,
        state=state,
        graphs=Graphs(act, adapt),
        noise=NoiseSpec((N_ACT,)),
        limits=Limits({"duty": 100.0}, 5.0),
        family=servos("wide", **RANGES),
        window=WindowSpec(EPISODES, STEPS),
        adaptation=AdaptationSpec(2, 1.0),
        baselines={"pid": {"kp": 10.0, "ki": 1.0, "kd": 0.1, "kff": 0.0}},
        provenance={"seed": 0, "figures": {"loss": 0.25}},
    )


def without_adapt(m: Manifest) -> Manifest:
    """The same policy, frozen: what a bundle without adaptation looks like."""
    state = tuple(replace(t, written_by=None) if t.written_by == "adapt" else t for t in m.state)
    graphs = Graphs(m.graphs.act)
    return replace(m, algorithm="robust", state=state, graphs=graphs, window=None, adaptation=None)


def recurrent(m: Manifest) -> Manifest:
    """The same policy as one that remembers: what `act` writes lives through a trial, and nothing else is written."""
    frozen = without_adapt(m)
    state = tuple(replace(t, reset="trial") if t.written_by == "act" else t for t in frozen.state)
    return replace(frozen, name="recurrent", algorithm="rl2", state=state)


def continual(m: Manifest) -> Manifest:
    """The same policy, which adapts while it drives, to windows of one episode."""
    adapt = m.graphs.adapt
    assert adapt is not None
    shapes = {
        "window.obs": (1, STEPS + 1, N_OBS),
        "window.action": (1, STEPS, N_ACT),
        "window.mask": (1, STEPS),
    }
    inputs = tuple(replace(t, shape=shapes.get(t.name, t.shape)) for t in adapt.inputs)
    graphs = Graphs(m.graphs.act, GraphSpec(inputs, adapt.outputs))
    spec = AdaptationSpec(2, continual=True)
    return replace(m, graphs=graphs, window=WindowSpec(1, STEPS), adaptation=spec)


def with_objectives(m: Manifest) -> Manifest:
    """The frozen policy with weights that can be set, though it drives the same whatever they are."""
    frozen = without_adapt(m)
    state = (*frozen.state, StateTensor("w", (2,), "never"))
    features = (Feature("quiet", "less noise"), Feature("fast", "less time", -1.0, 10.0))
    return replace(
        frozen,
        name="wishful",
        algorithm="successor_features",
        state=state,
        objectives=Objectives("w"),
        task=replace(frozen.task, features=features),
    )


def with_temperature(m: Manifest) -> Manifest:
    """The frozen policy with a temperature that can be set, though it draws the same whatever it is."""
    frozen = without_adapt(m)
    state = (*frozen.state, StateTensor("temperature", (1,), "never"))
    return replace(frozen, name="warm", algorithm="maximum_entropy", state=state)


def with_passing_sigma(m: Manifest) -> Manifest:
    """The same policy, whose `sigma` is set for an episode at a time, and told by `adapt` as it saw it."""
    adapt = m.graphs.adapt
    assert adapt is not None
    state = tuple(replace(t, reset="episode") if t.name == "sigma" else t for t in m.state)
    told = GraphSpec((*adapt.inputs, *_states("sigma")), (*adapt.outputs, TensorSpec("info.sigma", (1,))))
    return replace(m, state=state, graphs=Graphs(m.graphs.act, told))


def members(m: Manifest) -> dict[str, bytes]:
    """Everything but the manifest."""
    further = {"w": np.array([1.0, 0.5], np.float32), "temperature": np.ones(1, np.float32)}
    initial = INITIAL | {t.name: further[t.name] for t in m.state if t.name in further}
    files = {"act.onnx": act_model(), "state.npz": pack_arrays(initial), "golden.npz": golden(m).pack()}
    return files | ({"adapt.onnx": adapt_model(m.graphs.adapt)} if m.graphs.adapt else {})


def write_tiny(path: Path, m: Manifest | None = None) -> Path:
    """Write the small bundle; returns `path`."""
    m = m or manifest()
    write_bundle(path, m, members(m))
    return path


def act_model() -> bytes:
    nodes = [
        helper.make_node("MatMul", ["state.weight", "obs"], ["linear"]),
        helper.make_node("Mul", ["state.sigma", "noise"], ["explored"]),
        helper.make_node("Mul", ["state.previous", "carry"], ["carried"]),
        helper.make_node("Sum", ["linear", "explored", "carried"], ["action"]),
        helper.make_node("Identity", ["action"], ["next.previous"]),
        helper.make_node("Add", ["state.ticks", "one"], ["next.ticks"]),
        helper.make_node("Abs", ["action"], ["info.size"]),
    ]
    return _model(nodes, manifest().graphs.act, carry=[CARRY], one=[1.0])


def adapt_model(spec: GraphSpec | None = None) -> bytes:
    spec, node = spec or manifest().graphs.adapt, helper.make_node
    assert spec is not None
    nodes = [
        # error after each action, and the reward: (E, T)
        node("Slice", ["window.obs", "i1", "i_end", "i_axis1"], ["after"]),
        node("Gather", ["after", "i_position"], ["position"], axis=2),
        node("Gather", ["after", "i_target"], ["target"], axis=2),
        node("Sub", ["position", "target"], ["error"]),
        node("Mul", ["error", "error"], ["square"]),
        node("Mul", ["square", "window.mask"], ["cost"]),
        # centred cost is minus the advantage
        node("ReduceSum", ["window.mask"], ["count_"], keepdims=0),
        node("ReduceSum", ["cost"], ["cost_sum"], keepdims=0),
        node("Div", ["cost_sum", "count_"], ["mean_cost"]),
        node("Sub", ["mean_cost", "cost"], ["centred"]),
        node("Mul", ["centred", "window.mask"], ["advantage"]),
        # score of W under the exploration noise: (action − W·obs) obsᵀ
        node("Slice", ["window.obs", "i0", "i_last", "i_axis1"], ["before"]),
        node("Transpose", ["state.weight"], ["weight_t"]),
        node("MatMul", ["before", "weight_t"], ["mean_action"]),
        node("Sub", ["window.action", "mean_action"], ["deviation"]),
        node("Reshape", ["advantage", "i_column"], ["advantage_column"]),
        node("Mul", ["deviation", "advantage_column"], ["weighted"]),
        node("Reshape", ["weighted", "i_flat_act"], ["weighted_flat"]),
        node("Reshape", ["before", "i_flat_obs"], ["before_flat"]),
        node("Transpose", ["weighted_flat"], ["weighted_t"]),
        node("MatMul", ["weighted_t", "before_flat"], ["grad_sum"]),
        node("Div", ["grad_sum", "count_"], ["grad"]),
        # the step, and what the guard wants to know
        node("Mul", ["grad", "rate"], ["step"]),
        node("Add", ["state.weight", "step"], ["next.weight"]),
        node("Add", ["state.shots", "one"], ["next.shots"]),
        node("ReduceL2", ["grad"], ["grad_norm"], keepdims=0),
        node("ReduceL2", ["step"], ["step_norm"], keepdims=0),
        node("Neg", ["mean_cost"], ["reward"]),
        *(
            node("Reshape", [source, "i_one"], [f"info.{name}"])
            for source, name in (
                ("mean_cost", "loss"),
                ("reward", "reward"),
                ("grad_norm", "grad_norm"),
                ("step_norm", "step_norm"),
            )
        ),
        # tensors that adapt does not write, as it sees them
        node("Identity", ["state.ticks"], ["info.ticks"]),
        *(
            node("Identity", ["state.sigma"], ["info.sigma"])
            for tensor in spec.outputs
            if tensor.name == "info.sigma"
        ),
    ]
    integers = {
        "i0": [0],
        "i1": [1],
        "i_last": [STEPS],
        "i_end": [STEPS + 1],
        "i_axis1": [1],
        "i_column": [-1, STEPS, 1],
        "i_flat_act": [-1, N_ACT],
        "i_flat_obs": [-1, N_OBS],
        "i_one": [1],
    }
    scalars = {"i_position": 0, "i_target": 2}
    constants = [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in integers.items()]
    constants += [helper.make_tensor(n, TensorProto.INT64, [], [v]) for n, v in scalars.items()]
    return _model(nodes, spec, constants, rate=[RATE], one=[1.0])


def act_numpy(state: dict[str, FloatArray], obs: FloatArray, noise: FloatArray) -> FloatArray:
    """One tick; changes the running tensors of `state`."""
    action = state["weight"] @ obs + state["sigma"] * noise + np.float32(CARRY) * state["previous"]
    state["previous"] = action
    state["ticks"] = state["ticks"] + np.float32(1)
    return action


def adapt_numpy(
    state: dict[str, FloatArray], window: Window
) -> tuple[dict[str, FloatArray], dict[str, float]]:
    """One adaptation step: new tensors, and scalars."""
    cost = (window.obs[:, 1:, 0] - window.obs[:, 1:, 2]) ** 2 * window.mask
    count, mean = window.mask.sum(), cost.sum() / window.mask.sum()
    before = window.obs[:, :-1]
    deviation = window.action - before @ state["weight"].T
    weighted = deviation * ((mean - cost) * window.mask)[..., None]
    grad = np.einsum("eta,eto->ao", weighted, before) / count
    step = np.float32(RATE) * grad
    norms = {"grad_norm": float(np.linalg.norm(grad)), "step_norm": float(np.linalg.norm(step))}
    after = {"weight": state["weight"] + step, "shots": state["shots"] + np.float32(1)}
    return after, {"loss": float(mean), "reward": -float(mean), "ticks": float(state["ticks"][0])} | norms


def window(seed: int = 1, episodes: int = EPISODES) -> Window:
    """A random window with some masked transitions."""
    rng = np.random.default_rng(seed)
    return Window(
        rng.standard_normal((episodes, STEPS + 1, N_OBS), dtype=np.float32),
        rng.standard_normal((episodes, STEPS, N_ACT), dtype=np.float32),
        (rng.random((episodes, STEPS)) < 0.9).astype(np.float32),
    )


def golden(m: Manifest, ticks: int = 6) -> Golden:
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((ticks, N_OBS), dtype=np.float32)
    noise = rng.standard_normal((ticks, N_ACT), dtype=np.float32)
    state = dict(INITIAL)
    actions, running = [], []
    for k in range(ticks):
        actions.append(act_numpy(state, obs[k], noise[k]))
        running.append((state["previous"], state["ticks"]))
    following = {name: np.stack([row[i] for row in running]) for i, name in enumerate(("previous", "ticks"))}
    return Golden(obs, noise, np.stack(actions), following, _golden_adapt(m))


def _golden_adapt(m: Manifest) -> GoldenAdapt | None:
    if m.graphs.adapt is None:
        return None
    assert m.window is not None
    seen = window(episodes=m.window.episodes)
    after, info = adapt_numpy(dict(INITIAL), seen)
    info["sigma"] = float(INITIAL["sigma"][0])
    told = [t.name.removeprefix("info.") for t in m.graphs.adapt.outputs if t.name.startswith("info.")]
    return GoldenAdapt(seen, after, {name: np.array([info[name]], np.float32) for name in told})


def _model(
    nodes: Sequence[onnx.NodeProto],
    spec: GraphSpec,
    constants: Sequence[onnx.TensorProto] = (),
    **floats: list[float],
) -> bytes:
    tensors = [helper.make_tensor(n, TensorProto.FLOAT, [len(v)], v) for n, v in floats.items()]
    inputs = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in spec.inputs]
    outputs = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in spec.outputs]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [*constants, *tensors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _specs(**shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, shape) for name, shape in shapes.items())


def _states(*names: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"state.{name}", INITIAL[name].shape) for name in names)


def _nexts(*names: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"next.{name}", INITIAL[name].shape) for name in names)
