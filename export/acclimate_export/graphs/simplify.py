"""What a trace computes although it is always the same, or already there: worked out once, on the desktop.

A trace writes down everything that ran: also what depends on no input (discounts, identity matrices, the columns of an
elimination), and the same expression as often as the code asked for it. `simplify` keeps one of each. An axis the other
way round becomes a selection of its rows: a slice by steps of −1, as ONNX has it, is what not every generator knows.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.passes.dialect.common.cse_pass import CSEPass

_aten = torch.ops.aten


def simplify(module: fx.GraphModule) -> fx.GraphModule:
    """The same function of the same inputs, bit for bit, in fewer operations.

    A graph that writes in place into what depends on an input stays as it is: there an expression may change its value.
    """
    _select_instead_of_flipping(module)
    folder = _Folder(module)
    folder.run_constants()
    if any(_writes_in_place(node) and node not in folder.env for node in module.graph.nodes):
        return module
    _fold(module, folder)
    _share_constants(module)
    result = CSEPass()(module)
    simple: fx.GraphModule = module if result is None else result.graph_module
    simple.graph.eliminate_dead_code()
    simple.recompile()
    return simple


def _select_instead_of_flipping(module: fx.GraphModule) -> None:
    for node in list(module.graph.find_nodes(op="call_function", target=_aten.flip.default)):
        turned, axes = node.args
        shape = node.meta["val"].shape
        with module.graph.inserting_before(node):
            for axis in axes:
                name = f"_backwards_{node.name}_{axis % len(shape)}"
                module.register_buffer(name, torch.arange(shape[axis] - 1, -1, -1))
                rows = module.graph.get_attr(name)
                turned = module.graph.call_function(_aten.index_select.default, (turned, axis, rows))
                turned.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(turned)
        module.graph.erase_node(node)
    module.recompile()


def _fold(module: fx.GraphModule, folder: _Folder) -> None:
    """Make a constant of every node that depends on no input."""
    for node, value in folder.results():
        name = f"_folded_{node.name}"
        module.register_buffer(name, value)
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(module.graph.get_attr(name))
    for node in reversed(module.graph.nodes):
        if node in folder.env and not node.users:  # also what wrote into a constant in place
            module.graph.erase_node(node)


class _Folder(fx.Interpreter):
    """Runs the nodes that need no input, in their order, so that those that write in place do so in time."""

    def run_constants(self) -> None:
        with torch.no_grad():
            for node in self.graph.nodes:
                constant = node.op not in ("placeholder", "output")
                if constant and all(n in self.env for n in node.all_input_nodes):
                    self.env[node] = self.run_node(node)

    def results(self) -> list[tuple[fx.Node, Tensor]]:
        """What was computed and something reads that is not constant."""
        return [
            (node, value.clone(memory_format=torch.contiguous_format))
            for node, value in self.env.items()
            if node.op == "call_function" and isinstance(value, Tensor)
            if any(user not in self.env for user in node.users)
        ]


def _writes_in_place(node: fx.Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def _share_constants(module: fx.GraphModule) -> None:
    """One node for all constants of one content."""
    first: dict[tuple[torch.dtype, torch.Size, bytes], fx.Node] = {}
    for node in list(module.graph.find_nodes(op="get_attr")):
        value = module.get_buffer(str(node.target)).contiguous()
        shared = first.setdefault((value.dtype, value.shape, value.numpy().tobytes()), node)
        if shared is not node:
            node.replace_all_uses_with(shared)
            module.graph.erase_node(node)
