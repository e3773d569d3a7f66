"""The bundle's manifest: everything that the runtime must know of a policy, as frozen dataclasses.

`Manifest.from_json` and `Manifest.to_json` are each other's inverse. A `Manifest` that exists is consistent
with itself: the constructor checks it (`acclimate.manifest_rules`) and raises ManifestError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from acclimate import manifest_rules
from acclimate.errors import ManifestError
from acclimate.fields import Fields, Json, parse_object

FORMAT = 1

Source: TypeAlias = Literal["device", "reference"]
Reset: TypeAlias = Literal["trial", "episode", "never"]
Writer: TypeAlias = Literal["act", "adapt"]
Scheme: TypeAlias = Literal["dynamic", "int8"]
Shape: TypeAlias = tuple[int, ...]

QUANTISED = "tflite"  # suffix of the only members that may be quantised
SCHEMES: tuple[Scheme, ...] = ("dynamic", "int8")

T = TypeVar("T")


@dataclass(frozen=True)
class ObservationChannel:
    """One entry of the observation; `source` says who gives it: the device or the reference."""

    name: str
    unit: str
    minimum: float
    maximum: float
    source: Source = "device"
    shape: Shape = (1,)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class ActionChannel:
    """One entry of the action; `minimum` and `maximum` are the limits that the loop clamps to."""

    name: str
    unit: str
    minimum: float
    maximum: float
    shape: Shape = (1,)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class StateTensor:
    """One float32 tensor that lives on the device, when it is reset, and who changes it."""

    name: str
    shape: Shape
    reset: Reset
    written_by: Writer | None = None


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class GraphSpec:
    """Exactly the inputs and outputs that a graph has."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Graphs:
    act: GraphSpec
    adapt: GraphSpec | None = None


@dataclass(frozen=True)
class NoiseSpec:
    """What `act` expects as `noise` while exploring; zeros mean noise-free."""

    shape: Shape
    distribution: Literal["normal"] = "normal"


@dataclass(frozen=True)
class WindowSpec:
    """How many episodes of how many ticks one adaptation step sees."""

    episodes: int
    steps: int


@dataclass(frozen=True)
class AdaptationSpec:
    """`max_steps` adaptation steps per trial; exploration noise is multiplied by `explore_scale`."""

    max_steps: int
    explore_scale: float = 1.0


@dataclass(frozen=True)
class Limits:
    """`slew_rate`: per action channel, units per second (a channel not named is not slew-limited).
    `trust_radius`: the largest step norm that an adaptation may take."""

    slew_rate: Mapping[str, float]
    trust_radius: float


@dataclass(frozen=True)
class Family:
    """The task family trained on, and the ranges that its parameters were drawn from."""

    name: str
    preset: str
    ranges: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Objective:
    """A feature φ that the policy can be rewarded for, and what its weight may be."""

    name: str
    meaning: str
    minimum: float = 0.0
    maximum: float = 1000.0


@dataclass(frozen=True)
class Objectives:
    """What a policy drives for: the reward is wᵀφ, and w, a weight for each of `features`, is the state tensor `state`.

    reward: the observation channel that `adapt` infers w from. A device need not have it: then w can only be set.
    """

    state: str
    features: tuple[Objective, ...]
    reward: str | None = None


@dataclass(frozen=True)
class PidGains:
    """Gains of the tuned classical controller that the policy is compared with."""

    kp: float
    ki: float
    kd: float
    kff: float
    sign_test: bool = False


@dataclass(frozen=True)
class Baselines:
    pid: PidGains | None = None


@dataclass(frozen=True)
class Tolerance:
    """The golden check accepts |found − expected| <= golden_abs + golden_rel · max|expected|."""

    golden_rel: float = 1e-5
    golden_abs: float = 1e-5


@dataclass(frozen=True)
class Quantised:
    """How `act.tflite` differs from `graphs.act`: the weights of its larger products have 8 bits, and are part of it.

    scheme:    dynamic: what they are multiplied with is brought to 8 bits as it comes; int8: by ranges found at export.
    constants: the state tensors that are no inputs of it.
    tolerance: of the golden check on it, in place of the manifest's.
    """

    scheme: Scheme
    constants: tuple[str, ...]
    tolerance: Tolerance


