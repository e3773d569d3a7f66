"""Graphs as C: they need no heap, tell nothing of this machine, and stay small."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.command.cli import main
from acclimate.engines import open_engine
from acclimate.engines.c_source import read_face
from acclimate.errors import UsageError
from acclimate.policy.trust import trust
from acclimate_export.bundle.trained import from_bundle
from acclimate_export.c.generate import to_c
from acclimate_export.c.shaping import ALIGNMENT, STACK, shape
from acclimate_export.c.sizes import sizes
from acclimate_export.check.parity import compare
from acclimate_export.graphs.onnx import OnnxGraph
from acclimate_export.graphs.translation import Converted, Translation
from onnx import TensorProto, helper

HARMLESS = {
    "memcpy",
    "memset",
    "memmove",
    "expf",
    "logf",
    "powf",
    "sqrtf",
    "act",
    "adapt",
}  # of the C library, and ours


def _sources(bundle: Bundle) -> dict[str, Translation]:
    """Of the bundle's ONNX members: C is made of nothing else."""
    return {
        name: Translation(name, None, OnnxGraph(bundle.members[f"{name}.onnx"], spec, 0))  # type: ignore[arg-type]
        for name, spec in _specs(bundle).items()
    }


@pytest.fixture
def members(bundle: Bundle) -> dict[str, bytes]:
    """Those in C."""
    return {name: content for name, content in bundle.members.items() if name.endswith(".c")}


def _specs(bundle: Bundle) -> dict[str, GraphSpec]:
    graphs = bundle.manifest.graphs
    return {"act": graphs.act} | ({"adapt": graphs.adapt} if graphs.adapt else {})


