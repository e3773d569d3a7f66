"""Successor features as graphs: `act` and `adapt` on onnxruntime do what they do in torch, and `act` is lean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
import torch
from acclimate.engines import Graph
from acclimate.engines.onnx import OnnxEngine
from acclimate_export.graphs.onnx import OnnxGraph, to_onnx
from acclimate_export.graphs.tracing import trace_act, trace_adapt
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig
from acclimate_trainer.contract.policy import Policy, Window, stacked
from acclimate_trainer.tasks import reacher
from acclimate_trainer.tasks.reacher import ReacherFamily, ReacherTasks
from torch import Tensor

FAMILY = ReacherFamily()
N_OBS, N_ACT = FAMILY.spec.n_obs, FAMILY.spec.n_act
KINDS: Mapping[str, Mapping[str, object]] = {
    "library": {},
    "learned": {"features": "learned", "refine_steps": 2},
    "universal": {"network": "universal"},
}


def policy_of(kind: str, policies: int = 4) -> Policy:
    config = SuccessorConfig(train_on=reacher.NAMES[:policies], hidden=16, replay=10, **KINDS[kind])  # type: ignore[arg-type]
    algorithm = Successor(FAMILY, config)
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


def loaded(exported: OnnxGraph) -> Graph:
    return OnnxEngine().load(exported.model, exported.spec, "test").bind()


def ran(graph: Graph, given: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    for name, array in graph.inputs.items():
        array[...] = given[name].detach().numpy()
    graph.run()
    return {name: array.copy() for name, array in graph.outputs.items()}


def trajectory(rng: np.random.Generator) -> Window:
    """Five short episodes of random torques, rewarded by the seventh target."""
    session = FAMILY.open(ReacherTasks(reacher.task_vectors(reacher.NAMES[6:7])), 5, 10, rng)
    obs, actions = [session.obs], []
    for _ in range(10):
        actions.append(reacher.ACTIONS[torch.from_numpy(rng.integers(0, 9, (1, 5)))])
        session.step(actions[-1])
        obs.append(session.obs)
    return Window(torch.stack(obs, 2), torch.stack(actions, 2), torch.ones(1, 5, 10))


@pytest.mark.parametrize("kind", ["library", "universal"])
def test_act_agrees_with_torch_on_every_observation(kind: str) -> None:
    """The chosen torques are the very same; ties, which rounding decides, do not happen with random weights."""
    policy = policy_of(kind)
    graph = loaded(to_onnx(trace_act(policy), "act"))
    rng = np.random.default_rng(1)
    for _ in range(200):
        obs = torch.tensor(rng.normal(0.0, 1.5, (1, 1, N_OBS)), dtype=torch.float32)
        noise = torch.tensor(0.01 * rng.normal(size=(1, 1, 9)), dtype=torch.float32)
        state = stacked(policy, 1, 1)
        state["task_vector"] = torch.tensor(
            rng.normal(size=(1, len(state["task_vector"][0]))), dtype=torch.float32
        )
        expected = policy.act(state, obs, noise)
        given = {"obs": obs[0, 0], "noise": noise[0, 0], **{f"state.{n}": v[0] for n, v in state.items()}}
        found = ran(graph, given)
        np.testing.assert_array_equal(found["action"], expected.action[0, 0].numpy())
        assert float(found["info.policy"][0]) == float(expected.info["policy"])


@pytest.mark.parametrize("kind", ["library", "learned"])
def test_adapt_agrees_with_torch_window_after_window(kind: str) -> None:
    policy = policy_of(kind)
    graph = loaded(to_onnx(trace_adapt(policy), "adapt"))
    rng, state = np.random.default_rng(2), stacked(policy, 1, 1)
    for _ in range(3):
        window = trajectory(rng)
        expected = policy.adapt(state, window)
        given = {f"window.{n}": v[0] for n, v in window._asdict().items()}
        found = ran(graph, given | {f"state.{n}": v[0] for n, v in state.items()})
        for name, value in expected.next.items():
            np.testing.assert_allclose(
                found[f"next.{name}"], value[0].numpy(), rtol=2e-4, atol=2e-4, err_msg=name
            )
        state = state | dict(expected.next)
    d = len(state["task_vector"][0])
    if d == len(reacher.NAMES):
        assert float(found["info.rank"][0]) == d
        np.testing.assert_allclose(found["next.task_vector"], np.eye(d)[6], atol=1e-3)


def test_act_of_a_library_is_one_batched_graph() -> None:
    """As many nodes for 8 policies as for 2: one product per layer, one with w, one for the links' angles."""
    counts = []
    for policies in (2, 8):
        exported = to_onnx(trace_act(policy_of("library", policies)), "act")
        nodes = [node.op_type for node in onnx.load_from_string(exported.model).graph.node]
        counts.append((exported.nodes, nodes.count("MatMul") + nodes.count("Gemm"), nodes.count("ArgMax")))
    assert counts[0] == counts[1]
    assert counts[0][0] <= 34
    assert counts[0][1:] == (5, 1)
