"""A bundle whose TFLite graph has weights of 8 bits, and what that costs: on single ticks, and at the wheel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.manifest import QUANTISED, SCHEMES, Quantised, Scheme, Tolerance
from acclimate.engines import open_engine
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.policy.policy import Policy
from acclimate.stats import Interval, mean_interval
from acclimate_bridge.evaluation.episodes import episode_steps
from acclimate_bridge.evaluation.rig import Contest
from acclimate_bridge.simulation.worlds import groups_of, world_of

from acclimate_export.bundle.bundling import Parts, rounded_up
from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.drift import QUANTISED_LIMIT
from acclimate_export.check.parity import Sample, samples
from acclimate_export.graphs.freezing import constants, freeze
from acclimate_export.graphs.tracing import trace_act
from acclimate_export.tflite.convert import convert_graph
from acclimate_export.tflite.flatbuffer import operators
from acclimate_export.tflite.quantising import quantise

MEMBER = "act.tflite"
FLOAT = "float32"
_EPISODES = 4  # that tracking is measured on, per machine
_TICKS, _EXAMPLES = 1000, 2000  # that the loss on single ticks is measured on; that find the ranges of int8
_CALIBRATION_SEED, _LOSS_SEED = 20261126, 20261127  # fixed: the same run always gives the same bundle
_FACTOR = 2.0  # from the golden sequence's difference here to the one that a board may find: kernels round differently


class Loss(NamedTuple):
    """What quantising costs.

    action_rms, action_max: difference of the action, in its unit, on `ticks` ticks of simulated servos.
    golden:   the largest difference of a tensor along the golden sequence, relative to its largest value.
    tracking: error of driving simulated servos, rad RMS, by "float32", "quantised" and, device by device, "difference".
    """

    action_rms: float
    action_max: float
    ticks: int
    golden: float
    tracking: Mapping[str, Interval]

    def tree(self) -> dict[str, Json]:
        """As docs/cli.md describes it."""
        tracking: dict[str, Json] = {
            name: dict(interval.as_dict()) for name, interval in self.tracking.items()
        }
        numbers: dict[str, Json] = {"action_rms": self.action_rms, "action_max": self.action_max}
        return {**numbers, "ticks": self.ticks, "golden": self.golden, "tracking_rad": tracking}


def parse_scheme(text: str | None, formats: Sequence[str]) -> Scheme | None:
    """The scheme called `text`. Raises UsageError where there is none, or nothing to quantise among `formats`."""
    if text is None:
        return None
    scheme = next((name for name in SCHEMES if name == text), None)
    if scheme is None:
        raise UsageError(f"--quantize {text}: no scheme is called so; valid: {', '.join(SCHEMES)}")
    if QUANTISED not in formats:
        raise UsageError(f"--quantize {text} is about TFLite members: add --format onnx,tflite")
    return scheme


def check_quantisable(trained: Trained, scheme: Scheme) -> None:
    """Raises UsageError for a policy whose weights change on the device."""
    algorithm = trained.policy.algorithm
    if trained.policy.window is not None:
        raise UsageError(
            f"--quantize {scheme}: the weights of a policy of {algorithm!r} adapt on the device, in float32; "
            "quantise one that has no adapt, as robust, oracle and rl2"
        )


def quantised(trained: Trained, parts: Parts, scheme: Scheme) -> tuple[Parts, Loss]:
    """`parts` with a quantised act.tflite, and what that costs. Raises UsageError where it costs too much."""
    found = with_member(trained, parts, scheme)
    loss = measure(trained, as_bundle(found))
    if not _FACTOR * loss.golden <= QUANTISED_LIMIT:  # also where it is NaN
        raise UsageError(
            f"--quantize {scheme}: this policy would be off by up to {loss.golden:.0%} of its largest values; "
            f"{'take dynamic, or ' if scheme == 'int8' else ''}leave it in float32"
        )
    least = parts.manifest.tolerance
    tolerance = Tolerance(rounded_up(max(_FACTOR * loss.golden, least.golden_rel)), least.golden_abs)
    assert found.manifest.quantised is not None
    how = replace(found.manifest.quantised, tolerance=tolerance)
    return replace(found, manifest=replace(parts.manifest, quantised=how)), loss


def with_member(trained: Trained, parts: Parts, scheme: Scheme) -> Parts:
    """`parts` with a quantised act.tflite, of which nothing is known yet: its golden check passes whatever it does."""
    fixed = constants(trained.policy)
    traced = freeze(trace_act(trained.policy, trained.n_obs, trained.policy.spec.n_act), fixed)
    examples = [_arrays(sample, traced.inputs) for sample in samples(trained, _EXAMPLES, _CALIBRATION_SEED)]
    model = quantise(convert_graph(traced, "act"), scheme, examples)
    facts: dict[str, Json] = {"operators": len(operators(model)), "bytes": len(model), "quantised": scheme}
    how = Quantised(scheme, tuple(fixed), Tolerance(1e3, 1e3))
    return replace(
        parts,
        manifest=replace(parts.manifest, quantised=how),
        members={**parts.members, MEMBER: model},
        facts={**parts.facts, MEMBER: facts},
    )


def as_bundle(parts: Parts) -> Bundle:
    """What `load` would give of the bundle that `parts` are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.acclimate"
        write_bundle(path, parts.manifest, parts.members)
        return load(path)