def test_the_same_policy_gives_the_same_bytes(adaptive: Bundle) -> None:
    """In another process, where sets and hashes have another order."""
    program = (
        "import hashlib\n"
        "from acclimate.bundle.file import load\n"
        "from acclimate_export.c.generate import to_c\n"
        "from tests.export.test_c_graphs import _sources\n"
        f"for source in _sources(load({str(adaptive.path)!r})).values():\n"
        "    print(hashlib.sha256(to_c(source).model).hexdigest())\n"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    expected = [hashlib.sha256(adaptive.members[f"{name}.c"]).hexdigest() for name in ("act", "adapt")]
    assert done.stdout.split() == expected


def test_nothing_about_this_machine_is_inside(members: dict[str, bytes]) -> None:
    telling = [str(Path(__file__).parents[2]), str(Path.home()), "/tmp", "site-packages", ".py", socket.gethostname(),
               getpass.getuser() + "/", "gcc"]  # fmt: skip
    for content in members.values():
        text = content.decode("ascii")
        assert [word for word in telling if word in text] == []


def test_no_heap_no_file_no_state(members: dict[str, bytes], tmp_path: Path) -> None:
    """As the linker sees it; also as C99 without a warning, and both graphs in one program."""
    objects = []
    for name, content in members.items():
        (tmp_path / name).write_bytes(content)
        objects.append(f"{name}.o")
        strict = ["-std=c99", "-Wall", "-Werror", "-Wno-unused-function"]
        subprocess.run(["cc", *strict, "-O1", "-c", "-o", objects[-1], name], cwd=tmp_path, check=True)
    linked = subprocess.run(["ld", "-r", "-o", "all.o", *objects], cwd=tmp_path, check=False)
    assert linked.returncode == 0
    table = subprocess.run(["nm", "all.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[-2:] for line in table.splitlines()]
    assert {name for kind, name in symbols if kind.isupper()} <= HARMLESS
    assert [
        name for kind, name in symbols if kind in "bBdDcC"
    ] == []  # nothing that a second caller could disturb


def test_the_head_is_the_manifests(bundle: Bundle, members: dict[str, bytes]) -> None:
    for name, spec in _specs(bundle).items():
        face = read_face(members[f"{name}.c"], name)
        assert (face.graph, face.inputs, face.outputs) == (name, spec.inputs, spec.outputs)


def test_products_are_the_preludes(members: dict[str, bytes]) -> None:
    for content in members.values():
        text = content.decode()
        body = text[text.index("#define tanhf") :]
        assert "acclimate_matmul(" in body
        assert re.findall(r"acc \+= (?:input0.* \* input1|a_val)", body) == []


def test_sizes_are_told(bundle: Bundle, members: dict[str, bytes]) -> None:
    for name, spec in _specs(bundle).items():
        text = members[f"{name}.c"]
        facts = sizes(text.decode(), read_face(text, name))
        assert set(facts) == {"code", "constants", "stack", "workspace", "state"}
        read = [t for t in spec.inputs if t.name.startswith("state.")]
        assert facts["state"] == 4 * sum(int(np.prod(t.shape)) for t in read)
        stack, workspace = facts["stack"], facts["workspace"]
        assert isinstance(stack, int)
        assert isinstance(workspace, int)
        assert 0 < stack < 4 * STACK
        assert workspace % ALIGNMENT == 0
        assert (workspace == 0) == (name == "act" and bundle.manifest.objectives is None)


def test_without_a_compiler_there_are_fewer_sizes(
    adaptive: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = _sources(adaptive)["act"]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert set(to_c(source).facts) == {"workspace", "state"}


def _source(nodes: list[onnx.NodeProto], shape: tuple[int, ...], *constants: onnx.TensorProto) -> Translation:
    """A graph from x to y, both of this shape."""
    kind = TensorProto.FLOAT
    ends = [[helper.make_tensor_value_info(name, kind, shape)] for name in "xy"]
    graph = helper.make_graph(nodes, "g", *ends, list(constants))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("some.where", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    spec = GraphSpec((TensorSpec("x", shape),), (TensorSpec("y", shape),))
    return Translation("act", None, OnnxGraph(model.SerializeToString(), spec, len(nodes)))  # type: ignore[arg-type]


def test_an_operator_that_the_generator_lacks_is_named_with_its_node() -> None:
    bend = helper.make_node("Bend", ["x"], ["y"], name="node_bend_7", domain="some.where")
    with pytest.raises(
        UsageError, match=r"'act' cannot be exported as C: .* the operator Bend of node 'node_bend_7'"
    ) as caught:
        to_c(_source([bend], (4,)))
    assert "leave 'c' out of --format" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_in_a_way_that_the_generator_lacks_is_named_too() -> None:
    text = helper.make_node("StringNormalizer", ["x"], ["y"], name="node_text")
    with pytest.raises(
        UsageError, match=r"the operator StringNormalizer of node 'node_text' .*only string tensors"
    ):
        to_c(_source([text], (4,)))


def test_the_sentence_reaches_the_user(
    trained_runs: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(_: Translation) -> Converted:
        bend = helper.make_node("Bend", ["x"], ["y"], name="node_bend_7", domain="some.where")
        return to_c(_source([bend], (4,)))

    monkeypatch.setattr("acclimate_export.c.generate.to_c", refuse)
    out = tmp_path / "x.acclimate"
    assert main(["export", str(trained_runs["robust"]), "--format", "c", "--out", str(out)]) == 2
    assert "the operator Bend of node 'node_bend_7'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 3.0, -3.0])
def test_a_clip_hands_a_nan_on(value: float) -> None:
    limits = [
        helper.make_tensor(name, TensorProto.FLOAT, [], [x]) for name, x in (("low", -1.0), ("high", 1.0))
    ]
    source = _source([helper.make_node("Clip", ["x", "low", "high"], ["y"], name="n")], (40,), *limits)
    graph = open_engine("native").load(to_c(source).model, source.onnx.spec, "clip").bind()
    graph.inputs["x"][...] = value
    graph.run()
    np.testing.assert_array_equal(graph.outputs["y"], np.full(40, np.clip(value, -1.0, 1.0), np.float32))


def test_tanh_is_right_everywhere() -> None:
    count = 100_000
    x = np.concatenate([np.linspace(-12, 12, count - 6), [np.inf, -np.inf, 0.0, 1e-38, -1e30, 1e30]]).astype(
        np.float32
    )
    source = _source([helper.make_node("Tanh", ["x"], ["y"], name="n")], (count,))
    graph = open_engine("native").load(to_c(source).model, source.onnx.spec, "tanh").bind()
    graph.inputs["x"][...] = x
    graph.run()
    np.testing.assert_allclose(graph.outputs["y"], np.tanh(x.astype(np.float64)), rtol=5e-7)
    assert np.abs(graph.outputs["y"]).max() == 1.0
    graph.inputs["x"][::3] = np.nan
    graph.run()
    assert np.isnan(graph.outputs["y"][::3]).all()


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 5, 5), (1, 64, 64), (7, 3, 17), (8, 9, 16), (5, 1, 1), (13, 33, 40), (4, 2, 8)]
)
def test_products_of_all_shapes(m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(m * k * n)
    b = rng.standard_normal((k, n)).astype(np.float32)
    back = rng.standard_normal((n, k)).astype(np.float32)
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, x.shape, x.ravel()) for name, x in (("b", b), ("c", back))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "b"], ["h"], name="n1"),
        helper.make_node("MatMul", ["h", "c"], ["y"], name="n2"),
    ]
    source = _source(nodes, (m, k), *constants)
    text = to_c(source).model
    assert b"    acclimate_matmul(" in text
    graph = open_engine("native").load(text, source.onnx.spec, "product").bind()
    graph.inputs["x"][...] = x = rng.standard_normal((m, k)).astype(np.float32)
    graph.run()
    expected = x.astype(np.float64) @ b @ back
    np.testing.assert_allclose(
        graph.outputs["y"], expected, rtol=0, atol=1e-5 * np.abs(expected).max() + 1e-6
    )


