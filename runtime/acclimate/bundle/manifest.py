"""The bundle's manifest: everything that the runtime must know of a policy, as frozen dataclasses.

`Manifest.from_json` and `Manifest.to_json` are each other's inverse (see `manifest_json`). A `Manifest` that exists is
consistent with itself: the constructor checks it (see `manifest_rules`) and raises ManifestError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from acclimate.bundle import manifest_rules
from acclimate.errors import ManifestError
from acclimate.fields import Json
from acclimate.task.spec import Feature

FORMAT = 1

Source: TypeAlias = Literal["device", "reference"]
Reset: TypeAlias = Literal["trial", "episode", "never"]
Writer: TypeAlias = Literal["act", "adapt"]
Scheme: TypeAlias = Literal["dynamic", "int8"]
Shape: TypeAlias = tuple[int, ...]

QUANTISED = "tflite"  # suffix of the only members that may be quantised
SCHEMES: tuple[Scheme, ...] = ("dynamic", "int8")


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


Objective = Feature


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
    """See docs/bundle_format.md for every field. `files` is filled in by `acclimate.bundle.file.write_bundle`."""

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
        from acclimate.bundle import manifest_json  # which is made of what is defined here

        return manifest_json.to_json(self)

    @classmethod
    def from_json(cls, text: bytes, where: str = "manifest.json") -> Manifest:
        """Raises ManifestError, naming the field, for anything that the format does not allow."""
        from acclimate.bundle import manifest_json

        return manifest_json.from_json(text, where)
