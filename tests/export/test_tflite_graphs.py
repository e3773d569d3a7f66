"""Graphs as TFLite: built-in operators, our names, few operators, and nothing about this machine."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.command.cli import main
from acclimate.engines import open_engine
from acclimate.errors import UsageError
from acclimate_export.bundle.trained import from_bundle
from acclimate_export.graphs.tracing import Traced, trace_act
from acclimate_export.tflite.convert import convert_graph
from acclimate_export.tflite.flatbuffer import operators
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from tests.runtime.tflite_models import Tensors, traced

_RESHAPING = {"RESHAPE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE", "BROADCAST_TO", "CAST", "GATHER"}


def _models(bundle: Bundle) -> Iterator[tuple[str, bytes, GraphSpec]]:
    for name, spec in (("act", bundle.manifest.graphs.act), ("adapt", bundle.manifest.graphs.adapt)):
        if spec is not None:
            yield name, bundle.members[f"{name}.tflite"], spec


def test_operators_are_built_in(bundle: Bundle) -> None:
    for _, model, _ in _models(bundle):
        tables = schema.ModelT.InitFromPackedBuf(model)
        for code in tables.operatorCodes:
            assert not code.customCode
            assert code.builtinCode != schema.BuiltinOperator.CUSTOM
            assert code.version <= 5  # of FULLY_CONNECTED; what tflite-runtime 2.14 has
        assert not [op for op in operators(model) if op.startswith("STABLEHLO_")]


def test_tensors_are_float32_of_static_shapes(bundle: Bundle) -> None:
    for _, model, _ in _models(bundle):
        (graph,) = schema.ModelT.InitFromPackedBuf(model).subgraphs
        for index in (*graph.inputs, *graph.outputs):
            assert graph.tensors[index].type == schema.TensorType.FLOAT32
        assert all(tensor.shapeSignature is None for tensor in graph.tensors)


def test_inputs_and_outputs_have_the_names_and_the_order_of_the_manifest(bundle: Bundle) -> None:
    for name, model, spec in _models(bundle):
        tables = schema.ModelT.InitFromPackedBuf(model)
        (graph,), (signature,) = tables.subgraphs, tables.signatureDefs
        assert signature.signatureKey.decode() == name
        for entries, indices, wanted in (
            (signature.inputs, graph.inputs, spec.inputs),
            (signature.outputs, graph.outputs, spec.outputs),
        ):
            assert [entry.name.decode() for entry in entries] == [t.name for t in wanted]
            assert [entry.tensorIndex for entry in entries] == list(indices)
            assert [tuple(graph.tensors[i].shape) for i in indices] == [t.shape for t in wanted]


def test_act_is_lean(exported: Mapping[str, Path]) -> None:
    """As in ONNX, and a clamp: reshaped is what is seen, the previous action, the noise, and each output."""
    found = load(exported["maml"])
    ops = operators(found.members["act.tflite"])
    assert len(ops) <= 31
    assert sum(op in _RESHAPING for op in ops) <= 3 + len(found.manifest.graphs.act.outputs)


def test_a_step_of_the_gru_is_lean(exported: Mapping[str, Path]) -> None:
    ops = operators(load(exported["rl2"]).members["act.tflite"])
    assert len(ops) <= 48
    assert sum(op in _RESHAPING for op in ops) <= 8


def test_the_same_policy_gives_the_same_bytes(exported: Mapping[str, Path]) -> None:
    """The one with most operators; of another, test_bundling exports the same run in another process."""
    bundle = load(exported["objectives"])
    trained = from_bundle(bundle)
    again = convert_graph(trace_act(trained.policy), "act")
    assert again == bundle.members["act.tflite"]


def test_nothing_about_this_machine_is_inside(bundle: Bundle) -> None:
    checkout = Path(__file__).parents[2]
    telling = [str(checkout), str(Path.home()), "site-packages", ".py", "/tmp", "torch", "MLIR", "Wrapper",
               socket.gethostname(), getpass.getuser() + "/"]  # fmt: skip
    for _, model, _ in _models(bundle):
        assert [text for text in telling if text.encode() in model] == []


# ψ of 3 policies for 4 actions and 2 features, and the task vector w; Barreto et al. 2017, equation 7.
def _gpi(t: Tensors) -> Tensors:
    psi = t["obs"].tanh().reshape(1, 1, 2) * t["state.psi"]  # (3, 4, 2)
    value = (psi @ t["state.w"].unsqueeze(-1)).squeeze(-1)  # (3, 4)
    best = value.amax(0)
    return {"action": (best - best.amax(0, keepdim=True) >= 0.0).float(), "info.value": best.amax(0, True)}


# The regression that finds w: normal equations with a ridge, of 20 transitions with 2 features, in closed form.
def _regression(t: Tensors) -> Tensors:
    phi, reward = t["window.phi"], t["window.reward"].unsqueeze(-1)
    a = phi.T @ phi + 1e-3 * torch.eye(2)
    b = phi.T @ reward
    det = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    inverse = torch.stack([torch.stack([a[1, 1], -a[0, 1]]), torch.stack([-a[1, 0], a[0, 0]])]) / det
    return {"next.w": (inverse @ b).squeeze(-1)}


def _spec(**shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name.replace("__", "."), shape) for name, shape in shapes.items())


SUCCESSOR_FEATURES: dict[str, tuple[GraphSpec, Callable[[Tensors], Tensors]]] = {
    "gpi": (
        GraphSpec(_spec(obs=(2,), state__psi=(3, 4, 2), state__w=(2,)), _spec(action=(4,), info__value=(1,))),
        _gpi,
    ),
    "regression": (
        GraphSpec(_spec(window__phi=(20, 2), window__reward=(20,)), _spec(next__w=(2,))),
        _regression,
    ),
}


@pytest.mark.parametrize("name", SUCCESSOR_FEATURES)
def test_successor_features_are_built_in_too(name: str) -> None:
    spec, function = SUCCESSOR_FEATURES[name]
    model = convert_graph(traced(spec, function), name)
    assert not [op for op in operators(model) if op.startswith(("custom", "STABLEHLO"))]
    graph = open_engine("litert").load(model, spec, name).bind()
    rng = np.random.default_rng(3)
    for _ in range(20):
        for array in graph.inputs.values():
            array[...] = rng.standard_normal(array.shape)
        graph.run()
        expected = function({name: torch.from_numpy(array) for name, array in graph.inputs.items()})
        for output, value in expected.items():
            np.testing.assert_allclose(graph.outputs[output], value.numpy(), rtol=1e-4, atol=1e-5)


def test_constants_of_a_window_stay_constants() -> None:
    """Discounts: a product with a matrix that nothing else computes."""
    discounts = torch.triu(0.9 ** (torch.arange(5)[None, :] - torch.arange(5)[:, None]).clamp_min(0).float())
    spec = GraphSpec(_spec(window__reward=(3, 5)), _spec(info__returns=(3, 5)))
    model = convert_graph(traced(spec, lambda t: {"info.returns": t["window.reward"] @ discounts.T}), "adapt")
    assert operators(model) == ["FULLY_CONNECTED"]


def test_a_difference_keeps_its_precision() -> None:
    """(a − b)·s as it stands, not as a·s − b·s: a policy of high gain sees the rounding."""
    spec = GraphSpec(_spec(obs=(2,)), _spec(action=(1,)))
    minus, factor = torch.tensor([[1.0], [-1.0]]), torch.tensor([[7.3]])
    model = convert_graph(
        traced(spec, lambda t: {"action": ((t["obs"].unsqueeze(0) @ minus) * factor).reshape(1)}), "act"
    )
    graph = open_engine("litert").load(model, spec, "act").bind()
    for k in range(50):
        a, b = np.float32(3.0 + 0.01 * k), np.float32(3.001 + 0.01 * k)
        graph.inputs["obs"][...] = a, b
        graph.run()
        assert graph.outputs["action"][0] == pytest.approx(float(a - b) * 7.3, rel=1e-6)


LACKING: dict[str, Callable[[Tensor], Tensor]] = {
    "an operator that it never heard of": torch.special.i0e,
    "a factorisation": lambda x: x + torch.linalg.cholesky(torch.outer(x, x) + torch.eye(2))[0],
}


@pytest.mark.parametrize("name", LACKING)
def test_what_litert_torch_lacks_is_refused_in_one_sentence(name: str) -> None:
    graph = traced(
        GraphSpec(_spec(obs=(2,)), _spec(action=(2,))), lambda t: {"action": LACKING[name](t["obs"])}
    )
    with pytest.raises(UsageError, match=r"^act: litert-torch cannot convert it: ") as caught:
        convert_graph(graph, "act")
    assert "\n" not in str(caught.value)


def test_what_interpreters_lack_is_refused_in_one_sentence() -> None:
    """An identity matrix that is made anew in each run: policies have theirs as a constant, by `simplify`."""
    module = make_fx(lambda x: (x + torch.eye(2)[0],))(torch.ones(2))
    graph = Traced(module, {"obs": torch.ones(2)}, {"action": (2,)})
    sentence = "^act needs operators that are not built into TFLite's interpreters: STABLEHLO_IOTA; "
    with pytest.raises(UsageError, match=sentence):
        convert_graph(graph, "act")


def test_an_export_says_what_it_did_and_nothing_else(
    trained_runs: Mapping[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The tools talk to both streams, past Python and through its logs."""
    run = trained_runs["rl2"]
    capfd.readouterr()
    command = [
        "export",
        str(run),
        "--format",
        "onnx,tflite",
        "--out",
        str(tmp_path / "x.acclimate"),
    ]
    assert main([*command, "--json"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    facts = json.loads(said.out)["facts"]
    assert facts["act.tflite"]["operators"] == 48
    assert facts["act.tflite"]["bytes"] == json.loads(said.out)["members"]["act.tflite"]