def test_a_graph_may_think_in_float64() -> None:
    """Each type of tensor in between has a zone of the workspace of its own; a third in float32 is off by 3e-8."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], name="n1", to=TensorProto.DOUBLE),
        helper.make_node("Div", ["wide", "three"], ["third"], name="n2"),
        helper.make_node("Less", ["third", "zero"], ["below"], name="n3"),
        helper.make_node("Neg", ["third"], ["other"], name="n4"),
        helper.make_node("Where", ["below", "other", "third"], ["size"], name="n5"),
        helper.make_node("Sub", ["size", "near"], ["rest"], name="n6"),
        helper.make_node("Mul", ["rest", "much"], ["more"], name="n7"),
        helper.make_node("Cast", ["more"], ["y"], name="n8", to=TensorProto.FLOAT),
    ]
    numbers = {"three": 3.0, "zero": 0.0, "near": 1.0 / 3.0 - 1e-12, "much": 1e12}
    constants = [helper.make_tensor(name, TensorProto.DOUBLE, [], [x]) for name, x in numbers.items()]
    source = _source(nodes, (1000,), *constants)
    text = to_c(source).model
    zones: dict[str, list[int]] = {"double": [], "bool": []}
    for kind, offset in re.findall(r"(double|bool) \*const tmp\w+ = .*workspace \+ (\d+)", text.decode()):
        zones[kind].append(int(offset))
    assert max(zones["double"]) < min(zones["bool"])
    graph = open_engine("native").load(text, source.onnx.spec, "wide").bind()
    graph.inputs["x"][...] = np.where(np.arange(1000) % 2, 1.0, -1.0)
    graph.run()
    np.testing.assert_allclose(graph.outputs["y"], 1.0, rtol=1e-3)


_PLACED = re.compile(r"(?:\(\*const (tmp\w+)\).*|\*const (tmp\w+)) = \(void \*\)\(workspace \+ (\d+)\);")


def _planned(text: str) -> Iterator[tuple[str, int, int, int]]:
    """Of each tensor in the workspace: its name, its offset, and the first and the last call that names it."""
    function = text[text.index("\nvoid adapt(") :]
    calls = [line for line in function.splitlines() if line.startswith("    node")]
    for nested, flat, offset in _PLACED.findall(function):
        alive = [i for i, call in enumerate(calls) if re.search(rf"\b{nested or flat}\b", call)]
        yield nested or flat, int(offset), alive[0], alive[-1]


def test_tensors_alive_at_once_never_share_memory(adaptive: Bundle) -> None:
    text = adaptive.members["adapt.c"].decode()
    sizes = _sizes(text)
    placed = [(at, at + sizes[name], first, last) for name, at, first, last in _planned(text)]
    assert len(placed) > 50
    for i, (begin, end, first, last) in enumerate(placed):
        for other_begin, other_end, other_first, other_last in placed[:i]:
            together = first <= other_last and other_first <= last
            assert not together or end <= other_begin or other_end <= begin
    workspace = read_face(text.encode(), "adapt").workspace
    assert max(end for _, end, _, _ in placed) <= workspace
    assert sum(end - begin for begin, end, *_ in placed) > 3 * workspace  # it is used again and again


def _sizes(text: str) -> dict[str, int]:
    """Bytes of each tensor, by the parameters of the function that writes it."""
    parameters = {
        name: [re.sub(r"restrict ", "", p) for p in listed.split(", ")]
        for name, listed in re.findall(r"^EMX_NODE_FN void (\w+)\((.*)\) \{", text, re.MULTILINE)
    }
    sizes: dict[str, int] = {}
    for name, listed in re.findall(r"^    (node\w+)\((.*)\);", text, re.MULTILINE):
        for argument, parameter in zip(listed.split(", "), parameters[name], strict=True):
            kind = {"bool": 1, "int64_t": 8, "double": 8}.get(parameter.removeprefix("const ").split()[0], 4)
            count = int(np.prod([int(n) for n in re.findall(r"\[(\d+)\]", parameter)]))
            sizes[argument] = max(sizes.get(argument, 0), kind * count)
    return sizes


def test_text_that_is_not_as_expected_is_left_as_it_is() -> None:
    """Another version of the generator may write otherwise: slower, then, but not wrong."""
    text = "void act(const float x[1], float y[1]) {\n    y[0] = x[0];\n}\n"
    assert shape(text, "act") == (text, 0)


def test_verify_finds_the_engine_that_differs(exported: Mapping[str, Path], tmp_path: Path) -> None:
    bundle, name = load(exported["robust"]), "#define tanhf acclimate_tanh"
    text = bundle.members["act.c"].decode()
    parities = []
    for act in (text, text.replace(name, "#define tanhf(x) (acclimate_tanh(x) * 0.999f)")):
        path = tmp_path / "robust.acclimate"
        members = {**bundle.members, "act.c": act.encode()}
        write_bundle(path, bundle.manifest, {n: m for n, m in members.items() if not n.endswith(".tflite")})
        trust(load(path))
        parities.append(compare(from_bundle(bundle), load(path), 40, seed=0))
    good, bad = parities
    assert good.ok
    assert {row.engine for row in good.rows} == {"native", "onnxruntime"}
    assert {row.engine: row.ok for row in bad.rows} == {"native": False, "onnxruntime": True}
    assert "engine 'native'" in bad.golden
    assert "onnxruntime" not in bad.golden


@pytest.mark.skipif(shutil.which("size") is None, reason="no binutils")
def test_export_prints_the_sizes(
    trained_runs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.acclimate"
    assert main(["export", str(trained_runs["robust"]), "--format", "onnx,c", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"^act\.c     code \d+, constants \d+, stack \d+, workspace 0, state \d+$", printed, re.MULTILINE
    )
    assert "act on native agrees with torch" in printed
    assert load(out).members["act.c"].startswith(b"/* acclimate-c 1\n * graph act\n")
