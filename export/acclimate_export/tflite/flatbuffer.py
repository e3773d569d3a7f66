"""TFLite models as their tables: which operators they have, and our names in place of a converter's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from acclimate.errors import UsageError
from acclimate.task.spec import Shape
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
_BUILTIN: dict[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
_FROM_STABLEHLO = "STABLEHLO_"  # operators that the schema has, and interpreters lack


def operators(model: bytes) -> list[str]:
    """The operators of a model in their order, by the schema's names."""
    tables = schema.ModelT.InitFromPackedBuf(model)
    return [_name(tables.operatorCodes[op.opcodeIndex]) for op in tables.subgraphs[0].operators]


def tidy(model: bytes, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> bytes:
    """A model whose signature `name` has these inputs and outputs.

    `model` is a converter's, whose signature numbers them: args_0, args_1, ... and output_0, output_1, ...
    All that only says how it was made is removed. Raises UsageError for operators that interpreters lack.
    """
    tables = schema.ModelT.InitFromPackedBuf(model)
    _check_operators(tables, name)
    (graph,), (signature,) = tables.subgraphs, tables.signatureDefs
    for i, tensor in enumerate(graph.tensors):
        tensor.name = f"t{i}"
    graph.inputs = _rename(graph, signature.inputs, "args_", inputs)
    graph.outputs = _rename(graph, signature.outputs, "output_", outputs)
    graph.name = signature.signatureKey = name
    return _packed(tables)


def stripped(model: bytes) -> bytes:
    """The same model without what a tool wrote of itself into it."""
    return _packed(schema.ModelT.InitFromPackedBuf(model))


def signature(model: bytes) -> str:
    """The name of the only signature."""
    (only,) = schema.ModelT.InitFromPackedBuf(model).signatureDefs
    name: str = only.signatureKey.decode()
    return name


def products(model: bytes, least: int) -> list[str]:
    """Names of the results of all products with a constant matrix of at least `least` entries."""
    tables = schema.ModelT.InitFromPackedBuf(model)
    graph = tables.subgraphs[0]
    found = []
    for op in graph.operators:
        if _name(tables.operatorCodes[op.opcodeIndex]) == "FULLY_CONNECTED":
            weight = graph.tensors[op.inputs[1]]
            constant = tables.buffers[weight.buffer].data is not None
            if constant and int(np.prod(weight.shape)) >= least:
                found.append(graph.tensors[op.outputs[0]].name.decode())
    return found


def _packed(tables: schema.ModelT) -> bytes:
    tables.description, tables.metadata, tables.metadataBuffer = "acclimate", None, None
    _drop_empty_buffers(tables)
    builder = flatbuffers.Builder(0)
    builder.Finish(tables.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _name(code: schema.OperatorCodeT) -> str:
    if code.customCode:
        return f"custom {code.customCode.decode()}"
    return _BUILTIN[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _check_operators(tables: schema.ModelT, name: str) -> None:
    names = [_name(code) for code in tables.operatorCodes]
    lacking = [op for op in names if op.startswith(("custom ", _FROM_STABLEHLO))]
    if lacking:
        raise UsageError(
            f"{name} needs operators that are not built into TFLite's interpreters: {', '.join(lacking)}; "
            "write what the policy computes with others"
        )


def _rename(
    graph: schema.SubGraphT, entries: Sequence[schema.TensorMapT], prefix: str, wanted: Mapping[str, Shape]
) -> list[int]:
    """Give the signature's entries, and the tensors behind them, the names wanted; these tensors, in that order."""
    by_number = {entry.name.decode(): entry for entry in entries}
    expected = [f"{prefix}{i}" for i in range(len(wanted))]
    assert by_number.keys() == set(expected), f"the converter's names are {sorted(by_number)}"
    for number, (name, shape) in zip(expected, wanted.items(), strict=True):
        tensor = graph.tensors[by_number[number].tensorIndex]
        assert tuple(tensor.shape) == shape, f"{name} is of shape {tensor.shape}, expected {shape}"
        by_number[number].name = name
        tensor.name = name  # the last one, where two outputs are one tensor
    ordered = [by_number[number] for number in expected]
    entries[:] = ordered  # type: ignore[index]
    return [entry.tensorIndex for entry in ordered]


def _drop_empty_buffers(tables: schema.ModelT) -> None:
    """The first buffer stands for "no data"; converters make another one for every tensor without.

    Data of length zero is data: the shape of a scalar, for one.
    """
    kept, moved = [tables.buffers[0]], {0: 0}
    for i, buffer in enumerate(tables.buffers[1:], start=1):
        if buffer.data is None:
            moved[i] = 0
        else:
            moved[i] = len(kept)
            kept.append(buffer)
    for tensor in tables.subgraphs[0].tensors:
        tensor.buffer = moved[tensor.buffer]
    tables.buffers = kept
