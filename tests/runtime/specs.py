"""Task specifications for tests: one that is small and ordinary, and a hypothesis strategy for all that are valid."""

from __future__ import annotations

from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    PENALTIES,
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
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

ERROR = Metric("error", "rms", "mm", (("height", "height_wanted"),))
LIFT = TaskSpec(
    name="lift",
    control_dt=0.02,
    observation=(
        ObservationChannel("height", "mm", -100.0, 100.0),
        ObservationChannel("speed", "mm/s", -500.0, 500.0),
        ObservationChannel("height_wanted", "mm", -100.0, 100.0, "reference"),
    ),
    action=(ActionChannel("valve", "%", -50.0, 50.0),),
    parameters=(Parameter("load", "kg", 1.0, 10.0, "log"),),
    metrics=(ERROR, CHATTER, ENERGY, SATURATED),
    reference=TrackingReference((Track("height", "height_wanted", amplitude=80.0),)),
)
"""A lift whose valve makes it rise and sink: no radians, no ±1."""

_NAMES = st.from_regex(r"[a-z_][a-z0-9_\-]{0,8}", fullmatch=True)
_TEXTS = st.text(max_size=8).filter(str.isprintable)
_NUMBERS = st.floats(-1e6, 1e6)
_POSITIVE = st.floats(1e-3, 1e6)


@st.composite
def _ranges(draw: DrawFn, numbers: SearchStrategy[float] = _NUMBERS) -> tuple[float, float]:
    low = draw(numbers)
    return low, low + draw(st.floats(0.5, 1e6))


@st.composite
def specs(draw: DrawFn) -> TaskSpec:
    """Valid ones, of every kind."""
    sensors = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
    rated = draw(st.booleans())
    tracked = draw(st.booleans())
    observation = [ObservationChannel(name, draw(_TEXTS), *draw(_ranges())) for name in sensors]
    wide = ObservationChannel("wide.one", "", -1.0, 1.0, shape=draw(st.sampled_from([(2,), (2, 3)])))
    track = Track(sensors[0], "ref.target", "ref.rate" if rated else None, draw(_POSITIVE), draw(_NUMBERS))
    for name in filter(None, (track.target, track.rate)) if tracked else ():
        observation.append(ObservationChannel(name, "", *draw(_ranges()), source="reference"))
    rewarded = draw(st.booleans())
    if rewarded:
        observation.append(ObservationChannel("a.reward", "1", *draw(_ranges()), source="reward"))
    scalars = [name for channel in (*observation, wide) for name in channel.scalars]
    action = draw(_actions(sensors[0]))
    commanded = [name for channel in action for name in channel.scalars]
    return TaskSpec(
        name=draw(_NAMES),
        control_dt=draw(st.floats(1e-3, 1e3)),
        observation=(*observation, wide),
        action=action,
        parameters=draw(_parameters()),
        metrics=draw(_metrics(scalars, commanded)),
        reference=draw(_references(track)) if tracked else None,
        features=draw(_features(scalars, commanded)),
        choices=draw(_choices(action)),
        horizon=draw(st.integers(1, 1000)),
        episodes=draw(st.integers(1, 10)),
        differentiable=draw(st.booleans()),
    )


@st.composite
def _actions(draw: DrawFn, sensor: str) -> tuple[ActionChannel, ...]:
    low, high = draw(_ranges())
    held = ActionChannel(sensor, draw(_TEXTS), low, high, neutral="hold")
    rate = draw(st.none() | st.floats(0.1, 100.0))
    valued = ActionChannel("drive.a", "1", low, high, (draw(st.integers(1, 3)),), 0.5 * (low + high), rate)
    return draw(st.sampled_from([(held,), (valued,), (valued, held)]))


@st.composite
def _parameters(draw: DrawFn) -> tuple[Parameter, ...]:
    signed = Parameter("way.round", "1", draw(st.sampled_from([-1.0, 1.0])), 1.0, "sign")
    ratio = Parameter("a.gain", draw(_TEXTS), *draw(_ranges(_POSITIVE)), scale="log")
    plain = Parameter("an.offset", "", *draw(_ranges()))
    return tuple(draw(st.lists(st.sampled_from([signed, ratio, plain]), unique=True)))


@st.composite
def _metrics(draw: DrawFn, observed: list[str], commanded: list[str]) -> tuple[Metric, ...]:
    pairs = st.lists(st.tuples(*2 * [st.sampled_from(observed)]), min_size=1, max_size=3).map(tuple)
    some = st.lists(st.sampled_from(commanded), max_size=2, unique=True).map(tuple)
    known = (
        Metric("m.rms", "rms", draw(_TEXTS), draw(pairs)),
        Metric("m.success", "success", pairs=draw(pairs), bound=draw(_POSITIVE)),
        Metric("m.reward", "reward"),
        Metric("m.chatter", "chatter", actions=draw(some)),
        Metric("m.energy", "energy", actions=draw(some)),
        SATURATED,
    )
    return tuple(draw(st.lists(st.sampled_from(known), min_size=1, unique=True)))


@st.composite
def _references(draw: DrawFn, track: Track) -> TrackingReference:
    ranges = [draw(_ranges(_POSITIVE)) for _ in range(4)]
    return TrackingReference((track,), *ranges, draw(st.integers(1, 5)))


@st.composite
def _features(draw: DrawFn, observed: list[str], commanded: list[str]) -> tuple[Feature, ...]:
    one, two, act = (draw(st.sampled_from(names)) for names in (observed, observed, commanded))
    penalty, weight, soft = draw(st.sampled_from(PENALTIES)), draw(_NUMBERS), draw(_POSITIVE)
    terms = (
        None,
        Term("error", (one, two), penalty, weight, soft),
        Term("jerk", (one,), penalty, weight, soft),
        Term("action", (act,), penalty, weight, soft),
        Term("change", (act,), penalty, weight, soft),
    )
    return tuple(
        Feature(f"f.{i}", draw(_TEXTS), *draw(_ranges()), term)
        for i, term in enumerate(draw(st.lists(st.sampled_from(terms), max_size=4)))
    )


@st.composite
def _choices(draw: DrawFn, action: tuple[ActionChannel, ...]) -> tuple[tuple[float, ...], ...]:
    each = [st.floats(c.minimum, c.maximum) for c in action for _ in range(c.size)]
    return tuple(draw(st.lists(st.tuples(*each), max_size=3)))
