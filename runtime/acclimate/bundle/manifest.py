"""The bundle's manifest: everything that the runtime must know of a policy, as frozen dataclasses.

A `Manifest` that exists is consistent with itself: its constructor raises ManifestError for the first rule that it
breaks. Below the parts are the rules, each a function and a sentence. `manifest_json` reads and writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from acclimate.errors import ManifestError
from acclimate.fields import Json
from acclimate.task.spec import ActionChannel, Feature, ObservationChannel, Shape, TaskSpec

FORMAT = 2

Reset: TypeAlias = Literal["trial", "episode", "never"]
Writer: TypeAlias = Literal["act", "adapt"]
Scheme: TypeAlias = Literal["dynamic", "int8"]

QUANTISED = "tflite"  # suffix of the only members that may be quantised
SCHEMES: tuple[Scheme, ...] = ("dynamic", "int8")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    """`max_steps` adaptation steps per trial; exploration noise is multiplied by `explore_scale`.

    continual: `adapt` learns from driving as it is, window after window and without a limit: nothing is explored, and
    there are no shots. `max_steps` says after how many windows it was tested.
    """

    max_steps: int
    explore_scale: float = 1.0
    continual: bool = False


@dataclass(frozen=True)
class Limits:
    """`slew_rate`: per action channel, units per second (a channel not named is not slew-limited).
    `trust_radius`: the largest step norm that an adaptation may take."""

    slew_rate: Mapping[str, float]
    trust_radius: float


@dataclass(frozen=True)
class Family:
    """Where the machines that it was trained on come from; a board needs none of it.

    name:    of the family: built in, or registered by a package.
    use:     FILE.py:Class, where a file of the user's defines it.
    options: its settings, as the config had them.
    sha256:  of that file, lower-case hex.
    """

    name: str
    use: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    sha256: str | None = None


@dataclass(frozen=True)
class Objectives:
    """What a policy drives for: the reward is wᵀφ, and w, a weight for each feature of the task, is the state `state`.

    reward: the observation channel that `adapt` infers w from. A device need not have it: then w can only be set.
    """

    state: str
    reward: str | None = None


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
    """See docs/bundle_format.md for every field. `files` is filled in by `acclimate.bundle.file.write_bundle`.

    baselines: settings of tuned classical controllers that the policy is compared with, by the controller's name.
    start: from where to where each sensor read when an episode of training began; a sensor not named may read anything.
    """

    name: str
    algorithm: str
    task: TaskSpec
    state: tuple[StateTensor, ...]
    graphs: Graphs
    noise: NoiseSpec
    limits: Limits
    family: Family
    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None
    objectives: Objectives | None = None
    privileged: tuple[str, ...] = ()
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    start: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tolerance: Tolerance = Tolerance()
    quantised: Quantised | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict)
    files: Mapping[str, MemberFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    def __repr__(self) -> str:
        """In short: the whole of it is hundreds of lines."""
        return f"<Manifest {self.summary}>"

    @property
    def summary(self) -> str:
        """Which policy this is, in a few words."""
        return f"{self.name} ({self.algorithm} for {self.task.name}, {self.n_obs} observed, {self.n_act} commanded)"

    @property
    def observation(self) -> tuple[ObservationChannel, ...]:
        return self.task.observation

    @property
    def action(self) -> tuple[ActionChannel, ...]:
        return self.task.action

    @property
    def control_dt(self) -> float:
        """s."""
        return self.task.control_dt

    @property
    def n_obs(self) -> int:
        return self.task.n_obs

    @property
    def n_act(self) -> int:
        return self.task.n_act

    @property
    def n_reference(self) -> int:
        """How many entries of the observation come from the reference."""
        return self.task.n_references

    @property
    def features(self) -> tuple[Feature, ...]:
        """What there is a weight for, where the policy has objectives; none otherwise."""
        return self.task.features if self.objectives else ()

    @property
    def remembers(self) -> tuple[str, ...]:
        """The state by which a policy adapts as it acts: written by `act`, and kept through a trial."""
        return tuple(t.name for t in self.state if t.written_by == "act" and t.reset == "trial")

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


def check(m: Manifest) -> None:
    """Raises ManifestError for the first rule that `m` breaks."""
    _state(m)
    _graph(m, "act", m.graphs.act)
    if m.graphs.adapt is not None:
        _graph(m, "adapt", m.graphs.adapt)
    _adaptation(m)
    _limits(m)
    _start(m)
    _objectives(m)
    _privileged(m)
    _quantised(m)
    _family(m)
    _files(m)


def _state(m: Manifest) -> None:
    _unique((t.name for t in m.state), "state")
    for tensor in m.state:
        # An episode may begin while adapt runs beside the loop: nothing that adapt writes may change then.
        if tensor.written_by == "adapt" and tensor.reset == "episode":
            raise ManifestError(
                f"state {tensor.name!r} is written by adapt, "
                "so its reset must be 'trial' or 'never', not 'episode'"
            )


def _graph(m: Manifest, name: str, graph: GraphSpec) -> None:
    known = _known_inputs(m, name)
    _unique((t.name for t in graph.inputs), f"graphs.{name}.inputs")
    _unique((t.name for t in graph.outputs), f"graphs.{name}.outputs")
    for tensor in graph.inputs:
        _expect(tensor, known, f"graphs.{name}.inputs")
    outputs = _known_outputs(m, name)
    for tensor in graph.outputs:
        if tensor.name.startswith("info."):
            outputs[tensor.name] = (1,)
        _expect(tensor, outputs, f"graphs.{name}.outputs")
    _all_present(graph, outputs, name)


def _known_inputs(m: Manifest, graph: str) -> dict[str, tuple[int, ...]]:
    known = {f"state.{t.name}": t.shape for t in m.state}
    if graph == "act":
        return {"obs": (m.n_obs,), "noise": m.noise.shape} | known
    if m.window is None:
        raise ManifestError("graphs.adapt is given but window is null; both or neither must be there")
    episodes, steps = m.window.episodes, m.window.steps
    return known | {
        "window.obs": (episodes, steps + 1, m.n_obs),
        "window.action": (episodes, steps, m.n_act),
        "window.mask": (episodes, steps),
    }


def _known_outputs(m: Manifest, graph: str) -> dict[str, tuple[int, ...]]:
    """What the graph must put out: the action, and the next value of each tensor that it writes."""
    outputs = {f"next.{t.name}": t.shape for t in m.state if t.written_by == graph}
    return {"action": (m.n_act,)} | outputs if graph == "act" else outputs


def _expect(tensor: TensorSpec, known: dict[str, tuple[int, ...]], where: str) -> None:
    if tensor.name not in known:
        raise ManifestError(f"{where} names {tensor.name!r}; valid names here: {', '.join(known) or 'none'}")
    if tensor.shape != known[tensor.name]:
        raise ManifestError(
            f"{where}: {tensor.name!r} has shape {list(tensor.shape)}, expected {list(known[tensor.name])}"
        )


def _all_present(graph: GraphSpec, outputs: dict[str, tuple[int, ...]], name: str) -> None:
    missing = sorted(outputs.keys() - {t.name for t in graph.outputs})
    if missing:
        raise ManifestError(f"graphs.{name}.outputs lacks {missing[0]!r}, which the manifest says it writes")


def _adaptation(m: Manifest) -> None:
    parts = {"graphs.adapt": m.graphs.adapt, "window": m.window, "adaptation": m.adaptation}
    given = [name for name, part in parts.items() if part is not None]
    if given and len(given) < len(parts):
        absent = [name for name in parts if name not in given]
        raise ManifestError(
            f"{' and '.join(given)} given but {' and '.join(absent)} null; all three or none must be there"
        )
    if m.adaptation and m.window and m.adaptation.continual and m.window.episodes != 1:
        raise ManifestError(
            f"adaptation is continual, so window.episodes must be 1, found {m.window.episodes}: what is driven without "
            "a pause is one episode"
        )
    writes_adapt: Writer = "adapt"
    orphans = [t.name for t in m.state if t.written_by == writes_adapt]
    if not given and orphans:
        raise ManifestError(f"state {orphans[0]!r} is written by adapt, but there is no graphs.adapt")


def _limits(m: Manifest) -> None:
    names = [c.name for c in m.action]
    unknown = [name for name in m.limits.slew_rate if name not in names]
    if unknown:
        raise ManifestError(
            f"limits.slew_rate names {unknown[0]!r}, which is no action channel; valid: {', '.join(names)}"
        )


def _start(m: Manifest) -> None:
    known = m.task.sensor_scalars
    for name, (low, high) in m.start.items():
        if name not in known:
            raise ManifestError(f"start names {name!r}, which is no sensor; valid: {', '.join(known)}")
        if not low <= high:
            raise ManifestError(
                f"start.{name} goes from {low:g} to {high:g}; the first must not be above the second"
            )


def _objectives(m: Manifest) -> None:
    o = m.objectives
    if o is None:
        return
    size = len(m.features)
    weights = next((t for t in m.state if t.name == o.state), None)
    if not size or weights is None or weights.shape != (size,):
        raise ManifestError(
            f"the task has {size} features, so their weights, state {o.state!r} of shape [{max(size, 1)}], "
            "must be there"
        )
    if o.reward is not None and o.reward != m.task.reward:
        raise ManifestError(
            f"objectives.reward is {o.reward!r}, which is not the observation that is a reward: "
            f"{m.task.reward or 'there is none'}"
        )


def _privileged(m: Manifest) -> None:
    if not m.privileged:
        return
    known = [parameter.name for parameter in m.task.parameters]
    for name in m.privileged:
        if name not in known:
            raise ManifestError(
                f"privileged names {name!r}, which is no parameter of the task; valid: {', '.join(known) or 'none'}"
            )
    task = next((t for t in m.state if t.name == "task"), None)
    if task is None or task.shape != (len(m.privileged),) or task.written_by is not None:
        raise ManifestError(
            f"privileged names {len(m.privileged)} parameters, "
            f"so state 'task' of shape [{len(m.privileged)}], written by nobody, must be there"
        )


def _quantised(m: Manifest) -> None:
    """Only what nothing ever changes may be part of a graph."""
    if m.quantised is None:
        return
    _unique(m.quantised.constants, "quantised.constants")
    fixed = [t.name for t in m.state if t.written_by is None and t.reset == "never"]
    for name in m.quantised.constants:
        if name not in fixed:
            raise ManifestError(
                f"quantised.constants names {name!r}; valid are state tensors that are written by nobody and "
                f"never reset: {', '.join(fixed) or 'none'}"
            )


def _family(m: Manifest) -> None:
    use, sha256 = m.family.use, m.family.sha256
    if (use is None) != (sha256 is None):
        raise ManifestError("family.use and family.sha256 belong together: both or neither must be null")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise ManifestError("family.sha256 must be 64 lower-case hexadecimal digits")


def _files(m: Manifest) -> None:
    for name, file in m.files.items():
        if not _SHA256.fullmatch(file.sha256):
            raise ManifestError(f"files.{name}.sha256 must be 64 lower-case hexadecimal digits")


def _unique(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ManifestError(f"{where} names {name!r} twice; names must be unique")
        seen.add(name)
