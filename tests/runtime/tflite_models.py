"""The small bundle's two graphs as TFLite, through the export itself: the arithmetic of `bundles` again, in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import flatbuffers
import numpy as np
import torch
from acclimate.bundle.manifest import GraphSpec
from acclimate_export.graphs.simplify import simplify
from acclimate_export.graphs.tracing import Traced
from acclimate_export.tflite.convert import convert_graph
from acclimate_trainer.contract.graphs import graph_of
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor

from . import bundles

Tensors = dict[str, Tensor]
CARRY_BYTES = np.float32(bundles.CARRY).tobytes()  # as a constant of the act graph
MORE_BYTES = np.float32(2.0 * bundles.CARRY).tobytes()


@cache
def act_model() -> bytes:
    return _model("act", bundles.manifest().graphs.act, _act)


@cache
def adapt_model() -> bytes:
    spec = bundles.manifest().graphs.adapt
    assert spec is not None
    return _model("adapt", spec, _adapt)


def _act(t: Tensors) -> Tensors:
    linear = (t["state.weight"] @ t["obs"].unsqueeze(-1)).squeeze(-1)
    action = linear + t["state.sigma"] * t["noise"] + bundles.CARRY * t["state.previous"]
    return {
        "action": action,
        "next.previous": action,
        "next.ticks": t["state.ticks"] + 1.0,
        "info.size": action.abs(),
    }


def _adapt(t: Tensors) -> Tensors:
    obs, mask = t["window.obs"], t["window.mask"]
    cost = (obs[:, 1:, 0] - obs[:, 1:, 2]).square() * mask
    count = mask.sum()
    mean = cost.sum() / count
    before = obs[:, :-1]
    deviation = t["window.action"] - before @ t["state.weight"].T
    weighted = deviation * ((mean - cost) * mask).unsqueeze(-1)
    grad = weighted.reshape(-1, bundles.N_ACT).T @ before.reshape(-1, bundles.N_OBS) / count
    step = bundles.RATE * grad
    return {
        "next.weight": t["state.weight"] + step,
        "next.shots": t["state.shots"] + 1.0,
        "info.loss": mean.reshape(1),
        "info.reward": -mean.reshape(1),
        "info.grad_norm": grad.square().sum().sqrt().reshape(1),
        "info.step_norm": step.square().sum().sqrt().reshape(1),
        "info.ticks": t["state.ticks"].clone(),
    }


def traced(spec: GraphSpec, function: Callable[[Tensors], Tensors]) -> Traced:
    """`function` of named tensors, as the export traces a policy's."""
    inputs = {t.name: torch.ones(t.shape) for t in spec.inputs}
    outputs = {t.name: t.shape for t in spec.outputs}

    def positional(*tensors: Tensor) -> tuple[Tensor, ...]:
        found = function(dict(zip(inputs, tensors, strict=True)))
        return tuple(found[name] for name in outputs)

    return Traced(simplify(graph_of(positional, list(inputs.values()))), inputs, outputs)


def _model(name: str, spec: GraphSpec, function: Callable[[Tensors], Tensors]) -> bytes:
    return convert_graph(traced(spec, function), name)


def edited(model: bytes, change: Callable[[schema.ModelT], None]) -> bytes:
    """The model with its tables changed."""
    tables = schema.ModelT.InitFromPackedBuf(model)
    change(tables)
    builder = flatbuffers.Builder(0)
    builder.Finish(tables.Pack(builder), b"TFL3")
    return bytes(builder.Output())
