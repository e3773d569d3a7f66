"""A task specification as JSON, and back: `read_spec` and `spec_tree` are each other's inverse.

What is read is checked by `acclimate.fields`, and then by the spec's own rules: every error is a ManifestError, one
sentence that names the field.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from acclimate.errors import ManifestError, UsageError
from acclimate.fields import Fields, Json
from acclimate.task.spec import (
    HOLD,
    METRIC_KINDS,
    PENALTIES,
    SCALES,
    SOURCES,
    TERM_KINDS,
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

_LONGEST = 3600.0  # s, of a control tick
_TRACKING = "tracking"  # the one kind of reference that there is


def read_spec(f: Fields) -> TaskSpec:
    """Raises ManifestError, naming the field, for anything that a spec cannot be."""
    try:
        return _read(f)
    except UsageError as error:
        raise ManifestError(f"{f.path}: {error}") from None


def _read(f: Fields) -> TaskSpec:
    return TaskSpec(
        name=f.identifier("name"),
        control_dt=f.number("control_dt", above=0.0, most=_LONGEST),
        observation=f.items("observation", _read_observation),
        action=f.items("action", _read_action),
        parameters=f.items("parameters", _read_parameter),
        metrics=f.items("metrics", _read_metric),
        reference=f.optional("reference", _read_reference),
        features=f.items("features", _read_feature),
        choices=f.rows("choices"),
        horizon=f.count("horizon"),
        episodes=f.count("episodes"),
        differentiable=f.flag("differentiable"),
    )


def _read_observation(f: Fields) -> ObservationChannel:
    return ObservationChannel(
        name=f.identifier("name"),
        unit=f.text("unit"),
        minimum=f.number("minimum"),
        maximum=f.number("maximum"),
        source=f.choice("source", SOURCES),
        shape=f.shape("shape"),
    )


def _read_action(f: Fields) -> ActionChannel:
    return ActionChannel(
        name=f.identifier("name"),
        unit=f.text("unit"),
        minimum=f.number("minimum"),
        maximum=f.number("maximum"),
        shape=f.shape("shape"),
        neutral=_read_neutral(f),
        exploring_rate=_read_rate(f),
    )


def _read_neutral(f: Fields) -> float | Literal["hold"]:
    return HOLD if f.raw("neutral") == HOLD else f.number("neutral")


def _read_rate(f: Fields) -> float | None:
    """Bundles from before there was this limit lack it."""
    name = "exploring_rate"
    return None if name not in f.names() or f.raw(name) is None else f.number(name, above=0.0)


def _read_parameter(f: Fields) -> Parameter:
    return Parameter(
        name=f.identifier("name"),
        unit=f.text("unit"),
        low=f.number("low"),
        high=f.number("high"),
        scale=f.choice("scale", SCALES),
    )


def _read_metric(f: Fields) -> Metric:
    return Metric(
        name=f.identifier("name"),
        kind=f.choice("kind", METRIC_KINDS),
        unit=f.text("unit"),
        pairs=f.pairs("pairs"),
        actions=f.words("actions"),
        bound=None if f.raw("bound") is None else f.number("bound"),
    )


def _read_reference(f: Fields) -> TrackingReference:
    f.choice("kind", (_TRACKING,))
    return TrackingReference(
        tracks=f.items("tracks", _read_track),
        speed=f.interval("speed"),
        smoothing=f.interval("smoothing"),
        dwell=f.interval("dwell"),
        sine_hz=f.interval("sine_hz"),
        sines=f.count("sines"),
    )


def _read_track(f: Fields) -> Track:
    return Track(
        measured=f.text("measured"),
        target=f.text("target"),
        rate=None if f.raw("rate") is None else f.text("rate"),
        amplitude=f.number("amplitude"),
        center=f.number("center"),
    )


def _read_feature(f: Fields) -> Feature:
    return Feature(
        name=f.identifier("name"),
        meaning=f.text("meaning"),
        minimum=f.number("minimum"),
        maximum=f.number("maximum"),
        term=f.optional("term", _read_term),
    )


def _read_term(f: Fields) -> Term:
    return Term(
        of=f.choice("of", TERM_KINDS),
        channels=f.words("channels"),
        penalty=f.choice("penalty", PENALTIES),
        weight=f.number("weight"),
        soft=f.number("soft"),
    )


def spec_tree(spec: TaskSpec) -> dict[str, Json]:
    """The object that `read_spec` reads."""
    reference = None if spec.reference is None else {"kind": _TRACKING, **asdict(spec.reference)}
    return {
        "name": spec.name,
        "control_dt": spec.control_dt,
        "observation": _plain([asdict(channel) for channel in spec.observation]),
        "action": _plain([asdict(channel) for channel in spec.action]),
        "parameters": _plain([asdict(parameter) for parameter in spec.parameters]),
        "metrics": _plain([asdict(metric) for metric in spec.metrics]),
        "reference": _plain(reference),
        "features": _plain([asdict(feature) for feature in spec.features]),
        "choices": _plain(spec.choices),
        "horizon": spec.horizon,
        "episodes": spec.episodes,
        "differentiable": spec.differentiable,
    }


def _plain(value: object) -> Json:
    """Tuples as lists, through and through."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    assert value is None or isinstance(value, bool | int | float | str)  # a spec is made of nothing else
    return value
