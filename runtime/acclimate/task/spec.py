"""The task specification: what a family of machines measures, takes, varies in, and is judged by.

A bundle's manifest holds it, so that a board knows the machine without any code of the family. Every part of it is a
value; what is computed from it comes from closed sets (metrics, references, features), which the runtime implements.

    channels     what is observed, in the order of the observation, and what is commanded, in that of the action
    parameters   what differs from one machine of the family to another, in the order in which an oracle is told
    metrics      how a drive is judged; the first is the headline
    reference    what there is to follow
    features     what it can be rewarded for, where the objective may change
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal, TypeAlias, get_args

from acclimate.errors import UsageError
from acclimate.fields import is_identifier
from acclimate.plain import is_plain

Source: TypeAlias = Literal["device", "reference", "reward"]
Scale: TypeAlias = Literal["linear", "log", "sign"]
MetricKind: TypeAlias = Literal["rms", "reward", "success", "chatter", "energy", "saturated"]
TermKind: TypeAlias = Literal["error", "jerk", "action", "change"]
Penalty: TypeAlias = Literal["magnitude", "square", "nearness"]
Shape: TypeAlias = tuple[int, ...]
SHORTEST = 1e-6  # s, of a control tick
MOST_SCALARS = 65_536  # observed and commanded together
HOLD: Literal["hold"] = "hold"
"""As the neutral of an action channel: whatever is measured when neutral is called for."""

SOURCES: tuple[Source, ...] = get_args(Source)
SCALES: tuple[Scale, ...] = get_args(Scale)
METRIC_KINDS: tuple[MetricKind, ...] = get_args(MetricKind)
TERM_KINDS: tuple[TermKind, ...] = get_args(TermKind)
PENALTIES: tuple[Penalty, ...] = get_args(Penalty)
HIGHER_IS_BETTER: frozenset[MetricKind] = frozenset({"reward", "success"})
_OF_ACTIONS: frozenset[MetricKind] = frozenset({"chatter", "energy", "saturated"})


@dataclass(frozen=True)
class ObservationChannel:
    """One entry of the observation, or several of one meaning.

    source: who gives it: the device, the reference, or the device as a reward of the period that has just ended.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    source: Source = "device"
    shape: Shape = (1,)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of its entries: its own, or NAME.0, NAME.1, … where it has several."""
        return scalar_names(self.name, self.size)


@dataclass(frozen=True)
class ActionChannel:
    """One entry of the action; `minimum` and `maximum` are the limits that the loop clamps to.

    neutral: the value that is safe, or "hold": whatever the sensor of the same name measures.
    exploring_rate: how fast it may change while a policy explores, in its unit per s; None: no limit of its own.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    shape: Shape = (1,)
    neutral: float | Literal["hold"] = 0.0
    exploring_rate: float | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def scalars(self) -> tuple[str, ...]:
        """As of `ObservationChannel`."""
        return scalar_names(self.name, self.size)


@dataclass(frozen=True)
class Parameter:
    """What differs from one machine to another, and what it is drawn from.

    scale: log: only its ratios matter, and it is above 0; sign: it is −1 or 1; linear: the rest.
    """

    name: str
    unit: str
    low: float
    high: float
    scale: Scale = "linear"


@dataclass(frozen=True)
class Metric:
    """How a drive is judged.

    rms        root mean square of measured − wanted over `pairs` of observed scalars, after each action
    reward     mean reward per tick
    success    share of ticks, in the last quarter of an episode, in which every pair is within `bound`
    chatter    mean |change of the action| from tick to tick, of full scale
    energy     mean square of the action, of full scale
    saturated  share of actions at a limit

    The last three are of the actions named, or of all. "Of full scale" takes the channel's range for −1 to 1.
    """

    name: str
    kind: MetricKind
    unit: str = "1"
    pairs: tuple[tuple[str, str], ...] = ()
    actions: tuple[str, ...] = ()
    bound: float | None = None

    @property
    def higher_is_better(self) -> bool:
        return self.kind in HIGHER_IS_BETTER


CHATTER = Metric("chatter", "chatter")
ENERGY = Metric("energy", "energy")
SATURATED = Metric("saturated", "saturated")


@dataclass(frozen=True)
class Track:
    """One quantity to follow: the reference channel `target` (and `rate`, its derivative) for the sensor `measured`.

    A reference begins where `measured` stands, and its raw targets lie within ± `amplitude` of `center`.
    """

    measured: str
    target: str
    rate: str | None = None
    amplitude: float = 1.0
    center: float = 0.0