def described(loss: Loss) -> str:
    """In one line."""
    now, before, change = (loss.tracking[name] for name in ("quantised", FLOAT, "difference"))
    return (
        f"action off by {loss.action_rms:.2g} RMS, at most {loss.action_max:.2g}, on {loss.ticks} ticks; tracking "
        f"error {before.mean:.4f} -> {now.mean:.4f} rad on {now.n} devices, a difference of {change.low:+.4f} "
        f"to {change.high:+.4f}"
    )


def measure(trained: Trained, bundle: Bundle, devices: int = 4, seed: int = _LOSS_SEED) -> Loss:
    """The loss of a quantised bundle; tracking on `devices` new devices of every built-in servo."""
    differences = _action_differences(trained, bundle, seed)
    return Loss(
        action_rms=float(np.sqrt(np.square(differences).mean())),
        action_max=float(np.abs(differences).max()),
        ticks=len(differences),
        golden=float(np.max([d.max_rel for d in Policy(bundle, "litert").deviations])),  # NaN stays
        tracking=_tracking(bundle, devices, seed),
    )


def _action_differences(trained: Trained, bundle: Bundle, seed: int) -> FloatArray:
    """Of single ticks that begin with torch's state, (ticks, n_act)."""
    engine = open_engine("litert")
    graph = engine.load(bundle.members[MEMBER], bundle.manifest.act_spec(engine.suffix), MEMBER).bind()
    found = []
    for sample in samples(trained, _TICKS, seed):
        for name, array in _arrays(sample, graph.inputs).items():
            graph.inputs[name][...] = array
        graph.run()
        found.append(graph.outputs["action"] - as_array(sample.expected["action"]))
    return np.stack(found)


def _tracking(bundle: Bundle, devices: int, seed: int) -> dict[str, Interval]:
    """The same references on the same devices, in float32 and quantised."""
    policies = {FLOAT: Policy(bundle, "onnxruntime"), "quantised": Policy(bundle, "litert")}
    steps, shots = episode_steps(bundle.manifest), dict.fromkeys(policies, 0)
    contest = Contest(FLOAT, policies, shots=shots, steps=steps, episodes=_EPISODES, seed=seed)
    groups = groups_of(world_of(bundle.manifest))
    results = [contest.run(contest.place(g, n)).figures for g in groups for n in range(devices)]
    headline = bundle.manifest.task.headline.name
    errors = {name: [result[name][0][headline] for result in results] for name in policies}
    errors["difference"] = [after - before for before, after in zip(*errors.values(), strict=True)]
    return {name: mean_interval(values) for name, values in errors.items()}


def _arrays(sample: Sample, wanted: Iterable[str]) -> dict[str, FloatArray]:
    return {name: as_array(sample.given[name]) for name in wanted}
