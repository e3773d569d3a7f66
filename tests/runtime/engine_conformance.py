"""What every engine must do. A test module subclasses the mixin and gives the engine and its models.

class TestMyEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine: ...
"""

from __future__ import annotations

import gc
import threading
from dataclasses import replace

import numpy as np
import pytest
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.engines import Engine, Graph, Program
from acclimate.errors import EngineError

from . import bundles


class EngineConformance:
    """Subclasses override `engine`, and `act_model` and `adapt_model` where their format is not ONNX."""

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def act_model(self) -> bytes:
        return bundles.act_model()

    @pytest.fixture
    def adapt_model(self) -> bytes:
        return bundles.adapt_model()

    @pytest.fixture
    def act_spec(self) -> GraphSpec:
        return bundles.manifest().graphs.act

    @pytest.fixture
    def act(self, engine: Engine, act_model: bytes, act_spec: GraphSpec) -> Program:
        return engine.load(act_model, act_spec, "act")

    @staticmethod
    def fill(graph: Graph, seed: int) -> np.ndarray:
        """Random inputs; returns the action that they must give."""
        rng = np.random.default_rng(seed)
        for array in graph.inputs.values():
            array[...] = rng.standard_normal(array.shape, dtype=np.float32)
        state = {name.removeprefix("state."): a.copy() for name, a in graph.inputs.items()}
        return bundles.act_numpy(state, graph.inputs["obs"], graph.inputs["noise"])

    def test_it_names_itself_and_its_members(self, engine: Engine) -> None:
        assert engine.name
        assert engine.suffix

    def test_inputs_and_outputs_are_those_of_the_spec(self, act: Program, act_spec: GraphSpec) -> None:
        graph = act.bind()
        assert {n: a.shape for n, a in graph.inputs.items()} == {t.name: t.shape for t in act_spec.inputs}
        assert {n: a.shape for n, a in graph.outputs.items()} == {t.name: t.shape for t in act_spec.outputs}
        assert {a.dtype for a in (*graph.inputs.values(), *graph.outputs.values())} == {np.dtype(np.float32)}

    def test_it_computes_what_numpy_computes_again_and_again(self, act: Program) -> None:
        graph = act.bind()
        for seed in range(5):
            expected = self.fill(graph, seed)
            graph.run()
            np.testing.assert_allclose(graph.outputs["action"], expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(graph.outputs["next.previous"], graph.outputs["action"])

    def test_outputs_are_written_in_place(self, act: Program, act_spec: GraphSpec) -> None:
        mine = {t.name: np.full(t.shape, np.nan, np.float32) for t in act_spec.outputs}
        graph = act.bind(outputs=mine)
        addresses = {name: array.ctypes.data for name, array in mine.items()}
        expected = self.fill(graph, 3)
        graph.run()
        np.testing.assert_allclose(mine["action"], expected, rtol=1e-5, atol=1e-5)
        for name, array in mine.items():
            assert np.isfinite(array).all(), name
            assert graph.outputs[name].ctypes.data == addresses[name]

    def test_inputs_given_are_read_where_they_are(self, act: Program) -> None:
        weight = np.ones((1, 4), np.float32)
        graph = act.bind({"state.weight": weight})
        graph.inputs["obs"][...] = 1.0
        graph.run()
        assert graph.outputs["action"][0] == pytest.approx(4.0)
        weight[...] = 2.0
        graph.run()
        assert graph.outputs["action"][0] == pytest.approx(8.0)

    def test_inputs_are_left_alone(self, act: Program) -> None:
        graph = act.bind()
        self.fill(graph, 1)
        before = {name: array.copy() for name, array in graph.inputs.items()}
        graph.run()
        for name, array in graph.inputs.items():
            np.testing.assert_array_equal(array, before[name], err_msg=name)

    def test_two_bindings_do_not_disturb_each_other(self, act: Program) -> None:
        first, second = act.bind(), act.bind()
        expected = self.fill(first, 1), self.fill(second, 2)
        first.run()
        second.run()
        np.testing.assert_allclose(first.outputs["action"], expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(second.outputs["action"], expected[1], rtol=1e-5, atol=1e-5)

    def test_a_graph_outlives_what_it_was_made_from(
        self, engine: Engine, act_model: bytes, act_spec: GraphSpec
    ) -> None:
        """A library may go on reading constants from the model's bytes, wherever these have gone."""
        graph = engine.load(bytes(bytearray(act_model)), act_spec, "act").bind()
        gc.collect()
        rubbish = [bytes([255]) * len(act_model) for _ in range(20)]  # where the model was
        expected = self.fill(graph, 1)
        graph.run()
        np.testing.assert_allclose(graph.outputs["action"], expected, rtol=1e-5, atol=1e-5)
        del rubbish

    def test_an_adaptation_step_is_what_numpy_computes(self, engine: Engine, adapt_model: bytes) -> None:
        spec = bundles.manifest().graphs.adapt
        assert spec is not None
        graph = engine.load(adapt_model, spec, "adapt").bind()
        for name, array in bundles.INITIAL.items():
            if f"state.{name}" in graph.inputs:
                graph.inputs[f"state.{name}"][...] = array
        window = bundles.window(4)
        for name, array in window._asdict().items():
            graph.inputs[f"window.{name}"][...] = array
        graph.run()
        tensors, infos = bundles.adapt_numpy(dict(bundles.INITIAL), window)
        for name, array in tensors.items():
            np.testing.assert_allclose(graph.outputs[f"next.{name}"], array, rtol=1e-5, atol=1e-5)
        for name, value in infos.items():
            assert graph.outputs[f"info.{name}"][0] == pytest.approx(value, rel=1e-5)

    def test_two_programs_run_in_two_threads(
        self, engine: Engine, act_model: bytes, act_spec: GraphSpec
    ) -> None:
        graphs = [engine.load(act_model, act_spec, "act").bind() for _ in range(2)]
        expected = [self.fill(graph, seed) for seed, graph in enumerate(graphs)]
        threads = [threading.Thread(target=lambda g=g: [g.run() for _ in range(200)]) for g in graphs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for graph, action in zip(graphs, expected, strict=True):
            np.testing.assert_allclose(graph.outputs["action"], action, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        "array", [np.zeros((1, 5), np.float32), np.zeros((1, 4)), np.zeros((1, 8), np.float32)[:, ::2]]
    )
    def test_arrays_that_do_not_fit_are_refused(self, act: Program, array: np.ndarray) -> None:
        message = r"'state\.weight' is .*expected contiguous float32 of shape \[1, 4\]"
        with pytest.raises(EngineError, match=message):
            act.bind({"state.weight": array})

    def test_unknown_tensors_are_refused(self, act: Program) -> None:
        with pytest.raises(EngineError, match="has no tensor 'observation'; it has: obs, noise"):
            act.bind({"observation": np.zeros(4, np.float32)})

    def test_an_output_on_its_own_input_is_refused(self, act: Program) -> None:
        shared = np.zeros(1, np.float32)
        with pytest.raises(EngineError, match=r"'next\.previous' shares memory with input 'state\.previous'"):
            act.bind({"state.previous": shared}, {"next.previous": shared})

    def test_a_tensor_that_the_graph_lacks(
        self, engine: Engine, act_model: bytes, act_spec: GraphSpec
    ) -> None:
        more = replace(act_spec, inputs=(*act_spec.inputs, TensorSpec("state.extra", (1,))))
        with pytest.raises(
            EngineError, match=r"act: input 'state\.extra' is in the manifest, but the graph has: "
        ):
            engine.load(act_model, more, "act")

    def test_a_tensor_that_the_manifest_lacks(
        self, engine: Engine, act_model: bytes, act_spec: GraphSpec
    ) -> None:
        fewer = replace(act_spec, outputs=act_spec.outputs[:-1])
        with pytest.raises(
            EngineError, match=r"act: output 'info\.size' is in the graph, but the manifest lists: "
        ):
            engine.load(act_model, fewer, "act")

    def test_a_tensor_of_another_shape(self, engine: Engine, act_model: bytes, act_spec: GraphSpec) -> None:
        wrong = replace(act_spec, inputs=(TensorSpec("obs", (5,)), *act_spec.inputs[1:]))
        with pytest.raises(EngineError, match=r"act: input 'obs' is .*expected .*\[5\]"):
            engine.load(act_model, wrong, "act")

    def test_garbage_is_refused_in_one_line(self, engine: Engine, act_spec: GraphSpec) -> None:
        with pytest.raises(EngineError, match="act is refused by") as caught:
            engine.load(b"not a model", act_spec, "act")
        assert "\n" not in str(caught.value)