@dataclass(frozen=True)
class TrackingReference:
    """Random references to follow: steps and sums of sines, smoothed so that a machine can (`task.references`).

    speed: the speed limit of an episode is drawn from this range, in units of the track's amplitude per second.
    smoothing: time constant of the critically damped filter, s; dwell: between two steps, s.
    """

    tracks: tuple[Track, ...]
    speed: tuple[float, float] = (0.5, 1.5)
    smoothing: tuple[float, float] = (0.06, 0.15)
    dwell: tuple[float, float] = (0.3, 1.0)
    sine_hz: tuple[float, float] = (0.2, 1.5)
    sines: int = 3


@dataclass(frozen=True)
class Term:
    """A feature as arithmetic: `weight` times a penalty of one quantity, summed over `channels`.

    of       error: measured − target, for a pair of observed scalars; jerk: the third difference of an observed
             scalar; action, change: an action, and its change since the tick before
    penalty  magnitude: √(x² + soft²) − soft; square: x²; nearness: 1/(1 + (x/soft)²)
    """

    of: TermKind
    channels: tuple[str, ...]
    penalty: Penalty
    weight: float
    soft: float = 1.0


@dataclass(frozen=True)
class Feature:
    """Something that a machine can be rewarded for (φ), and what its weight may be.

    term: how it is computed; None where only the family's own code knows.
    """

    name: str
    meaning: str
    minimum: float = 0.0
    maximum: float = 1000.0
    term: Term | None = None


@dataclass(frozen=True)
class TaskSpec:
    """See the module. The constructor raises UsageError for the first rule that the parts break.

    control_dt: s. horizon: ticks of an episode; episodes: of a trial.
    choices: the actions that there are, each a value for every scalar of the action; empty where all between the
        limits are.
    differentiable: whether a gradient passes through its sessions.
    """

    name: str
    control_dt: float
    observation: tuple[ObservationChannel, ...]
    action: tuple[ActionChannel, ...]
    parameters: tuple[Parameter, ...]
    metrics: tuple[Metric, ...]
    reference: TrackingReference | None = None
    features: tuple[Feature, ...] = ()
    choices: tuple[tuple[float, ...], ...] = ()
    horizon: int = 100
    episodes: int = 1
    differentiable: bool = False

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(chain.from_iterable(c.scalars for c in self.observation))}

    @cached_property
    def n_obs(self) -> int:
        """Entries of the observation."""
        return sum(channel.size for channel in self.observation)

    @cached_property
    def n_act(self) -> int:
        """Entries of the action."""
        return sum(channel.size for channel in self.action)

    @cached_property
    def sensors(self) -> tuple[ObservationChannel, ...]:
        """What the device measures, rewards included, in the order of the observation."""
        return tuple(channel for channel in self.observation if channel.source != "reference")

    @cached_property
    def references(self) -> tuple[ObservationChannel, ...]:
        """What the reference gives, in the order of the observation."""
        return tuple(channel for channel in self.observation if channel.source == "reference")

    @cached_property
    def sensor_scalars(self) -> tuple[str, ...]:
        """Names of the entries that the device measures, in the order of the observation."""
        return tuple(chain.from_iterable(channel.scalars for channel in self.sensors))

    @cached_property
    def reference_scalars(self) -> tuple[str, ...]:
        """Names of the entries that the reference gives, in the order of the observation."""
        return tuple(chain.from_iterable(channel.scalars for channel in self.references))

    @property
    def n_sensors(self) -> int:
        return len(self.sensor_scalars)

    @property
    def n_references(self) -> int:
        return len(self.reference_scalars)

    @property
    def headline(self) -> Metric:
        """The metric by which controllers are compared."""
        return self.metrics[0]

    @property
    def reward(self) -> str | None:
        """The channel that rewards come in by, if there is one."""
        return next((channel.name for channel in self.observation if channel.source == "reward"), None)

    @property
    def discrete(self) -> bool:
        return bool(self.choices)

    def index(self, scalar: str) -> int:
        """Where in the observation an entry is. Raises UsageError, listing all entries."""
        if scalar not in self._indices:
            raise UsageError(
                f"{self.name} does not observe {scalar!r}; it observes: {', '.join(self._indices)}"
            )
        return self._indices[scalar]

    @cached_property
    def action_scalars(self) -> tuple[str, ...]:
        """Names of the action's entries, in its order."""
        return tuple(chain.from_iterable(channel.scalars for channel in self.action))

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lowest and highest value of each entry of the action."""
        each = [channel for channel in self.action for _ in range(channel.size)]
        return tuple(c.minimum for c in each), tuple(c.maximum for c in each)


def scalar_names(name: str, size: int) -> tuple[str, ...]:
    """Names of a channel's entries: NAME, or NAME.0, NAME.1, … where it has several."""
    return (name,) if size == 1 else tuple(f"{name}.{i}" for i in range(size))


