"""A machine that no package knows, for the bridge's tests: a sled in a plane with two actuators, maybe wired backwards.

    v' = v + dt·(wired·strength·push − drag·v),  p' = p + dt·v'

`SledWorld` simulates it in numpy, tick by tick; `write_bundles` makes real bundles for it, each a few ONNX nodes: a
robust policy that takes it for wired as usual, one that finds out by a step of `adapt`, and an oracle that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    StateTensor,
    TensorSpec,
    WindowSpec,
)
from acclimate.bundle.npz import pack_arrays
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.task.episode import Window
from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    SATURATED,
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Term,
    Track,
    TrackingReference,
)
from acclimate_bridge.simulation.ticks import TickSpecimen
from acclimate_bridge.simulation.worlds import HeldOut
from onnx import TensorProto, helper

AXES = ("x", "y")
DT = 0.02
FAR = 5.0
PUSH = 2.0  # N, at most
EPISODES, STEPS = 2, 75  # of a window
KP, KD, SIGMA = 4.0, 1.0, 0.5

SLED = TaskSpec(
    name="sled",
    control_dt=DT,
    observation=(
        ObservationChannel("place", "m", -FAR, FAR, shape=(2,)),
        *(ObservationChannel(f"{a}_velocity", "m/s", -FAR, FAR) for a in AXES),
        ObservationChannel("goal", "m", -FAR, FAR, "reference", (2,)),
    ),
    action=tuple(ActionChannel(f"push_{a}", "N", -PUSH, PUSH) for a in AXES),
    parameters=(
        Parameter("strength", "1/kg", 1.0, 4.0, "log"),
        Parameter("drag", "1/s", 0.5, 2.0),
        Parameter("wired", "1", -1.0, 1.0, "sign"),
    ),
    metrics=(
        Metric("error", "rms", "m", (("place.0", "goal.0"), ("place.1", "goal.1"))),
        CHATTER,
        ENERGY,
        SATURATED,
    ),
    reference=TrackingReference((Track("place.0", "goal.0"), Track("place.1", "goal.1"))),
    features=(
        Feature(
            "near",
            "minus the distance, squared",
            term=Term("error", ("place.0", "goal.0", "place.1", "goal.1"), "square", -1.0),
        ),
        Feature(
            "calm",
            "minus the change of the push",
            term=Term("change", ("push_x", "push_y"), "magnitude", -1.0, 0.01),
        ),
    ),
    horizon=40,
)
# It pays for the distance to the origin, and begins each episode anew.
HOMING = replace(
    SLED,
    name="homing_sled",
    observation=(*SLED.observation[:3], ObservationChannel("reward", "m", -2.0 * FAR, 0.0, "reward")),
    metrics=(Metric("gain", "reward", "m"), CHATTER),
    reference=None,
    features=(),
)


class Sled:
    """An `acclimate.task.world.Machine`."""

    def __init__(self, truth: Mapping[str, float], spec: TaskSpec = SLED) -> None:
        self._truth, self._spec = dict(truth), spec
        self.steps = 0

    @property
    def parameters(self) -> Mapping[str, float]:
        return dict(self._truth)

    def reset(self, rng: np.random.Generator) -> FloatArray:
        self.place, self.speed = rng.uniform(-1.0, 1.0, 2), np.zeros(2)
        return self._read()

    def step(self, action: FloatArray) -> FloatArray:
        truth, push = self._truth, np.clip(action, -PUSH, PUSH)
        force = truth["wired"] * truth["strength"] * push - truth["drag"] * self.speed
        self.speed = self.speed + DT * force
        self.place = np.clip(self.place + DT * self.speed, -FAR, FAR)
        self.steps += 1
        return self._read()

    def change(self, rng: np.random.Generator) -> bool:
        self._truth["drag"] = float(rng.uniform(0.5, 2.0))
        self._truth["wired"] = -self._truth["wired"]
        return self._spec.reference is not None

    def _read(self) -> FloatArray:
        values = np.concatenate([self.place, self.speed])
        if self._spec.reward is None:
            return values.astype(np.float32)
        return np.append(values, -float(np.linalg.norm(self.place))).astype(np.float32)


@dataclass(frozen=True)
class SledWorld:
    """An `acclimate.task.world.World`."""

    spec: TaskSpec = SLED

    @classmethod
    def open(cls, name: str, use: str | None, options: Mapping[str, Json]) -> SledWorld:
        """An `acclimate.task.world.Opener`."""
        del use, options
        return cls(HOMING if name == HOMING.name else SLED)

    def held_out(self, seed: int, number: int) -> Sled:
        rng = np.random.default_rng([seed, number])
        strength, drag = np.exp(rng.uniform(0.0, np.log(4.0))), rng.uniform(0.5, 2.0)
        wired = -1.0 if number % 2 else 1.0
        return Sled({"strength": float(strength), "drag": float(drag), "wired": wired}, self.spec)

    def with_parameters(self, values: Mapping[str, float]) -> Sled:
        truth = {"strength": 2.0, "drag": 1.0, "wired": 1.0}
        for name in values:
            if name not in truth:
                raise UsageError(f"a sled has no parameter {name!r}; it has: {', '.join(truth)}")
        return Sled(truth | dict(values), self.spec)

    def specimen(self, number: int = 0) -> TickSpecimen:
        return HeldOut(self).machine(0, number)


def manifest(spec: TaskSpec = SLED, algorithm: str = "robust") -> Manifest:
    """Of a bundle for sleds: algorithm robust, maml (which adapts) or oracle."""
    adapts, told = algorithm == "maml", algorithm == "oracle"
    state = [StateTensor("gain", (1,), "trial", "adapt" if adapts else None)]
    state += [StateTensor("task", (2,), "never")] if told else []
    inputs = {
        "obs": (spec.n_obs,),
        "noise": (2,),
        "state.task" if told else "state.gain": (2 if told else 1,),
    }
    act = GraphSpec(_specs(inputs), _specs({"action": (2,)}))
    window = (EPISODES, STEPS)
    adapt = GraphSpec(
        _specs(
            {
                "window.obs": (EPISODES, STEPS + 1, spec.n_obs),
                "window.action": (*window, 2),
                "window.mask": window,
            }
        ),
        _specs({"next.gain": (1,), "info.loss": (1,), "info.step_norm": (1,)}),
    )
    return Manifest(
        name=f"sled_{algorithm}",
        algorithm=algorithm,
        task=spec,
        state=tuple(state),
        graphs=Graphs(act, adapt if adapts else None),
        noise=NoiseSpec((2,)),
        limits=Limits({}, 100.0),
        family=Family(spec.name),
        window=WindowSpec(*window) if adapts else None,
        adaptation=AdaptationSpec(1) if adapts else None,
        privileged=("wired", "strength") if told else (),
        baselines={"pid": {"kp": 2.0, "ki": 0.0, "kd": 0.5, "kff": 0.0}} if spec.reference else {},
    )


def write(path: Path, m: Manifest) -> Path:
    """Write the bundle that a manifest of `manifest` is of; returns `path`."""
    initial = {"gain": np.ones(1, np.float32)}
    initial |= {"task": np.array([1.0, 1.0], np.float32)} if m.privileged else {}
    files = {"act.onnx": _act(m), "state.npz": pack_arrays(initial), "golden.npz": _golden(m).pack()}
    write_bundle(path, m, files | ({"adapt.onnx": _adapt(m)} if m.graphs.adapt else {}))
    return path


def write_bundles(folder: Path, spec: TaskSpec = SLED) -> Path:
    """robust, maml and oracle.acclimate; returns `folder`."""
    for algorithm in ("robust", "maml", "oracle"):
        write(folder / f"{algorithm}.acclimate", manifest(spec, algorithm))
    return folder


def _act(m: Manifest) -> bytes:
    """action = gain·(kp·(goal − place) − kd·speed) + sigma·noise, with goal 0 where there is none."""
    following = m.task.reference is not None
    nodes = [
        helper.make_node("Gather", ["obs", "i_place"], ["place"]),
        helper.make_node("Gather", ["obs", "i_speed"], ["speed"]),
        helper.make_node("Gather", ["obs", "i_goal"], ["goal"])
        if following
        else helper.make_node("Sub", ["place", "place"], ["goal"]),
        helper.make_node("Sub", ["goal", "place"], ["error"]),
        helper.make_node("Mul", ["error", "kp"], ["pull"]),
        helper.make_node("Mul", ["speed", "kd"], ["brake"]),
        helper.make_node("Sub", ["pull", "brake"], ["wanted"]),
        helper.make_node("Gather", ["state.task", "i_first"], ["gain"])
        if m.privileged
        else helper.make_node("Identity", ["state.gain"], ["gain"]),
        helper.make_node("Mul", ["wanted", "gain"], ["meant"]),
        helper.make_node("Mul", ["noise", "sigma"], ["explored"]),
        helper.make_node("Add", ["meant", "explored"], ["action"]),
    ]
    goal = [4, 5] if following else [0, 1]
    integers = {"i_place": [0, 1], "i_speed": [2, 3], "i_goal": goal, "i_first": [0]}
    return _model(nodes, m.graphs.act, integers, kp=[KP], kd=[KD], sigma=[SIGMA])


def _adapt(m: Manifest) -> bytes:
    """The gain becomes the sign of Σ mask·push·(change of speed): which way the sled goes where it is pushed."""
    spec = m.graphs.adapt
    assert spec is not None
    nodes = [
        helper.make_node("Gather", ["window.obs", "i_speed"], ["speed"], axis=2),
        helper.make_node("Slice", ["speed", "i1", "i_end", "i1"], ["after"]),
        helper.make_node("Slice", ["speed", "i0", "i_last", "i1"], ["before"]),
        helper.make_node("Sub", ["after", "before"], ["change"]),
        helper.make_node("Mul", ["change", "window.action"], ["along"]),
        helper.make_node("ReduceSum", ["along", "i2"], ["per_tick"], keepdims=0),
        helper.make_node("Mul", ["per_tick", "window.mask"], ["counted"]),
        helper.make_node("ReduceSum", ["counted"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "i1"], ["one"]),
        helper.make_node("Sign", ["one"], ["next.gain"]),
        helper.make_node("Neg", ["one"], ["info.loss"]),
        helper.make_node("Abs", ["next.gain"], ["info.step_norm"]),
    ]
    integers = {"i_speed": [2, 3], "i0": [0], "i1": [1], "i2": [2], "i_last": [STEPS], "i_end": [STEPS + 1]}
    return _model(nodes, spec, integers)


def _golden(m: Manifest, ticks: int = 5) -> Golden:
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((ticks, m.n_obs), dtype=np.float32)
    noise = rng.standard_normal((ticks, 2), dtype=np.float32)
    goal = obs[:, 4:6] if m.task.reference is not None else np.zeros((ticks, 2), np.float32)
    action = KP * (goal - obs[:, :2]) - KD * obs[:, 2:4] + SIGMA * noise
    return Golden(obs, noise, action.astype(np.float32), {}, _golden_adapt(m) if m.graphs.adapt else None)


def _golden_adapt(m: Manifest) -> GoldenAdapt:
    rng = np.random.default_rng(1)
    obs = rng.standard_normal((EPISODES, STEPS + 1, m.n_obs), dtype=np.float32)
    action = rng.standard_normal((EPISODES, STEPS, 2), dtype=np.float32)
    mask = np.ones((EPISODES, STEPS), np.float32)
    total = float((np.diff(obs[..., 2:4], axis=1) * action).sum())
    one = np.array([total], np.float32)
    info = {"loss": -one, "step_norm": np.ones(1, np.float32)}
    return GoldenAdapt(Window(obs, action, mask), {"gain": np.sign(one)}, info)


def _specs(shapes: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, shape) for name, shape in shapes.items())


def _model(
    nodes: Sequence[onnx.NodeProto], spec: GraphSpec, integers: Mapping[str, list[int]], **floats: list[float]
) -> bytes:
    tensors = [helper.make_tensor(n, TensorProto.FLOAT, [len(v)], v) for n, v in floats.items()]
    tensors += [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in integers.items()]
    inputs = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in spec.inputs]
    outputs = [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in spec.outputs]
    graph = helper.make_graph(nodes, "sled", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
