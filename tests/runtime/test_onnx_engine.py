import numpy as np
import pytest
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.engines import Engine
from acclimate.engines.onnx import OnnxEngine
from onnx import TensorProto, helper

from .engine_conformance import EngineConformance


class TestOnnxEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return OnnxEngine()


def test_outputs_that_are_inputs_or_constants_reach_their_memory() -> None:
    """Graphs that optimisation reduces to nothing must still fill the bound outputs."""
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Add", ["two", "two"], ["four"])]
    infos = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in ("x", "y", "four")}
    two = helper.make_tensor("two", TensorProto.FLOAT, [3], [2.0, 2.0, 2.0])
    graph = helper.make_graph(nodes, "g", [infos["x"]], [infos["y"], infos["four"]], [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = GraphSpec((TensorSpec("x", (3,)),), (TensorSpec("y", (3,)), TensorSpec("four", (3,))))
    bound = OnnxEngine().load(model.SerializeToString(), spec, "g").bind()
    for value in (1.0, 5.0):
        bound.inputs["x"][...] = value
        bound.run()
        np.testing.assert_array_equal(bound.outputs["y"], np.full(3, value, np.float32))
        np.testing.assert_array_equal(bound.outputs["four"], np.full(3, 4.0, np.float32))