@dataclass(frozen=True)
class MemberFile:
    """SHA-256 (lower-case hex) and size in bytes of another member of the bundle."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """See docs/bundle_format.md for every field. `files` is filled in by `acclimate.bundle.write_bundle`."""

    name: str
    algorithm: str
    control_dt: float  # s
    observation: tuple[ObservationChannel, ...]
    action: tuple[ActionChannel, ...]
    state: tuple[StateTensor, ...]
    graphs: Graphs
    noise: NoiseSpec
    limits: Limits
    family: Family
    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None
    objectives: Objectives | None = None
    privileged: tuple[str, ...] = ()
    baselines: Baselines = Baselines()
    tolerance: Tolerance = Tolerance()
    quantised: Quantised | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict)
    files: Mapping[str, MemberFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        manifest_rules.check(self)

    @property
    def n_obs(self) -> int:
        return sum(channel.size for channel in self.observation)

    @property
    def n_act(self) -> int:
        return sum(channel.size for channel in self.action)

    @property
    def n_reference(self) -> int:
        """How many entries of the observation come from the reference."""
        return sum(channel.size for channel in self.observation if channel.source == "reference")

    def quantised_as(self, suffix: str) -> Quantised | None:
        """What is different in members that end in `suffix`; None where they are what the manifest says elsewhere."""
        return self.quantised if suffix == QUANTISED else None

    def act_spec(self, suffix: str) -> GraphSpec:
        """Inputs and outputs of the member `act.SUFFIX`."""
        quantised = self.quantised_as(suffix)
        constants = {f"state.{name}" for name in quantised.constants} if quantised else set()
        act = self.graphs.act
        return GraphSpec(tuple(t for t in act.inputs if t.name not in constants), act.outputs)

    def tolerance_of(self, suffix: str) -> Tolerance:
        """What the golden check allows an engine that runs members of `suffix`."""
        quantised = self.quantised_as(suffix)
        return quantised.tolerance if quantised else self.tolerance

    def state_tensor(self, name: str) -> StateTensor:
        for tensor in self.state:
            if tensor.name == name:
                return tensor
        valid = ", ".join(tensor.name for tensor in self.state) or "none"
        raise ManifestError(f"bundle {self.name!r} has no state tensor {name!r}; it has: {valid}")

    def to_json(self) -> bytes:
        """UTF-8 JSON, the same bytes for the same manifest."""
        return (json.dumps(_to_tree(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, where: str = "manifest.json") -> Manifest:
        """Raises ManifestError, naming the field, for anything that the format does not allow."""
        fields = parse_object(text, where)
        version = fields.raw("format")
        if version != FORMAT or isinstance(version, bool):
            raise ManifestError(
                f"{where} has format {json.dumps(version)}, and this Acclimate reads format {FORMAT}; "
                "upgrade Acclimate or export the bundle again"
            )
        manifest = _read_manifest(fields)
        fields.finish()
        return manifest


def _read_manifest(f: Fields) -> Manifest:
    return Manifest(
        name=f.identifier("name"),
        algorithm=f.identifier("algorithm"),
        control_dt=f.number("control_dt", above=0.0),
        observation=f.items("observation", _read_observation),
        action=f.items("action", _read_action),
        state=f.items("state", _read_state),
        graphs=f.object(
            "graphs", lambda g: Graphs(g.object("act", _read_graph), g.optional("adapt", _read_graph))
        ),
        noise=f.object("noise", lambda g: NoiseSpec(g.shape("shape"), g.choice("distribution", ("normal",)))),
        limits=f.object("limits", _read_limits),
        family=f.object("family", _read_family),
        window=f.optional("window", lambda g: WindowSpec(g.count("episodes"), g.count("steps"))),
        adaptation=f.optional("adaptation", _read_adaptation),
        objectives=f.object("objectives", _read_objectives) if "objectives" in f.names() else None,
        privileged=f.words("privileged"),
        baselines=f.object("baselines", _read_baselines),
        tolerance=f.object("tolerance", _read_tolerance),
        quantised=f.object("quantised", _read_quantised) if "quantised" in f.names() else None,
        provenance=f.table("provenance", lambda g, key: g.raw(key)),
        files=f.table("files", lambda g, key: g.object(key, _read_file)),
    )


def _read_observation(f: Fields) -> ObservationChannel:
    return ObservationChannel(
        name=f.identifier("name"),
        unit=f.text("unit"),
        minimum=f.number("minimum"),
        maximum=f.number("maximum"),
        source=f.choice("source", ("device", "reference")),
        shape=f.shape("shape"),
    )


def _read_action(f: Fields) -> ActionChannel:
    return ActionChannel(
        name=f.identifier("name"),
        unit=f.text("unit"),
        minimum=f.number("minimum"),
        maximum=f.number("maximum"),
        shape=f.shape("shape"),
    )


def _read_state(f: Fields) -> StateTensor:
    f.choice("dtype", ("float32",))
    return StateTensor(
        name=f.identifier("name"),
        shape=f.shape("shape"),
        reset=f.choice("reset", ("trial", "episode", "never")),
        written_by=f.choice("written_by", ("act", "adapt", None)),
    )


def _read_graph(f: Fields) -> GraphSpec:
    return GraphSpec(f.items("inputs", _read_tensor), f.items("outputs", _read_tensor))


def _read_tensor(f: Fields) -> TensorSpec:
    return TensorSpec(f.identifier("name"), f.shape("shape"))


def _read_limits(f: Fields) -> Limits:
    slew_rate = f.table("slew_rate", lambda g, key: g.number(key, above=0.0))
    return Limits(slew_rate, f.number("trust_radius", above=0.0))


def _read_family(f: Fields) -> Family:
    ranges = f.table("ranges", lambda g, key: g.interval(key))
    return Family(f.identifier("name"), f.identifier("preset"), ranges)


def _read_adaptation(f: Fields) -> AdaptationSpec:
    return AdaptationSpec(f.count("max_steps"), f.number("explore_scale", above=0.0))


def _read_objectives(f: Fields) -> Objectives:
    features = f.items("features", _read_objective)
    return Objectives(
        f.identifier("state"), features, f.identifier("reward") if "reward" in f.names() else None
    )


def _read_objective(f: Fields) -> Objective:
    return Objective(f.identifier("name"), f.text("meaning"), f.number("minimum"), f.number("maximum"))


def _read_baselines(f: Fields) -> Baselines:
    return Baselines(f.object("pid", _read_pid) if "pid" in f.names() else None)


def _read_pid(f: Fields) -> PidGains:
    return PidGains(f.number("kp"), f.number("ki"), f.number("kd"), f.number("kff"), f.flag("sign_test"))


def _read_tolerance(f: Fields) -> Tolerance:
    return Tolerance(f.number("golden_rel", above=0.0), f.number("golden_abs", above=0.0))


def _read_quantised(f: Fields) -> Quantised:
    return Quantised(
        scheme=f.choice("scheme", SCHEMES),
        constants=f.words("constants"),
        tolerance=f.object("tolerance", _read_tolerance),
    )


def _read_file(f: Fields) -> MemberFile:
    return MemberFile(f.text("sha256"), f.count("size"))


def _to_tree(m: Manifest) -> dict[str, Json]:
    objectives: dict[str, Json] = (
        {} if m.objectives is None else {"objectives": _objectives_tree(m.objectives)}
    )
    return {
        "format": FORMAT,
        "name": m.name,
        "algorithm": m.algorithm,
        "control_dt": m.control_dt,
        "observation": [_channel_tree(c) | {"source": c.source} for c in m.observation],
        "action": [_channel_tree(c) for c in m.action],
        "state": [_state_tree(t) for t in m.state],
        "graphs": {"act": _graph_tree(m.graphs.act), "adapt": _optional(_graph_tree, m.graphs.adapt)},
        "noise": {"shape": list(m.noise.shape), "distribution": m.noise.distribution},
        "window": _optional(lambda w: {"episodes": w.episodes, "steps": w.steps}, m.window),
        "adaptation": _optional(
            lambda a: {"max_steps": a.max_steps, "explore_scale": a.explore_scale}, m.adaptation
        ),
        "limits": {"slew_rate": dict(m.limits.slew_rate), "trust_radius": m.limits.trust_radius},
        **objectives,
        "privileged": list(m.privileged),
        "family": {
            "name": m.family.name,
            "preset": m.family.preset,
            "ranges": {name: [low, high] for name, (low, high) in m.family.ranges.items()},
        },
        "baselines": {"pid": _pid_tree(m.baselines.pid)} if m.baselines.pid else {},
        "tolerance": _tolerance_tree(m.tolerance),
        **({"quantised": _quantised_tree(m.quantised)} if m.quantised else {}),
        "provenance": dict(m.provenance),
        "files": {name: {"sha256": f.sha256, "size": f.size} for name, f in sorted(m.files.items())},
    }


def _tolerance_tree(t: Tolerance) -> Json:
    return {"golden_rel": t.golden_rel, "golden_abs": t.golden_abs}


def _quantised_tree(q: Quantised) -> Json:
    return {"scheme": q.scheme, "constants": list(q.constants), "tolerance": _tolerance_tree(q.tolerance)}


def _optional(tree: Callable[[T], Json], part: T | None) -> Json:
    return None if part is None else tree(part)


def _channel_tree(c: ObservationChannel | ActionChannel) -> dict[str, Json]:
    return {
        "name": c.name,
        "unit": c.unit,
        "shape": list(c.shape),
        "minimum": c.minimum,
        "maximum": c.maximum,
    }


def _state_tree(t: StateTensor) -> Json:
    return {
        "name": t.name,
        "shape": list(t.shape),
        "dtype": "float32",
        "reset": t.reset,
        "written_by": t.written_by,
    }


def _graph_tree(g: GraphSpec) -> Json:
    return {"inputs": [_tensor_tree(t) for t in g.inputs], "outputs": [_tensor_tree(t) for t in g.outputs]}


def _tensor_tree(t: TensorSpec) -> Json:
    return {"name": t.name, "shape": list(t.shape)}


def _objectives_tree(o: Objectives) -> dict[str, Json]:
    features: list[Json] = [
        {"name": f.name, "meaning": f.meaning, "minimum": f.minimum, "maximum": f.maximum} for f in o.features
    ]
    reward: dict[str, Json] = {} if o.reward is None else {"reward": o.reward}
    return {"state": o.state, "features": features, **reward}


def _pid_tree(p: PidGains) -> Json:
    return {"kp": p.kp, "ki": p.ki, "kd": p.kd, "kff": p.kff, "sign_test": p.sign_test}
