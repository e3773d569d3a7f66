"""`export --quantize`: weights of 8 bits where they stay, the loss measured, and what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.command.cli import main
from acclimate.errors import GoldenError, PolicyError, UsageError
from acclimate.policy.policy import Policy
from acclimate_export.bundle.trained import from_bundle
from acclimate_export.check.parity import LIMIT, compare
from acclimate_export.graphs.freezing import constants
from acclimate_export.graphs.tracing import trace_act
from acclimate_export.tflite.convert import convert_graph
from acclimate_export.tflite.flatbuffer import operators
from acclimate_export.tflite.quantising import LEAST, quantise
from ai_edge_litert import schema_py_generated as schema

from tests.runtime.tflite_models import edited

from . import runs

MEMBER = "act.tflite"


@pytest.fixture
def bundle(quantised: Path) -> Bundle:
    return load(quantised)


def _weights(model: bytes) -> list[schema.TensorT]:
    (graph,) = schema.ModelT.InitFromPackedBuf(model).subgraphs
    return [tensor for tensor in graph.tensors if tensor.type == schema.TensorType.INT8]


def test_large_matrices_have_8_bits_and_one_scale(bundle: Bundle) -> None:
    weights = _weights(bundle.members[MEMBER])
    sizes = sorted(int(np.prod(weight.shape)) for weight in weights)
    state = {t.name: int(np.prod(t.shape)) for t in bundle.manifest.state if len(t.shape) == 2}
    assert sizes == sorted(size for name, size in state.items() if size >= LEAST and "bias" not in name)
    assert all(len(weight.quantization.scale) == 1 for weight in weights)


def test_what_never_changes_is_a_constant_of_the_graph(bundle: Bundle) -> None:
    assert bundle.manifest.quantised is not None
    fixed = set(constants(from_bundle(bundle).policy))
    assert set(bundle.manifest.quantised.constants) == fixed
    inputs = {t.name for t in bundle.manifest.act_spec("tflite").inputs}
    assert inputs == {"obs", "noise", "state.hidden", "state.previous_action", "state.begins"}
    assert fixed.isdisjoint(name.removeprefix("state.") for name in inputs)


def test_its_golden_check_is_its_own(bundle: Bundle) -> None:
    """The recorded sequence is torch's: 8 bits are off by more than float32 may be, and by no more than is said."""
    tolerance = bundle.manifest.tolerance_of("tflite").golden_rel
    found = max(d.max_rel for d in Policy(bundle, "litert").deviations)
    assert bundle.manifest.tolerance.golden_rel < found <= tolerance < 3.0 * found
    assert max(d.max_rel for d in Policy(bundle, "onnxruntime").deviations) < 1e-5


def test_weights_that_are_others_fail_it(bundle: Bundle, tmp_path: Path) -> None:
    def mirror(tables: schema.ModelT) -> None:
        (graph,) = tables.subgraphs
        weight = next(t for t in graph.tensors if t.type == schema.TensorType.INT8)
        values = np.array(tables.buffers[weight.buffer].data, np.uint8).view(np.int8)
        tables.buffers[weight.buffer].data = (-values).view(np.uint8)

    path = tmp_path / "mirrored.acclimate"
    model = edited(bundle.members[MEMBER], mirror)
    write_bundle(path, bundle.manifest, {**bundle.members, MEMBER: model})
    with pytest.raises(GoldenError, match="golden check of act"):
        Policy(load(path), "litert")


def test_a_constant_cannot_be_set(bundle: Bundle) -> None:
    policy = Policy(bundle, "litert")
    name = next(iter(constants(from_bundle(bundle).policy)))
    with pytest.raises(
        PolicyError, match=rf"state '{name}' cannot be set on engine 'litert': act\.tflite is quantised"
    ):
        policy.set_state(name, policy.state(name))
    other = Policy(bundle, "onnxruntime")
    other.set_state(name, other.state(name))


def test_verify_says_that_it_is_quantised(
    bundle: Bundle, quantised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row.engine: row for row in compare(from_bundle(bundle), bundle, 100, 0).rows}
    assert rows["litert"].ok
    assert rows["litert"].max_rel > 10.0 * LIMIT
    capsys.readouterr()
    assert main(["verify", str(quantised), "--inputs", "50"]) == 0
    assert "act on litert is quantised, and near torch" in capsys.readouterr().out


def test_the_loss_is_told(trained_runs: Mapping[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """int8, of the oracle: it is told a task, which is no constant."""
    run = trained_runs["oracle"]
    out = run / "int8.acclimate"
    capsys.readouterr()
    command = ["export", str(run), "--format", "onnx,tflite", "--quantize", "int8"]
    assert main([*command, "--out", str(out), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    loss = tree["quantised"]
    assert 0.0 < loss["action_rms"] < loss["action_max"] < 1.0
    assert loss["ticks"] >= 1000
    assert loss["metric"] == {"name": "error", "unit": "rad"}
    driving = loss["driving"]
    assert driving["difference"]["mean"] == pytest.approx(
        driving["quantised"]["mean"] - driving["float32"]["mean"]
    )
    assert driving["difference"]["n"] == driving["float32"]["n"] == 12
    assert driving["difference"]["low"] < driving["difference"]["high"]
    assert tree["facts"][MEMBER]["quantised"] == "int8"
    found = load(out)
    assert "state.task" in {t.name for t in found.manifest.act_spec("tflite").inputs}
    assert operators(found.members[MEMBER]).count("QUANTIZE") >= 1


def test_a_graph_without_large_matrices_is_refused(bundle: Bundle) -> None:
    """As long as its weights are state, only small matrices are constants."""
    trained = from_bundle(bundle)
    model = convert_graph(trace_act(trained.policy), "act")
    with pytest.raises(UsageError, match="--quantize dynamic: no matrix of this policy has 64 entries"):
        quantise(model, "dynamic", [])


def test_the_same_run_gives_the_same_bytes(trained_runs: Mapping[str, Path], quantised: Path) -> None:
    again = runs.export_as(trained_runs["rl2"], "onnx,tflite", "--quantize", "dynamic")
    assert again.read_bytes() == quantised.read_bytes()


REFUSED = {
    "weights that adapt": (
        "maml",
        ("--format", "onnx,tflite", "--quantize", "int8"),
        "--quantize int8: the weights of a policy of 'maml' adapt on the device, in float32; quantise one",
    ),
    "nothing to quantise": (
        "rl2",
        ("--quantize", "dynamic", "--format", "onnx"),
        "--quantize dynamic is about the TFLite form, and there is none: add it to --format",
    ),
    "an unknown scheme": (
        "rl2",
        ("--format", "onnx,tflite", "--quantize", "int4"),
        "--quantize int4: there is no such scheme; did you mean 'int8'? valid: dynamic, int8",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(
    name: str, trained_runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    algorithm, options, sentence = REFUSED[name]
    run, out = trained_runs[algorithm], tmp_path / "refused.acclimate"
    capsys.readouterr()
    assert main(["export", str(run), "--out", str(out), *options]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not out.exists()
