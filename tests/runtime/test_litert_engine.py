from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from acclimate.bundle.file import load, write_bundle
from acclimate.bundle.manifest import GraphSpec, Manifest
from acclimate.engines import Engine
from acclimate.engines.litert import LitertEngine
from acclimate.errors import BundleError, EngineError, GoldenError
from acclimate.policy.policy import Policy
from ai_edge_litert import schema_py_generated as schema

from . import bundles, tflite_models
from .engine_conformance import EngineConformance
from .tflite_models import edited


@pytest.fixture
def act_spec() -> GraphSpec:
    return bundles.manifest().graphs.act


def _write(path: Path, act: bytes | None = None, manifest: Manifest | None = None) -> Path:
    """The small bundle with its graphs as TFLite, too."""
    m = manifest or bundles.manifest()
    models = {"act.tflite": act or tflite_models.act_model(), "adapt.tflite": tflite_models.adapt_model()}
    write_bundle(path, m, bundles.members(m) | models)
    return path


class TestLitertEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return LitertEngine()

    @pytest.fixture
    def act_model(self) -> bytes:
        return tflite_models.act_model()

    @pytest.fixture
    def adapt_model(self) -> bytes:
        return tflite_models.adapt_model()


def test_a_policy_acts_adapts_and_reproduces_its_golden_sequence(tmp_path: Path) -> None:
    policy = Policy(load(_write(tmp_path / "tiny.acclimate")), "litert")
    assert {d.graph for d in policy.deviations} == {"act", "adapt"}
    before = policy.state("weight")
    assert policy.adapt(bundles.window(7)).finite
    assert (policy.state("weight") == before).all()
    policy.commit()
    expected, _ = bundles.adapt_numpy(dict(bundles.INITIAL), bundles.window(7))
    assert policy.state("weight") == pytest.approx(expected["weight"], rel=1e-5)


@pytest.mark.parametrize("length", [1, 4, 8, 100, -100, -1])
def test_a_truncated_model_is_refused_in_one_line(act_spec: GraphSpec, length: int) -> None:
    with pytest.raises(EngineError, match=r"^act is refused by ai-edge-litert \d") as caught:
        LitertEngine().load(tflite_models.act_model()[:length], act_spec, "act")
    assert "\n" not in str(caught.value)


def test_an_empty_model_is_refused(act_spec: GraphSpec) -> None:
    with pytest.raises(EngineError, match=r"^act is refused by ai-edge-litert"):
        LitertEngine().load(b"", act_spec, "act")


def test_a_truncated_member_never_reaches_the_engine(tmp_path: Path) -> None:
    path = _write(tmp_path / "tiny.acclimate")
    whole, model = path.read_bytes(), tflite_models.act_model()
    path.write_bytes(whole.replace(model, model[:-8] + bytes(8)))
    with pytest.raises(BundleError, match=r"member 'act\.tflite' is damaged"):
        load(path)


def test_an_operator_that_the_engine_lacks_is_named(act_spec: GraphSpec) -> None:
    def replace_first(tables: schema.ModelT) -> None:
        code = tables.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "Gyrate"

    with pytest.raises(EngineError, match=r"act is refused by ai-edge-litert .*Gyrate") as caught:
        LitertEngine().load(edited(tflite_models.act_model(), replace_first), act_spec, "act")
    assert "\n" not in str(caught.value)


def test_a_model_that_names_no_tensors_is_refused(act_spec: GraphSpec) -> None:
    def forget(tables: schema.ModelT) -> None:
        tables.signatureDefs = []

    with pytest.raises(EngineError, match="act has 0 signatures, expected one"):
        LitertEngine().load(edited(tflite_models.act_model(), forget), act_spec, "act")


def test_inputs_of_another_type_are_refused(act_spec: GraphSpec) -> None:
    def count(tables: schema.ModelT) -> None:
        graph = tables.subgraphs[0]
        graph.tensors[graph.inputs[0]].type = schema.TensorType.INT32

    with pytest.raises(EngineError, match="act: input 'obs' is int32, expected float32"):
        LitertEngine().load(edited(tflite_models.act_model(), count), act_spec, "act")


def test_a_graph_of_another_shape_than_the_manifest_says_is_refused(act_spec: GraphSpec) -> None:
    wrong = replace(act_spec, inputs=(replace(act_spec.inputs[0], shape=(7,)), *act_spec.inputs[1:]))
    with pytest.raises(EngineError, match=r"act: input 'obs' is of shape \[4\], expected one of shape \[7\]"):
        LitertEngine().load(tflite_models.act_model(), wrong, "act")


def test_a_graph_that_loads_but_computes_otherwise_is_refused(tmp_path: Path) -> None:
    def carry_more(tables: schema.ModelT) -> None:
        """Twice the share of the action before, which is a constant of this graph."""
        changed = 0
        for buffer in tables.buffers:
            if buffer.data is not None and bytes(buffer.data) == tflite_models.CARRY_BYTES:
                buffer.data, changed = list(tflite_models.MORE_BYTES), changed + 1
        assert changed == 1

    model = edited(tflite_models.act_model(), carry_more)
    with pytest.raises(
        GoldenError, match=r"golden check of act: 'action' is .* on engine 'litert', expected"
    ):
        Policy(load(_write(tmp_path / "tiny.acclimate", model)), "litert")


def test_a_bundle_without_tflite_members_says_so(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    with pytest.raises(EngineError, match=r"has no 'act\.tflite', which engine 'litert' needs"):
        Policy(load(path), "litert")


def test_it_says_nothing_and_imports_no_tool(tmp_path: Path) -> None:
    """What the library writes to standard error would stand on the user's terminal with every start."""
    path = _write(tmp_path / "tiny.acclimate")
    code = (
        "import sys, acclimate; policy = acclimate.Policy(acclimate.load(sys.argv[1]), 'litert')\n"
        "print(policy.engine.name, sorted({'torch', 'jax', 'onnxruntime', 'flatbuffers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "litert []\n"
    assert done.stderr == ""


def test_it_loads_where_standard_error_is_closed(tmp_path: Path) -> None:
    code = "import sys, acclimate; print(acclimate.Policy(acclimate.load(sys.argv[1]), 'litert').engine.name)"
    command = 'exec "$0" -c "$1" "$2" 2>&-'
    path = str(_write(tmp_path / "tiny.acclimate"))
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, code, path], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "litert\n"


def test_a_graph_without_static_shapes_is_refused(act_spec: GraphSpec) -> None:
    """A shape that is computed: whoever holds a view of such a tensor reads what is no longer there."""

    def forget_a_shape(tables: schema.ModelT) -> None:
        graph = tables.subgraphs[0]
        reshape = next(op for op in graph.operators if len(op.inputs) == 2 and _is_shape(graph, op.inputs[1]))
        graph.tensors[reshape.inputs[1]].buffer = 0  # no longer a constant

    def _is_shape(graph: schema.SubGraphT, index: int) -> bool:
        return bool(graph.tensors[index].type == schema.TensorType.INT32)

    with pytest.raises(EngineError, match=r"^act: '.*' gets its shape only as the graph runs"):
        LitertEngine().load(edited(tflite_models.act_model(), forget_a_shape), act_spec, "act")
