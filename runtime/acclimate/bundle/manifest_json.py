"""A manifest as JSON, and back: every field that the format has, and no other (docs/bundle_format.md).

`from_json` and `to_json` are each other's inverse.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from acclimate.bundle.archive import MAX_MEMBER
from acclimate.bundle.manifest import (
    FORMAT,
    SCHEMES,
    AdaptationSpec,
    Family,
    Graphs,
    GraphSpec,
    Limits,
    Manifest,
    MemberFile,
    NoiseSpec,
    Objectives,
    Quantised,
    StateTensor,
    TensorSpec,
    Tolerance,
    WindowSpec,
)
from acclimate.errors import ManifestError
from acclimate.fields import Fields, Json, parse_object
from acclimate.task.spec_json import read_spec, spec_tree

LARGEST_TOLERANCE = 1e-3
LARGEST_QUANTISED = 0.5  # of weights of 8 bits

T = TypeVar("T")


def to_json(m: Manifest) -> bytes:
    """UTF-8 JSON, the same bytes for the same manifest."""
    return (json.dumps(_to_tree(m), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def from_json(text: bytes, where: str = "manifest.json") -> Manifest:
    """The manifest in `text`; `where` names it in errors.

    Raises ManifestError, naming the field, for anything that the format does not allow.
    """
    fields = parse_object(text, where)
    version = fields.raw("format")
    if version != FORMAT or isinstance(version, bool):
        newer = isinstance(version, int) and version > FORMAT
        raise ManifestError(
            f"{where} has format {json.dumps(version)}, and this Acclimate reads format {FORMAT}; "
            + ("upgrade Acclimate" if newer else "export the bundle again")
        )
    manifest = _read_manifest(fields)
    fields.finish()
    return manifest


def _read_manifest(f: Fields) -> Manifest:
    return Manifest(
        name=f.identifier("name"),
        algorithm=f.identifier("algorithm"),
        task=f.object("task", read_spec),
        state=f.items("state", _read_state),
        graphs=f.object(
            "graphs", lambda g: Graphs(g.object("act", _read_graph), g.optional("adapt", _read_graph))
        ),
        noise=f.object("noise", lambda g: NoiseSpec(_shape(g), g.choice("distribution", ("normal",)))),
        limits=f.object("limits", _read_limits),
        family=f.object("family", _read_family),
        window=f.optional("window", lambda g: WindowSpec(g.count("episodes"), g.count("steps"))),
        adaptation=f.optional("adaptation", _read_adaptation),
        objectives=f.object("objectives", _read_objectives) if "objectives" in f.names() else None,
        privileged=f.words("privileged"),
        baselines=f.table("baselines", _read_settings),
        start=f.table("start", lambda g, key: g.interval(key)) if "start" in f.names() else {},
        tolerance=f.object("tolerance", lambda g: _read_tolerance(g, most=LARGEST_TOLERANCE)),
        quantised=f.object("quantised", _read_quantised) if "quantised" in f.names() else None,
        provenance=f.table("provenance", lambda g, key: g.raw(key)),
        files=f.table("files", lambda g, key: g.object(key, _read_file)),
    )


def _read_state(f: Fields) -> StateTensor:
    f.choice("dtype", ("float32",))
    return StateTensor(
        name=f.identifier("name"),
        shape=_shape(f),
        reset=f.choice("reset", ("trial", "episode", "never")),
        written_by=f.choice("written_by", ("act", "adapt", None)),
    )


def _read_graph(f: Fields) -> GraphSpec:
    return GraphSpec(f.items("inputs", _read_tensor), f.items("outputs", _read_tensor))


def _read_tensor(f: Fields) -> TensorSpec:
    return TensorSpec(f.identifier("name"), _shape(f))


def _shape(f: Fields) -> tuple[int, ...]:
    """Of an array that fits into a member."""
    return f.shape("shape", most=MAX_MEMBER // 4)


def _read_limits(f: Fields) -> Limits:
    slew_rate = f.table("slew_rate", lambda g, key: g.number(key, above=0.0))
    return Limits(slew_rate, f.number("trust_radius", above=0.0))


def _read_family(f: Fields) -> Family:
    return Family(
        name=f.identifier("name"),
        use=None if f.raw("use") is None else f.text("use"),
        options=f.table("options", lambda g, key: g.raw(key)),
        sha256=None if f.raw("sha256") is None else f.text("sha256"),
    )


def _read_adaptation(f: Fields) -> AdaptationSpec:
    continual = f.flag("continual") if "continual" in f.names() else False
    return AdaptationSpec(f.count("max_steps"), f.number("explore_scale", above=0.0), continual)


def _read_objectives(f: Fields) -> Objectives:
    return Objectives(f.identifier("state"), f.identifier("reward") if "reward" in f.names() else None)


def _read_settings(f: Fields, name: str) -> dict[str, float]:
    return f.table(name, lambda g, setting: g.number(setting))


def _read_tolerance(f: Fields, most: float) -> Tolerance:
    """Beyond `most` the golden check would prove nothing."""
    return Tolerance(
        f.number("golden_rel", above=0.0, most=most),
        f.number("golden_abs", above=0.0, most=LARGEST_TOLERANCE),
    )


def _read_quantised(f: Fields) -> Quantised:
    return Quantised(
        scheme=f.choice("scheme", SCHEMES),
        constants=f.words("constants"),
        tolerance=f.object("tolerance", lambda g: _read_tolerance(g, most=LARGEST_QUANTISED)),
    )


def _read_file(f: Fields) -> MemberFile:
    return MemberFile(f.text("sha256"), f.count("size", most=MAX_MEMBER))


def _to_tree(m: Manifest) -> dict[str, Json]:
    objectives: dict[str, Json] = (
        {} if m.objectives is None else {"objectives": _objectives_tree(m.objectives)}
    )
    return {
        "format": FORMAT,
        "name": m.name,
        "algorithm": m.algorithm,
        "task": spec_tree(m.task),
        "state": [_state_tree(t) for t in m.state],
        "graphs": {"act": _graph_tree(m.graphs.act), "adapt": _optional(_graph_tree, m.graphs.adapt)},
        "noise": {"shape": list(m.noise.shape), "distribution": m.noise.distribution},
        "window": _optional(lambda w: {"episodes": w.episodes, "steps": w.steps}, m.window),
        "adaptation": _optional(_adaptation_tree, m.adaptation),
        "limits": {"slew_rate": dict(m.limits.slew_rate), "trust_radius": m.limits.trust_radius},
        **objectives,
        "privileged": list(m.privileged),
        "family": {
            "name": m.family.name,
            "use": m.family.use,
            "options": dict(m.family.options),
            "sha256": m.family.sha256,
        },
        "baselines": {name: dict(settings) for name, settings in m.baselines.items()},
        **({"start": {name: list(ends) for name, ends in m.start.items()}} if m.start else {}),
        "tolerance": _tolerance_tree(m.tolerance),
        **({"quantised": _quantised_tree(m.quantised)} if m.quantised else {}),
        "provenance": dict(m.provenance),
        "files": {name: {"sha256": f.sha256, "size": f.size} for name, f in sorted(m.files.items())},
    }


def _adaptation_tree(a: AdaptationSpec) -> dict[str, Json]:
    continual: dict[str, Json] = {"continual": True} if a.continual else {}
    return {"max_steps": a.max_steps, "explore_scale": a.explore_scale, **continual}


def _tolerance_tree(t: Tolerance) -> Json:
    return {"golden_rel": t.golden_rel, "golden_abs": t.golden_abs}


def _quantised_tree(q: Quantised) -> Json:
    return {"scheme": q.scheme, "constants": list(q.constants), "tolerance": _tolerance_tree(q.tolerance)}


def _optional(tree: Callable[[T], Json], part: T | None) -> Json:
    return None if part is None else tree(part)


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
    reward: dict[str, Json] = {} if o.reward is None else {"reward": o.reward}
    return {"state": o.state, **reward}