def check(spec: TaskSpec) -> None:
    """Raises UsageError for the first rule that `spec` breaks."""
    for sentence in _broken(spec):
        raise UsageError(f"task {spec.name!r}: {sentence}")


def _broken(spec: TaskSpec) -> Iterator[str]:
    if spec.n_obs + spec.n_act > MOST_SCALARS:
        yield f"its channels have more than {MOST_SCALARS} values"
    if not (math.isfinite(spec.control_dt) and spec.control_dt > 0.0):
        yield f"control_dt must be above 0 s, found {spec.control_dt}"
    elif spec.control_dt < SHORTEST:
        yield f"control_dt must be at least {SHORTEST:g} s, found {spec.control_dt:g}"
    for name, count in (("horizon", spec.horizon), ("episodes", spec.episodes)):
        if count < 1:
            yield f"{name} must be at least 1, found {count}"
    yield from _broken_names(spec)
    yield from _broken_channels(spec)
    yield from _broken_parameters(spec.parameters)
    yield from _broken_metrics(spec)
    yield from _broken_reference(spec)
    yield from _broken_features(spec)


def _broken_names(spec: TaskSpec) -> Iterator[str]:
    parts = (spec.observation, spec.action, spec.parameters, spec.metrics, spec.features)
    for name in (spec.name, *(part.name for named in parts for part in named)):
        if not is_identifier(name):
            yield f"the name {name!r} must be of letters, digits, '_', '.' and '-', and begin with a letter"
    measured = (spec.observation, spec.action, spec.parameters, spec.metrics)
    for text in (*(part.unit for parts in measured for part in parts), *(f.meaning for f in spec.features)):
        if not is_plain(text):
            yield f"the text {text!r} holds characters that cannot be shown"


def _broken_channels(spec: TaskSpec) -> Iterator[str]:
    if not spec.observation or not spec.action:
        yield "it needs at least one observation and one action channel"
    scalars = list(chain.from_iterable(c.scalars for c in spec.observation))
    yield from _twice(scalars, "observation")
    yield from _twice(spec.action_scalars, "action")
    channels: tuple[ObservationChannel | ActionChannel, ...] = (*spec.observation, *spec.action)
    for channel in channels:
        if not (math.isfinite(channel.maximum - channel.minimum) and channel.minimum < channel.maximum):
            yield (
                f"channel {channel.name!r}: minimum {channel.minimum:g} must be below maximum {channel.maximum:g}, "
                "both finite"
            )
        if not channel.shape or any(n < 1 for n in channel.shape):
            yield f"channel {channel.name!r}: shape must hold numbers of at least 1, found {list(channel.shape)}"
    sensors = {c.name: c.size for c in spec.observation if c.source == "device"}
    for action in spec.action:
        neutral = action.neutral
        if neutral == HOLD:
            if sensors.get(action.name) != action.size:
                yield (
                    f"action {action.name!r}: neutral 'hold' needs a sensor of that name and size; there are: "
                    f"{_list(sensors)}"
                )
        elif not action.minimum <= float(neutral) <= action.maximum:
            yield f"action {action.name!r}: neutral {neutral} lies outside {action.minimum:g} to {action.maximum:g}"
        rate = action.exploring_rate
        if rate is not None and not 0.0 < rate < math.inf:
            yield f"action {action.name!r}: exploring_rate must be above 0 and finite, or null, found {rate:g}"
    if sum(c.source == "reward" for c in spec.observation) > 1:
        yield "at most one observation channel may be the reward"
    low, high = spec.limits()
    for choice in spec.choices:
        inside = len(choice) == len(low) and all(
            a <= x <= b for a, x, b in zip(low, choice, high, strict=True)
        )
        if not inside:
            yield f"choice {list(choice)} is no action within the channels' limits"


def _broken_parameters(parameters: Iterable[Parameter]) -> Iterator[str]:
    yield from _twice([p.name for p in parameters], "parameter")
    for p in parameters:
        if not (math.isfinite(p.low) and math.isfinite(p.high) and p.low <= p.high):
            yield f"parameter {p.name!r}: expected low <= high, both finite, found {p.low:g} and {p.high:g}"
        if p.scale == "log" and p.low <= 0.0:
            yield f"parameter {p.name!r}: on a log scale it must lie above 0, found {p.low:g}"
        if p.scale == "sign" and not {p.low, p.high} <= {-1.0, 1.0}:
            yield f"parameter {p.name!r}: a sign is −1 or 1, found {p.low:g} to {p.high:g}"


