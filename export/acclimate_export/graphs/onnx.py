"""Traced graphs as ONNX: standard operators, static shapes, and the same bytes for the same policy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import onnx
import torch
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from onnx_ir import Model

from acclimate_export.graphs.exact import with_exact_numbers
from acclimate_export.graphs.optimising import optimise
from acclimate_export.graphs.tracing import Traced

OPSET = 18  # what torch writes natively; onnxruntime has read it since 1.14


class OnnxGraph(NamedTuple):
    """A serialised model, what the manifest says of it, and how many nodes it has."""

    model: bytes
    spec: GraphSpec
    nodes: int


def to_onnx(traced: Traced, name: str) -> OnnxGraph:
    """`traced` as an ONNX model called `name`."""
    with _quiet():
        program = torch.onnx.export(
            with_exact_numbers(traced.graph).eval(),
            tuple(traced.inputs.values()),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=False,
        )
        assert program is not None  # it is None only where torch writes a file itself
        optimise(program.model)
        _rename(program.model, traced)
    model = program.model_proto
    _anonymise(model, name)
    onnx.checker.check_model(model, full_check=True)
    return OnnxGraph(model.SerializeToString(deterministic=True), _spec(traced), len(model.graph.node))


def _rename(model: Model, traced: Traced) -> None:
    for values, names in ((model.graph.inputs, traced.inputs), (model.graph.outputs, traced.outputs)):
        for value, name in zip(values, names, strict=True):
            value.name = name


def _spec(traced: Traced) -> GraphSpec:
    inputs = tuple(TensorSpec(name, tuple(tensor.shape)) for name, tensor in traced.inputs.items())
    return GraphSpec(inputs, tuple(TensorSpec(name, shape) for name, shape in traced.outputs.items()))


def _anonymise(model: onnx.ModelProto, name: str) -> None:
    """Remove all that says where and how the model was made: paths, stack traces, versions, shapes in between."""
    graph = model.graph
    model.producer_name, model.producer_version, graph.name = "acclimate", "", name
    del graph.value_info[:]
    del model.functions[:]
    parts: Iterable[onnx.ModelProto | onnx.GraphProto | onnx.NodeProto | onnx.TensorProto | onnx.ValueInfoProto] = (
        model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output
    )  # fmt: skip
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """torch says at length what of its own it lacks or will change, and its optimiser what it left as it was."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
