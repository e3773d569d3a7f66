"""Engines run graphs. They share one tiny face: a new one is one file, and passes one conformance suite."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, Protocol

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.errors import EngineError
from acclimate.names import did_you_mean


class Graph(Protocol):
    """A graph bound to memory: fill `inputs`, `run`, read `outputs`. Nothing is allocated by `run`."""

    @property
    def inputs(self) -> Mapping[str, FloatArray]: ...

    @property
    def outputs(self) -> Mapping[str, FloatArray]:
        """Written in place by `run`."""

    def run(self) -> None: ...


class Tensors(Protocol):
    """What a graph takes and gives, in order."""

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...


class Program(Protocol):
    """A loaded graph, which can be bound to memory several times."""

    def bind(
        self, inputs: Mapping[str, FloatArray] | None = None, outputs: Mapping[str, FloatArray] | None = None
    ) -> Graph:
        """A graph on the arrays given; those not given are allocated, zero.

        Raises EngineError for an array that does not fit, or an output that shares memory with an input.
        """


class Engine(Protocol):
    """Loads the members of a bundle that end in `suffix`."""

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def remark(self) -> str:
        """Why loading has taken longer than it must, in a sentence; empty where it has not."""

    def load(self, model: bytes, spec: GraphSpec, where: str) -> Program:
        """Raises EngineError unless the graph has exactly the inputs and outputs of `spec`."""


class Entry(NamedTuple):
    """Where an engine comes from.

    suffix:  of the members that it loads.
    modules: any one of which it needs; none where Python alone is enough.
    extra:   of this distribution, which installs one of them.
    home, factory: the module and the class in it.
    programs: any one of which it may use, besides modules.
    """

    suffix: str
    modules: tuple[str, ...]
    extra: str
    home: str
    factory: str
    programs: tuple[str, ...] = ()


# By name, and loaded by name: none is a need of this package.
ENGINES = {
    "native": Entry("c", (), "", "acclimate.engines.native", "NativeEngine", ("cc", "gcc", "clang")),
    "litert": Entry(
        "tflite", ("ai_edge_litert", "tflite_runtime"), "litert", "acclimate.engines.litert", "LitertEngine"
    ),
    "onnxruntime": Entry("onnx", ("onnxruntime",), "onnx", "acclimate.engines.onnx", "OnnxEngine"),
}
AUTO = "auto"


def available() -> list[str]:
    """Names of the engines whose modules are installed."""
    return [name for name in ENGINES if not missing(name)]


def missing(name: str) -> str:
    """Why engine `name` cannot be loaded here, in one sentence; empty where its module is installed."""
    entry = ENGINES[name]
    if not entry.modules or any(importlib.util.find_spec(module) is not None for module in entry.modules):
        return ""
    return f"engine {name!r} is not installed; install acclimate[{entry.extra}]"


def check_name(name: str) -> None:
    """Raises EngineError unless `name` is "auto" or an engine's."""
    if name != AUTO and name not in ENGINES:
        raise EngineError(f"unknown engine {name!r}{did_you_mean(name, (AUTO, *ENGINES))}")


def open_engine(name: str = "onnxruntime") -> Engine:
    """The engine called `name`. Raises EngineError where it is unknown, not installed or broken."""
    check_name(name)
    if name == AUTO:
        raise EngineError("an engine is chosen for a bundle: let Policy choose, or name one")
    if reason := missing(name):
        raise EngineError(reason)
    entry = ENGINES[name]
    try:
        factory: Callable[[], Engine] = getattr(import_module(entry.home), entry.factory)
    except (ImportError, OSError) as error:  # as by a library that is missing, or made for another numpy
        reason = " ".join(str(error).split())
        raise EngineError(f"engine {name!r} is installed, but cannot be loaded: {reason}") from None
    return factory()


def arrays_for(
    spec: Tensors, inputs: Mapping[str, FloatArray] | None, outputs: Mapping[str, FloatArray] | None
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """An array for each input and each output of a graph, the given one where there is one.

    Raises EngineError for a misfit, and for an output that shares memory with an input.
    """
    bound = _allocate(spec.inputs, inputs), _allocate(spec.outputs, outputs)
    _refuse_aliases(*bound)
    return bound


def _allocate(specs: Iterable[TensorSpec], given: Mapping[str, FloatArray] | None) -> dict[str, FloatArray]:
    given, shapes = given or {}, {spec.name: spec.shape for spec in specs}
    unknown = sorted(given.keys() - shapes.keys())
    if unknown:
        raise EngineError(f"the graph has no tensor {unknown[0]!r}; it has: {', '.join(shapes)}")
    return {name: _fitting(name, shape, given.get(name)) for name, shape in shapes.items()}


def _fitting(name: str, shape: tuple[int, ...], array: FloatArray | None) -> FloatArray:
    if array is None:
        return np.zeros(shape, np.float32)
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise EngineError(
            f"array for {name!r} is {array.dtype} of shape {list(array.shape)}; "
            f"expected contiguous float32 of shape {list(shape)}"
        )
    return array


def _refuse_aliases(inputs: Mapping[str, FloatArray], outputs: Mapping[str, FloatArray]) -> None:
    """An engine may write an output before it has read an input: on one memory that is silently wrong."""
    for out_name, output in outputs.items():
        for in_name, array in inputs.items():
            if np.may_share_memory(output, array):
                raise EngineError(
                    f"output {out_name!r} shares memory with input {in_name!r}; it needs its own"
                )
