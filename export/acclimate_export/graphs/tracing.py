"""A policy's two functions as torch graphs of one device, with the names that the bundle gives their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch
from acclimate.task.spec import Shape
from acclimate_trainer.contract.policy import Policy, Tensors, Window
from torch import Tensor, fx

from acclimate_export.graphs.axes import on_device
from acclimate_export.graphs.simplify import simplify

_Named: TypeAlias = Callable[[Tensors], dict[str, Tensor]]


class Traced(NamedTuple):
    """A graph whose inputs and outputs are, in order, the tensors named; no input is unused."""

    graph: fx.GraphModule
    inputs: Mapping[str, Tensor]  # an example of each
    outputs: Mapping[str, Shape]


def trace_act(policy: Policy) -> Traced:
    """act(obs, noise, state…) -> action, next…, info…"""
    state = _example_state(policy)
    inputs = {"obs": torch.zeros(policy.spec.n_obs), "noise": torch.zeros(policy.n_noise)} | state
    axes = {"obs": 2, "noise": 2} | _state_axes(policy)

    def named(tensors: Tensors) -> dict[str, Tensor]:
        act = policy.act(_state_of(tensors), tensors["obs"], tensors["noise"])
        return {"action": act.action} | _prefixed("next", act.next) | _prefixed("info", act.info)

    return _trace(policy, named, inputs, axes, {"action": (policy.spec.n_act,)})


def trace_adapt(policy: Policy) -> Traced:
    """adapt(window…, state…) -> next…, info…   for a policy that has a window"""
    assert policy.window is not None
    episodes, steps = policy.window.episodes, policy.window.steps
    n_obs, n_act = policy.spec.n_obs, policy.spec.n_act
    window = {
        "window.obs": torch.zeros(episodes, steps + 1, n_obs),
        "window.action": torch.zeros(episodes, steps, n_act),
        "window.mask": torch.ones(episodes, steps),
    }

    def named(tensors: Tensors) -> dict[str, Tensor]:
        adapt = policy.adapt(_state_of(tensors), Window(*(tensors[name] for name in window)))
        return _prefixed("next", adapt.next) | _prefixed("info", adapt.info)

    axes = dict.fromkeys(window, 1) | _state_axes(policy)
    return _trace(policy, named, window | _example_state(policy), axes, {})


def _trace(
    policy: Policy,
    named: _Named,
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, int],
    shapes: Mapping[str, Shape],
) -> Traced:
    """`named` maps tensors with the axes of tasks and episodes, by name, to such tensors."""
    names = list(inputs)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(named(dict(zip(names, tensors, strict=True))).values())

    with torch.no_grad():
        outputs = named({name: _stacked(tensor, axes[name]) for name, tensor in inputs.items()})
    shapes = {f"next.{t.name}": t.shape for t in policy.state} | dict(shapes)
    wanted = {name: shapes.get(name, (1,)) for name in outputs}  # an info is a scalar
    graph = on_device(function, [axes[name] for name in names], list(inputs.values()), list(wanted.values()))
    graph = simplify(graph)
    return Traced(graph, _without_unused(graph, inputs), wanted)


def _without_unused(graph: fx.GraphModule, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the inputs that nothing reads out of the graph; the others remain."""
    nodes = [node for node in graph.graph.nodes if node.op == "placeholder"]
    used = {name: tensor for (name, tensor), node in zip(inputs.items(), nodes, strict=True) if node.users}
    for node in nodes:
        if not node.users:
            graph.graph.erase_node(node)
    graph.recompile()
    return used


def _example_state(policy: Policy) -> dict[str, Tensor]:
    """Copies: a trace tells its inputs from the policy's own constants by their identity."""
    return {f"state.{name}": value.detach().clone() for name, value in policy.initial().items()}


def _state_axes(policy: Policy) -> dict[str, int]:
    return {f"state.{t.name}": 2 if t.written_by == "act" else 1 for t in policy.state}


def _state_of(tensors: Tensors) -> dict[str, Tensor]:
    return {name.removeprefix("state."): t for name, t in tensors.items() if name.startswith("state.")}


def _prefixed(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _stacked(tensor: Tensor, axes: int) -> Tensor:
    return tensor.reshape(*[1] * axes, *tensor.shape)