def _broken_metrics(spec: TaskSpec) -> Iterator[str]:
    if not spec.metrics:
        yield "it needs at least one metric, the headline"
    yield from _twice([m.name for m in spec.metrics], "metric")
    observed = list(chain.from_iterable(c.scalars for c in spec.observation))
    for m in spec.metrics:
        if m.kind in ("rms", "success") and not m.pairs:
            yield f"metric {m.name!r}: a metric of kind {m.kind} needs pairs of channels, measured and wanted"
        for name in chain.from_iterable(m.pairs):
            if name not in observed:
                yield f"metric {m.name!r} names {name!r}, which is not observed; observed: {_list(observed)}"
        for name in m.actions:
            if name not in spec.action_scalars:
                yield f"metric {m.name!r} names {name!r}, which is no action; actions: {_list(spec.action_scalars)}"
        if m.kind == "success" and not (m.bound is not None and 0.0 < m.bound < math.inf):
            yield f"metric {m.name!r}: success needs a bound above 0, found {m.bound}"
        takes = {
            "pairs": m.kind in ("rms", "success"),
            "bound": m.kind == "success",
            "actions": m.kind in _OF_ACTIONS,
        }
        for part, wanted in takes.items():
            if not wanted and getattr(m, part):
                yield f"metric {m.name!r}: a metric of kind {m.kind} takes no {part}"


def _broken_reference(spec: TaskSpec) -> Iterator[str]:
    wanted = spec.reference_scalars
    given = [] if spec.reference is None else _given(spec.reference)
    if sorted(wanted) != sorted(given):
        yield (
            f"its reference gives {_list(given)}, and its channels of source 'reference' are {_list(wanted)}; "
            "both must be the same"
        )
    if spec.reference is None:
        return
    sensors = spec.sensor_scalars
    for track in spec.reference.tracks:
        if track.measured not in sensors:
            yield f"reference: track {track.target!r} begins at {track.measured!r}, which no sensor measures"
        if not (0.0 < track.amplitude < math.inf and math.isfinite(track.center)):
            yield (
                f"reference: track {track.target!r}: amplitude must be above 0 and center finite, found "
                f"{track.amplitude:g} and {track.center:g}"
            )
    for name in ("speed", "smoothing", "dwell", "sine_hz"):
        low, high = getattr(spec.reference, name)
        if not 0.0 < low <= high < math.inf:
            yield f"reference: {name} must be [low, high] above 0 with low <= high, found {[low, high]}"
    if spec.reference.sines < 1:
        yield f"reference: sines must be at least 1, found {spec.reference.sines}"


def _given(reference: TrackingReference) -> list[str]:
    return [name for track in reference.tracks for name in (track.target, track.rate) if name is not None]


def _broken_features(spec: TaskSpec) -> Iterator[str]:
    yield from _twice([f.name for f in spec.features], "feature")
    observed = list(chain.from_iterable(c.scalars for c in spec.observation))
    for feature in spec.features:
        if not (math.isfinite(feature.maximum - feature.minimum) and feature.minimum < feature.maximum):
            yield (
                f"feature {feature.name!r}: minimum {feature.minimum:g} must be below maximum {feature.maximum:g}, "
                "both finite"
            )
        if feature.term is not None:
            yield from _broken_term(feature.name, feature.term, spec.action_scalars, observed)


def _broken_term(name: str, term: Term, actions: Iterable[str], observed: Iterable[str]) -> Iterator[str]:
    known = actions if term.of in ("action", "change") else observed
    if not term.channels:
        yield f"feature {name!r} names no channels; valid names: {_list(known)}"
    for channel in term.channels:
        if channel not in known:
            yield f"feature {name!r} names {channel!r}; valid names: {_list(known)}"
    if term.of == "error" and len(term.channels) % 2:
        yield f"feature {name!r}: an error takes pairs of channels, measured and target"
    if not (math.isfinite(term.weight) and 0.0 < term.soft < math.inf):
        yield f"feature {name!r}: weight must be finite and soft above 0, found {term.weight:g} and {term.soft:g}"


def _twice(names: Iterable[str], what: str) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name!r} is there twice"
        seen.add(name)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
