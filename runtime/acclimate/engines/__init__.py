"""Engines run graphs. They share one tiny face: a new one is one file, and passes one conformance suite."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple, Protocol

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.errors import EngineError
from acclimate.manifest import GraphSpec


class Graph(Protocol):
    """A graph bound to memory: fill `inputs`, `run`, read `outputs`. Nothing is allocated by `run`."""

    @property
    def inputs(self) -> Mapping[str, FloatArray]: ...

    @property
    def outputs(self) -> Mapping[str, FloatArray]:
        """Written in place by `run`."""

    def run(self) -> None: ...


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

    def load(self, model: bytes, spec: GraphSpec, where: str) -> Program:
        """Raises EngineError unless the graph has exactly the inputs and outputs of `spec`."""


class _Entry(NamedTuple):
    """Where an engine comes from: the module it needs, the extra that installs that, the class."""

    module: str
    extra: str
    home: str
    factory: str


# Best first: "auto" takes the first that is installed. Loaded by name: none is a need of this package.
ENGINES = {"onnxruntime": _Entry("onnxruntime", "onnx", "acclimate.engines.onnx", "OnnxEngine")}


def available() -> list[str]:
    """Names of the engines that this installation can run, best first."""
    return [name for name, entry in ENGINES.items() if importlib.util.find_spec(entry.module) is not None]


def open_engine(name: str = "auto") -> Engine:
    """The engine called `name`, or the best one installed. Raises EngineError where there is none."""
    if name != "auto" and name not in ENGINES:
        raise EngineError(f"unknown engine {name!r}; valid names: auto, {', '.join(ENGINES)}")
    candidates = [found for found in available() if name in ("auto", found)]
    if not candidates:
        extra = next(iter(ENGINES.values())).extra if name == "auto" else ENGINES[name].extra
        what = "no engine is installed" if name == "auto" else f"engine {name!r} is not installed"
        raise EngineError(f"{what}; install acclimate[{extra}]")
    entry = ENGINES[candidates[0]]
    factory: Callable[[], Engine] = getattr(import_module(entry.home), entry.factory)
    return factory()


def allocate(
    specs: Mapping[str, tuple[int, ...]], given: Mapping[str, FloatArray] | None
) -> dict[str, FloatArray]:
    """One array per spec, the given one where there is one. Raises EngineError for a misfit."""
    given = given or {}
    unknown = sorted(given.keys() - specs.keys())
    if unknown:
        raise EngineError(f"the graph has no tensor {unknown[0]!r}; it has: {', '.join(specs)}")
    return {name: _fitting(name, shape, given.get(name)) for name, shape in specs.items()}


def _fitting(name: str, shape: tuple[int, ...], array: FloatArray | None) -> FloatArray:
    if array is None:
        return np.zeros(shape, np.float32)
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise EngineError(
            f"array for {name!r} is {array.dtype} of shape {list(array.shape)}; "
            f"expected contiguous float32 of shape {list(shape)}"
        )
    return array


def refuse_aliases(inputs: Mapping[str, FloatArray], outputs: Mapping[str, FloatArray]) -> None:
    """An engine may write an output before it has read an input: on one memory that is silently wrong."""
    for out_name, output in outputs.items():
        for in_name, array in inputs.items():
            if np.may_share_memory(output, array):
                raise EngineError(
                    f"output {out_name!r} shares memory with input {in_name!r}; it needs its own"
                )
