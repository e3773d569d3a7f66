"""State that never changes on a device as constants of a graph: only then can its weights be stored in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from acclimate_trainer.contract.policy import Policy
from torch import Tensor

from acclimate_export.graphs.simplify import simplify
from acclimate_export.graphs.tracing import Traced


def constants(policy: Policy) -> dict[str, Tensor]:
    """State that nobody writes and nothing resets, by name. A task that a policy is told is none: it is set."""
    initial = policy.initial()
    return {t.name: initial[t.name] for t in policy.state if t.written_by is None and t.reset == "never"}


def freeze(traced: Traced, values: Mapping[str, Tensor]) -> Traced:
    """`traced` with the state tensors `values` as constants in place of inputs."""
    module = deepcopy(traced.graph)
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
    with module.graph.inserting_after(nodes[-1]):
        for node, name in zip(nodes, traced.inputs, strict=True):
            if (value := values.get(name.removeprefix("state."))) is not None:
                module.register_buffer(f"_frozen_{node.name}", value.detach().clone())
                node.replace_all_uses_with(module.graph.get_attr(f"_frozen_{node.name}"))
                module.graph.erase_node(node)
    module.recompile()
    kept = {n: tensor for n, tensor in traced.inputs.items() if n.removeprefix("state.") not in values}
    return Traced(simplify(module), kept, traced.outputs)
