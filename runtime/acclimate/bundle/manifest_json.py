"""A manifest as JSON, and back: every field that the format has, and no other (docs/bundle_format.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from acclimate.bundle.manifest import (
    FORMAT,
    SCHEMES,
    ActionChannel,
    AdaptationSpec,
    Baselines,
    Family,
    Graphs,
    GraphSpec,
    Limits,
    Manifest,
    MemberFile,
    NoiseSpec,
    Objective,
    Objectives,
    ObservationChannel,
    PidGains,
    Quantised,
    StateTensor,
    TensorSpec,
    Tolerance,
    WindowSpec,
)
from acclimate.errors import ManifestError
from acclimate.fields import Fields, Json, parse_object

T = TypeVar("T")


def to_json(m: Manifest) -> bytes:
    """UTF-8 JSON, the same bytes for the same manifest."""
    return (json.dumps(_to_tree(m), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def from_json(text: bytes, where: str) -> Manifest:
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
