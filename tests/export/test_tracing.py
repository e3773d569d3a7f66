"""A traced policy computes what the policy computes for one device, with the names and shapes of a bundle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_export.bundle.practice import outputs, practise
from acclimate_export.bundle.trained import Trained
from acclimate_export.graphs.freezing import constants, freeze
from acclimate_export.graphs.tracing import Traced, trace_act, trace_adapt
from acclimate_trainer.contract.policy import Policy, Tensors, Window

from tests.export import runs
from tests.export.shipped import untrained


@pytest.fixture(params=runs.NAMES)
def trained(request: pytest.FixtureRequest) -> Trained:
    return untrained(request.param)


@pytest.fixture
def adaptive_policy() -> Trained:
    return untrained("maml")


def _call(traced: Traced, given: Tensors) -> dict[str, torch.Tensor]:
    results = traced.graph(*(given[name] for name in traced.inputs))
    return dict(zip(traced.outputs, results, strict=True))


def _device_state(policy: Policy) -> dict[str, torch.Tensor]:
    """Random, so that no tensor's part can go unnoticed."""
    torch.manual_seed(3)
    return {name: value + 0.1 * torch.rand(value.shape) for name, value in policy.initial().items()}


def test_act_computes_what_the_policy_computes(trained: Trained) -> None:
    policy = trained.policy
    state, obs, noise = _device_state(policy), torch.randn(policy.spec.n_obs), torch.randn(policy.n_noise)
    axes = {t.name: 2 if t.written_by == "act" else 1 for t in policy.state}
    stacked = {name: value.reshape(*[1] * axes[name], *value.shape) for name, value in state.items()}
    act = policy.act(stacked, obs[None, None], noise[None, None])
    expected = {
        name: value[0, 0] for name, value in outputs({"action": act.action}, act.next, act.info).items()
    }
    given = {"obs": obs, "noise": noise} | {f"state.{name}": value for name, value in state.items()}
    torch.testing.assert_close(_call(trace_act(policy), given), expected, rtol=1e-6, atol=1e-6)


def test_adapt_computes_what_the_policy_computes(adaptive_policy: Trained) -> None:
    policy = adaptive_policy.policy
    stage = practise(adaptive_policy, 1, np.random.default_rng(0), masked=0.4)[1]
    assert stage.adapted is not None
    given = {f"window.{name}": value[0] for name, value in stage.window._asdict().items()}
    given |= {f"state.{name}": value[0] for name, value in stage.state.items()}
    expected = {name: v[0] for name, v in outputs({}, stage.adapted.next, stage.adapted.info).items()}
    found = _call(trace_adapt(policy), given)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_inputs_that_a_graph_does_not_use_are_left_out(adaptive_policy: Trained) -> None:
    act, adapt = (trace(adaptive_policy.policy) for trace in (trace_act, trace_adapt))
    assert "state.shots" not in act.inputs
    assert "state.previous_action" in act.inputs
    assert "state.previous_action" not in adapt.inputs
    assert {"state.shots", *(f"window.{name}" for name in Window._fields)} <= set(adapt.inputs)
    for traced in (act, adapt):
        nodes = [node for node in traced.graph.graph.nodes if node.op == "placeholder"]
        assert len(nodes) == len(traced.inputs)
        assert all(node.users for node in nodes)


def test_outputs_have_the_shapes_of_a_device(trained: Trained) -> None:
    traced = trace_act(trained.policy)
    results = traced.graph(*traced.inputs.values())
    assert [tuple(result.shape) for result in results] == list(traced.outputs.values())
    assert traced.outputs["action"] == (trained.policy.spec.n_act,)


def test_what_never_changes_may_be_constant(trained: Trained) -> None:
    policy = trained.policy
    fixed, traced = constants(policy), trace_act(policy)
    assert fixed.keys() == {t.name for t in policy.state if t.written_by is None and t.reset == "never"}
    frozen = freeze(traced, fixed)
    torch.manual_seed(5)
    given = {name: value + 0.1 * torch.rand(value.shape) for name, value in traced.inputs.items()}
    given |= {f"state.{name}": value for name, value in fixed.items()}
    assert frozen.inputs.keys() == {n for n in traced.inputs if n.removeprefix("state.") not in fixed}
    assert frozen.outputs == traced.outputs
    torch.testing.assert_close(_call(frozen, given), _call(traced, given), rtol=1e-6, atol=1e-6)
    assert len([node for node in traced.graph.graph.nodes if node.op == "placeholder"]) == len(traced.inputs)
