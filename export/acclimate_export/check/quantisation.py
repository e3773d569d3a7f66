"""A bundle whose TFLite graph has weights of 8 bits, refused where that costs too much."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.manifest import QUANTISED, SCHEMES, Quantised, Scheme, Tolerance
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.names import did_you_mean

from acclimate_export.bundle.bundling import Parts, rounded_up
from acclimate_export.bundle.formats import Selection
from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.cases import cases
from acclimate_export.check.differences import QUANTISED_LIMIT
from acclimate_export.check.loss import MEMBER, Loss, measure
from acclimate_export.graphs.freezing import constants, freeze
from acclimate_export.graphs.tracing import trace_act

_EXAMPLES = 2000  # ticks that find the ranges of int8
_SEED = 20261126  # fixed: the same run always gives the same bundle
_FACTOR = 2.0  # from the golden sequence's difference here to the one that a board may find: kernels round differently


def parse_scheme(text: str | None, forms: Selection) -> Scheme | None:
    """The scheme called `text`. Raises UsageError where there is none, or nothing to quantise among `forms`."""
    if text is None:
        return None
    scheme = next((name for name in SCHEMES if name == text), None)
    if scheme is None:
        raise UsageError(
            f"--quantize {text}: there is no such scheme{did_you_mean(text, SCHEMES, of='valid')}"
        )
    if QUANTISED not in forms.names:
        why = "add it to --format" if forms.asked else forms.left_out[QUANTISED]
        raise UsageError(f"--quantize {text} is about the TFLite form, and there is none: {why}")
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
    """`parts` with a quantised act.tflite, of which nothing is known yet."""
    # Not before: what these need comes with acclimate[tflite] only.
    from acclimate_export.tflite.convert import convert_graph
    from acclimate_export.tflite.flatbuffer import operators
    from acclimate_export.tflite.quantising import quantise

    fixed = constants(trained.policy)
    traced = freeze(trace_act(trained.policy), fixed)
    examples = [
        {name: as_array(case.given[name]) for name in traced.inputs}
        for case in cases(trained, _EXAMPLES, _SEED)
    ]
    model = quantise(convert_graph(traced, "act"), scheme, examples)
    facts: dict[str, Json] = {"operators": len(operators(model)), "bytes": len(model), "quantised": scheme}
    how = Quantised(scheme, tuple(fixed), Tolerance(QUANTISED_LIMIT))
    return replace(
        parts,
        manifest=replace(parts.manifest, quantised=how),
        members={**parts.members, MEMBER: model},
        facts={**parts.facts, MEMBER: facts},
        left_out={name: reason for name, reason in parts.left_out.items() if name != QUANTISED},
    )


def as_bundle(parts: Parts) -> Bundle:
    """What `load` would give of the bundle that `parts` are; a quantised form passes its golden check anyhow."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.acclimate"
        write_bundle(path, parts.manifest, parts.members)
        bundle = load(path)
    how = bundle.manifest.quantised
    loose = how and replace(how, tolerance=Tolerance(1e3, 1e3))
    return replace(bundle, manifest=replace(bundle.manifest, quantised=loose))
