"""A bundle whose TFLite graph has weights of 8 bits: what its manifest says, and what that means on a board."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from acclimate.bundle import manifest_json
from acclimate.bundle.manifest import Manifest, Quantised, StateTensor, TensorSpec, Tolerance
from acclimate.errors import ManifestError

from . import bundles

WIDE = Tolerance(0.1, 1e-5)


def _manifest() -> Manifest:
    """Of a policy that does not adapt, with `sigma` as a constant: `weight` is reset with each trial."""
    frozen = bundles.without_adapt(bundles.manifest())
    return replace(frozen, quantised=Quantised("dynamic", ("sigma",), WIDE))


def test_json_and_back_is_the_same_manifest() -> None:
    manifest = _manifest()
    assert manifest_json.from_json(manifest_json.to_json(manifest)) == manifest
    assert json.loads(manifest_json.to_json(manifest))["quantised"] == {
        "scheme": "dynamic",
        "constants": ["sigma"],
        "tolerance": {"golden_rel": 0.1, "golden_abs": 1e-5},
    }


def test_a_bundle_that_is_not_quantised_does_not_speak_of_it() -> None:
    assert "quantised" not in json.loads(manifest_json.to_json(bundles.manifest()))
    assert manifest_json.from_json(manifest_json.to_json(bundles.manifest())).quantised is None


def test_only_tflite_members_differ() -> None:
    manifest = _manifest()
    inputs = [t.name for t in manifest.graphs.act.inputs]
    assert [t.name for t in manifest.act_spec("onnx").inputs] == inputs
    assert [t.name for t in manifest.act_spec("tflite").inputs] == [n for n in inputs if n != "state.sigma"]
    assert manifest.act_spec("tflite").outputs == manifest.graphs.act.outputs
    assert manifest.tolerance_of("onnx") == manifest.tolerance == Tolerance()
    assert manifest.tolerance_of("tflite") == WIDE


@pytest.mark.parametrize(
    ("tensor", "fits"),
    [
        (StateTensor("bias", (1,), "never"), True),
        (StateTensor("bias", (1,), "trial"), False),
        (StateTensor("bias", (1,), "episode"), False),
        (StateTensor("bias", (1,), "never", "act"), False),
    ],
)
def test_only_what_nothing_ever_changes_may_be_a_constant(tensor: StateTensor, fits: bool) -> None:
    m = _manifest()
    outputs = (*m.graphs.act.outputs, *([TensorSpec("next.bias", (1,))] if tensor.written_by else []))
    graphs = replace(m.graphs, act=replace(m.graphs.act, outputs=outputs))
    changed = {"state": (*m.state, tensor), "graphs": graphs, "quantised": Quantised("int8", ("bias",), WIDE)}
    if fits:
        assert replace(m, **changed).quantised == changed["quantised"]
        return
    with pytest.raises(ManifestError, match=r"quantised\.constants names 'bias'"):
        replace(m, **changed)


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a scheme that is unknown": (lambda q: q.update(scheme="int4"), r"quantised\.scheme must be one of"),
    "a tensor that is reset": (
        lambda q: q.update(constants=["weight"]),
        r"quantised\.constants names 'weight'; valid are .* never reset: sigma",
    ),
    "a tensor that act writes": (lambda q: q.update(constants=["ticks"]), "constants names 'ticks'"),
    "a tensor that is not there": (lambda q: q.update(constants=["bias"]), "constants names 'bias'"),
    "a tensor twice": (lambda q: q.update(constants=["sigma", "sigma"]), "names 'sigma' twice"),
    "no tolerance": (lambda q: q.pop("tolerance"), r"lacks the field 'tolerance'"),
    "something more": (lambda q: q.update(bits=8), "unknown field 'bits'"),
}


@pytest.mark.parametrize("name", BAD)
def test_manifests_that_cannot_be_are_refused(name: str) -> None:
    change, sentence = BAD[name]
    tree = json.loads(manifest_json.to_json(_manifest()))
    change(tree["quantised"])
    with pytest.raises(ManifestError, match=sentence):
        manifest_json.from_json(json.dumps(tree).encode())
