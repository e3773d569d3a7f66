"""What a bundle's graphs are made of: standard operators, static shapes, few nodes, and nothing about this machine."""

from __future__ import annotations

import getpass
import socket
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import torch
from acclimate.bundle import manifest_json
from acclimate.bundle.file import Bundle, load
from acclimate_export.graphs.onnx import OPSET, to_onnx
from acclimate_export.graphs.tracing import trace_act

from benchmarks._combinations import Combination

_RESHAPING = {"Reshape", "Unsqueeze", "Squeeze", "Expand", "Identity", "Transpose", "Gather", "Cast"}


def _models(bundle: Bundle) -> Iterator[onnx.ModelProto]:
    for name, content in bundle.members.items():
        if name.endswith(".onnx"):
            yield onnx.load_from_string(content)


def test_standard_operators_of_one_opset(bundle: Bundle) -> None:
    for model in _models(bundle):
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
        assert model.ir_version <= 10  # the newest that onnxruntime 1.18 reads
        assert not model.functions
        for node in model.graph.node:
            assert node.domain == ""
            assert onnx.defs.get_schema(node.op_type, OPSET).deprecated is False


def test_static_shapes_and_float32(bundle: Bundle) -> None:
    for model in _models(bundle):
        for tensor in (*model.graph.input, *model.graph.output):
            kind = tensor.type.tensor_type
            assert kind.elem_type == onnx.TensorProto.FLOAT
            assert all(axis.HasField("dim_value") for axis in kind.shape.dim)


def test_every_input_is_used(bundle: Bundle) -> None:
    for model in _models(bundle):
        read = {name for node in model.graph.node for name in node.input}
        assert {tensor.name for tensor in model.graph.input} <= read


def test_act_is_lean(adaptive: Bundle) -> None:
    """An Unsqueeze for what is seen and one for the previous action, and a Reshape for each output: else arithmetic."""
    nodes = [node.op_type for node in onnx.load_from_string(adaptive.members["act.onnx"]).graph.node]
    assert len(nodes) <= 28
    assert nodes.count("Gemm") == 3
    outputs = len(adaptive.manifest.graphs.act.outputs)
    assert sum(node in _RESHAPING for node in nodes) <= 2 + outputs


def test_a_step_of_the_gru_is_lean(exported: Mapping[str, Path]) -> None:
    """One product for the input, one for the hidden state, two for gain and offset; three splits into gates."""
    nodes = [
        node.op_type for node in onnx.load_from_string(load(exported["rl2"]).members["act.onnx"]).graph.node
    ]
    assert len(nodes) <= 39
    assert (nodes.count("Gemm"), nodes.count("Split")) == (4, 3)
    assert sum(node in _RESHAPING for node in nodes) <= 7


def test_no_node_is_left_that_torchs_whole_optimisation_leaves_out() -> None:
    """Of the policy with most operators: the rules that `optimising` does without find nothing."""
    traced = trace_act(Combination("servo", "objectives").tiny().policy)
    with warnings.catch_warnings(action="ignore"):
        whole = torch.onnx.export(
            traced.graph,
            tuple(traced.inputs.values()),
            dynamo=True,
            optimize=True,
            opset_version=OPSET,
            verbose=False,
        )
    assert whole is not None
    assert to_onnx(traced, "act").nodes == len(whole.model_proto.graph.node)


def test_nothing_about_this_machine_is_inside(bundle: Bundle) -> None:
    checkout = Path(__file__).parents[2]
    telling = [str(checkout), str(Path.home()), str(Path(torch.__file__).parent), "site-packages", ".py", "/tmp",
               "torch", socket.gethostname(), getpass.getuser() + "/"]  # fmt: skip
    for name, content in bundle.members.items():
        if name.endswith(".onnx"):
            assert [text for text in telling if text.encode() in content] == []
    manifest = manifest_json.to_json(bundle.manifest).decode()
    assert [
        text
        for text in (str(checkout), str(Path.home()), "/tmp", str(bundle.path.parent))
        if text in manifest
    ] == []


def test_nodes_carry_no_remarks(bundle: Bundle) -> None:
    for model in _models(bundle):
        assert not model.metadata_props
        assert model.producer_version == ""
        assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
