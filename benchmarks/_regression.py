"""The regression of `acclimate_trainer.algorithms.successor.task_vector` alone, as the graph that a device runs."""

from __future__ import annotations

import numpy as np
import torch
from acclimate.arrays import FloatArray
from acclimate.engines import Graph
from acclimate.engines.onnx import OnnxEngine
from acclimate_export.graphs.axes import on_device
from acclimate_export.graphs.onnx import OnnxGraph, to_onnx
from acclimate_export.graphs.tracing import Traced
from acclimate_trainer.algorithms.successor.task_vector import initial_state, regress
from torch import Tensor

WINDOW = ("features", "reward", "mask")
INFO = ("rank", "residual", "residual_share", "step_norm", "valid")


class Device:
    """State and graph of one device that sees windows of `steps` transitions of d features."""

    def __init__(self, exported: OnnxGraph, d: int, steps: int) -> None:
        """exported: by `export_regression`, of the same sizes."""
        self.model, self._steps = exported.model, steps
        self._graph: Graph = OnnxEngine().load(exported.model, exported.spec, "adapt.onnx").bind()
        self.reset(np.zeros(d, np.float32))

    def reset(self, default: FloatArray) -> None:
        """A new task, with w = `default` (d,)."""
        for name, value in initial_state(torch.from_numpy(default)).items():
            self._graph.inputs[f"state.{name}"][:] = value.numpy()

    def adapt(self, features: FloatArray, reward: FloatArray) -> None:
        """Learn from n transitions, (n, d) and (n,); a window is `steps` long, and masked where n ends."""
        for begin in range(0, len(reward), self._steps):
            end = min(begin + self._steps, len(reward))
            inputs = self._graph.inputs
            for name in WINDOW:
                inputs[name][:] = 0.0
            inputs["features"][: end - begin] = features[begin:end]
            inputs["reward"][: end - begin] = reward[begin:end]
            inputs["mask"][: end - begin] = 1.0
            self._graph.run()
            for name, value in self._graph.outputs.items():
                if name.startswith("next."):
                    inputs[name.replace("next.", "state.")][:] = value

    @property
    def task_vector(self) -> FloatArray:
        """w as the device has it, (d,)."""
        return self._graph.inputs["state.task_vector"].copy()

    def info(self, name: str) -> float:
        """A scalar of the last step."""
        return float(self._graph.outputs[f"info.{name}"][0])


def export_regression(d: int, steps: int) -> OnnxGraph:
    """For windows of `steps` transitions of d features."""
    return to_onnx(trace_regression(d, steps), "adapt")


def trace_regression(d: int, steps: int) -> Traced:
    """(features, reward, mask, state…) -> next…, info…"""
    state = {f"state.{name}": value for name, value in initial_state(torch.zeros(d)).items()}
    window = {"features": torch.zeros(steps, d), "reward": torch.zeros(steps), "mask": torch.ones(steps)}
    inputs = window | state
    shapes = {name.replace("state.", "next."): tuple(value.shape) for name, value in state.items()}
    shapes |= {f"info.{name}": (1,) for name in INFO}

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(inputs, tensors, strict=True))
        held = {name.removeprefix("state."): given[name] for name in state}
        adapt = regress(held, given["features"], given["reward"], given["mask"])
        return (*(adapt.next[name] for name in held), *(adapt.info[name] for name in INFO))

    graph = on_device(step, [1] * len(inputs), list(inputs.values()), list(shapes.values()))
    return Traced(graph, inputs, shapes)
