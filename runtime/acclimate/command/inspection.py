"""What `acclimate inspect` prints: the manifest's facts, and whether this machine reproduces the bundle."""

from __future__ import annotations

import argparse
import json
from typing import NamedTuple

from acclimate.bundle import manifest_json
from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import GraphSpec, Manifest
from acclimate.command.options import heed_trust
from acclimate.errors import NoEngineError
from acclimate.fields import Json
from acclimate.json_text import json_text
from acclimate.policy.choice import Choice
from acclimate.policy.golden_check import Deviation
from acclimate.policy.policy import Policy
from acclimate.task.spec import HOLD, ActionChannel, Metric, ObservationChannel, Parameter, TaskSpec, Track

_SOURCES = {"device": "measured", "reference": "to be followed", "reward": "a reward that is measured"}


class _Checked(NamedTuple):
    """What came of the golden check; without a choice, `why` there was none."""

    choice: Choice | None
    deviations: tuple[Deviation, ...] = ()
    why: str = ""


def inspect_bundle(args: argparse.Namespace) -> int:
    """Print the bundle `args.bundle`; raises as `load` and `Policy` do where it is refused."""
    bundle = load(args.bundle)
    heed_trust(args, bundle)
    checked = _check(bundle, args.engine)
    print(json_text(_tree(bundle, checked)) if args.json else "\n".join(_lines(bundle, checked)))
    return 0


def _check(bundle: Bundle, engine: str) -> _Checked:
    """The golden check, where there is an engine for it."""
    try:
        policy = Policy(bundle, engine)
    except NoEngineError as error:
        return _Checked(None, why=str(error))
    return _Checked(policy.choice, policy.deviations)


def _tree(bundle: Bundle, checked: _Checked) -> dict[str, Json]:
    rows: list[Json] = [
        {
            "graph": d.graph,
            "tensor": d.tensor,
            "max_abs": d.max_abs,
            "max_rel": d.max_rel,
            "allowed": d.allowed,
        }
        for d in checked.deviations
    ]
    manifest: Json = json.loads(manifest_json.to_json(bundle.manifest))
    choice = checked.choice
    engine = None if choice is None else choice.engine
    ok = None if choice is None else True  # a failed check has raised
    why = checked.why if choice is None else choice.why
    return {
        "path": str(bundle.path),
        "sha256": bundle.sha256,
        "manifest": manifest,
        "golden": {"engine": engine, "why": why, "ok": ok, "rows": rows},
    }


def _lines(bundle: Bundle, checked: _Checked) -> list[str]:
    m = bundle.manifest
    return [
        f"bundle       {m.name} ({m.algorithm}), {bundle.size / 1024:.1f} KiB, sha256 {bundle.sha256[:16]}…",
        f"family       {_family(m)}",
        f"rate         {1.0 / m.control_dt:g} Hz",
        *_titled("observes", [f"{_channel(c)}, {_SOURCES[c.source]}" for c in m.observation]),
        *_titled("commands", [_channel(c) for c in m.action]),
        *_task(m.task),
        *_titled("state", [_state(m, i) for i in range(len(m.state))] or ["none"]),
        f"act          {_graph(m.graphs.act)}",
        f"adapt        {_graph(m.graphs.adapt) if m.graphs.adapt else _without_adapt(m)}",
        *_adaptation(m),
        *_objectives(bundle),
        *_titled("members", [f"{name:<12} {file.size:>9} bytes" for name, file in m.files.items()]),
        *_titled("engine", [] if checked.choice is None else checked.choice.lines()),
        _golden(bundle, checked),
    ]


def _titled(title: str, rows: list[str]) -> list[str]:
    return [f"{title if i == 0 else '':<12} {row}" for i, row in enumerate(rows)]


def _channel(c: ObservationChannel | ActionChannel) -> str:
    neutral = (
        f", neutral: {c.neutral if c.neutral == HOLD else f'{c.neutral:g}'}"
        if isinstance(c, ActionChannel)
        else ""
    )
    size = f" × {c.size}" if c.size > 1 else ""
    return f"{c.name + size:<16} {c.unit:<9} {c.minimum:g} to {c.maximum:g}{neutral}"


def _task(task: TaskSpec) -> list[str]:
    """What differs from machine to machine, what there is to follow, and how a drive is judged."""
    return [
        *_titled("varies in", [_parameter(p) for p in task.parameters]),
        *_titled("follows", [_track(track) for track in task.reference.tracks] if task.reference else []),
        *_titled("is judged by", [_metric(metric) for metric in task.metrics]),
    ]


def _parameter(p: Parameter) -> str:
    ends = "−1 or 1" if p.scale == "sign" and p.low < p.high else f"{p.low:g} to {p.high:g}"
    return f"{p.name:<16} {p.unit:<9} {ends}"


def _metric(m: Metric) -> str:
    of = ", ".join(f"{measured} − {wanted}" for measured, wanted in m.pairs) or ", ".join(m.actions)
    better = "higher is better" if m.higher_is_better else "lower is better"
    return f"{m.name:<16} {m.unit:<9} {m.kind}{f' of {of}' if of else ''}; {better}"


def _track(track: Track) -> str:
    rate = f", and its rate {track.rate}" if track.rate else ""
    return f"{track.target:<16} within {track.amplitude:g} of {track.center:g}, for {track.measured}{rate}"


def _state(m: Manifest, index: int) -> str:
    t = m.state[index]
    writer = f"written by {t.written_by}" if t.written_by else "constant"
    return f"{t.name:<16} {list(t.shape)!s:<12} reset: {t.reset}, {writer}"


def _graph(graph: GraphSpec) -> str:
    return f"{len(graph.inputs)} inputs -> {', '.join(t.name for t in graph.outputs)}"


def _without_adapt(m: Manifest) -> str:
    if m.remembers:
        return f"no graph: it adapts in its memory as it acts ({', '.join(m.remembers)})"
    return "none: this policy does not adapt"


def _family(m: Manifest) -> str:
    """Where the machines come from, with those of its options that are short."""
    short = [
        f"{name}={value}" for name, value in m.family.options.items() if isinstance(value, str | int | float)
    ]
    return ", ".join([m.family.name + (f" from {m.family.use}" if m.family.use else ""), *short])


def _adaptation(m: Manifest) -> list[str]:
    if m.window is None or m.adaptation is None:
        return []
    seconds = m.window.episodes * m.window.steps * m.control_dt
    if m.adaptation.continual:
        return [
            f"window       {m.window.steps} ticks ({seconds:g} s), learned from while it drives, one after the other; "
            f"trust radius {m.limits.trust_radius:g}"
        ]
    return [
        f"window       {m.window.episodes} episodes of {m.window.steps} ticks ({seconds:g} s), "
        f"at most {m.adaptation.max_steps} steps, trust radius {m.limits.trust_radius:g}"
    ]


def _objectives(bundle: Bundle) -> list[str]:
    m = bundle.manifest
    if m.objectives is None:
        return []
    weights = bundle.state[m.objectives.state]
    rows = [f"{f.name:<16} {w:<6g} {f.meaning}" for f, w in zip(m.features, weights, strict=True)]
    return _titled("objectives", rows)


def _golden(bundle: Bundle, checked: _Checked) -> str:
    if checked.choice is None:
        return f"golden       not replayed: {checked.why}"
    worst, ticks = max(d.max_rel for d in checked.deviations), bundle.golden.ticks
    return (
        f"golden       {ticks} ticks reproduced on {checked.choice.engine}, "
        f"largest relative difference {worst:.1e}"
    )
