"""What a manifest's parts owe each other; each rule is one function and one sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from acclimate.errors import ManifestError

if TYPE_CHECKING:
    from acclimate.bundle.manifest import (
        ActionChannel,
        GraphSpec,
        Manifest,
        ObservationChannel,
        TensorSpec,
        Writer,
    )

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check(m: Manifest) -> None:
    """Raises ManifestError for the first rule that `m` breaks."""
    _channels(m)
    _state(m)
    _graph(m, "act", m.graphs.act)
    if m.graphs.adapt is not None:
        _graph(m, "adapt", m.graphs.adapt)
    _adaptation(m)
    _limits(m)
    _objectives(m)
    _privileged(m)
    _quantised(m)
    _files(m)


def _channels(m: Manifest) -> None:
    if not m.observation or not m.action:
        raise ManifestError(f"manifest of {m.name!r}: needs at least one observation and one action channel")
    _unique((c.name for c in m.observation), "observation")
    _unique((c.name for c in m.action), "action")
    channels: tuple[ObservationChannel | ActionChannel, ...] = (*m.observation, *m.action)
    for channel in channels:
        if not channel.minimum < channel.maximum or not math.isfinite(channel.maximum - channel.minimum):
            raise ManifestError(
                f"channel {channel.name!r}: minimum {channel.minimum:g} "
                f"must be below maximum {channel.maximum:g}"
            )


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


def _objectives(m: Manifest) -> None:
    o = m.objectives
    if o is None:
        return
    _unique((f.name for f in o.features), "objectives.features")
    for feature in o.features:
        if not feature.minimum < feature.maximum:
            raise ManifestError(
                f"objective {feature.name!r}: minimum {feature.minimum:g} must be below maximum {feature.maximum:g}"
            )
    size = len(o.features)
    weights = next((t for t in m.state if t.name == o.state), None)
    if not size or weights is None or weights.shape != (size,):
        raise ManifestError(
            f"objectives names {size} features, so their weights, state {o.state!r} of shape [{max(size, 1)}], "
            "must be there"
        )
    rewards = [c.name for c in m.observation if c.source == "device" and c.size == 1]
    if o.reward is not None and o.reward not in rewards:
        raise ManifestError(
            f"objectives.reward is {o.reward!r}, which is no single observation from the device; "
            f"valid: {', '.join(rewards) or 'none'}"
        )


def _privileged(m: Manifest) -> None:
    if not m.privileged:
        return
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
