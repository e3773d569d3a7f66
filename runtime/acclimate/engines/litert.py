"""LiteRT, or tflite-runtime on boards that it has left behind: one thread, and XNNPACK where the package brings it.

The interpreter computes in memory of its own, so a run copies every input there and every output back. Views of both
ends are made once; a copy of one small tensor then takes about 60 ns, of a 64 × 64 matrix about 300 ns.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple, Protocol, TypeAlias, TypedDict

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.engines import Graph, arrays_for
from acclimate.engines.signature import check_signature
from acclimate.errors import EngineError

_OLD = "tflite_runtime"
PACKAGES = ("ai_edge_litert", _OLD)  # the first that is installed is the engine


class _Tensor(TypedDict):
    """What an interpreter says of a tensor, as far as it is read here."""

    index: int
    shape: Sequence[int]
    dtype: type


_Details: TypeAlias = Mapping[str, _Tensor]  # by the names that the signature gives


class _Runner(Protocol):
    def get_input_details(self) -> _Details: ...

    def get_output_details(self) -> _Details: ...


class _Interpreter(Protocol):
    """What both packages call `Interpreter`, as far as it is used here."""

    def allocate_tensors(self) -> None: ...

    def get_signature_list(self) -> Mapping[str, object]: ...

    def get_signature_runner(self, signature_key: str) -> _Runner: ...

    def tensor(self, tensor_index: int) -> Callable[[], FloatArray]: ...


class LitertEngine:
    """Runs `.tflite` members on the CPU with one thread."""

    name = "litert"
    suffix = "tflite"
    remark = ""

    def __init__(self) -> None:
        self._package = next(name for name in PACKAGES if importlib.util.find_spec(name) is not None)
        if self._package == _OLD and not np.__version__.startswith("1."):
            # It would crash as it loads a model.
            raise EngineError(
                f"{self.version} needs numpy 1, and this is numpy {np.__version__}; install 'numpy<2'"
            )
        self._make: Callable[..., _Interpreter] = import_module(f"{self._package}.interpreter").Interpreter

    @property
    def version(self) -> str:
        """The package that was found, and its release, as in "ai-edge-litert 2.3.0"."""
        from importlib import metadata  # not before: it takes 2 MB, and only errors tell the version

        package = self._package.replace("_", "-")
        return f"{package} {metadata.version(package)}"

    def load(self, model: bytes, spec: GraphSpec, where: str) -> LitertProgram:
        try:
            with _quiet():
                interpreter = self._make(model_content=model, num_threads=1)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise EngineError(f"{where} is refused by {self.version}: {reason}") from None
        return LitertProgram(interpreter, spec, where)


class LitertProgram:
    """One interpreter for all that is bound: a run leaves nothing in it that another run would see.

    So two graphs of one program must not run at the same time, unlike graphs of two programs.
    """

    def __init__(self, interpreter: _Interpreter, spec: GraphSpec, where: str) -> None:
        found = _read_signature(interpreter, where)
        check_signature(found.inputs, spec.inputs, f"{where}: input")
        check_signature(found.outputs, spec.outputs, f"{where}: output")
        # `invoke` itself would count the views' references before every run, and refuse since there are some. They
        # stay valid, for nothing is resized or allocated anew.
        self._invoke: Callable[[], None] = interpreter._interpreter.Invoke  # type: ignore[attr-defined]
        self._views = {n: _view(interpreter, i, f"{where}: {n!r}") for n, i in found.indices.items()}
        self._spec = spec
        self._interpreter = interpreter

    def bind(
        self, inputs: Mapping[str, FloatArray] | None = None, outputs: Mapping[str, FloatArray] | None = None
    ) -> Graph:
        bound = arrays_for(self._spec, inputs, outputs)
        return LitertGraph(self._interpreter, self._invoke, self._views, *bound)


class LitertGraph:
    """An interpreter between the memory of others; see `acclimate.engines.Graph`."""

    def __init__(
        self,
        interpreter: _Interpreter,
        invoke: Callable[[], None],
        views: Mapping[str, FloatArray],
        inputs: dict[str, FloatArray],
        outputs: dict[str, FloatArray],
    ) -> None:
        self.inputs: Mapping[str, FloatArray] = inputs
        self.outputs: Mapping[str, FloatArray] = outputs
        self._interpreter = interpreter  # holds the model's bytes, from which a run reads constants
        self._invoke = invoke
        self._in = [(_bytes(views[name]), _bytes(array)) for name, array in inputs.items()]
        self._out = [(_bytes(array), _bytes(views[name])) for name, array in outputs.items()]

    def run(self) -> None:
        for target, source in self._in:
            target[:] = source
        self._invoke()
        for target, source in self._out:
            target[:] = source


class _Signature(NamedTuple):
    """A model's tensors by the names that its one signature gives them; `indices` are the interpreter's."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    indices: dict[str, int]


def _read_signature(interpreter: _Interpreter, where: str) -> _Signature:
    keys = list(interpreter.get_signature_list())
    if len(keys) != 1:
        raise EngineError(f"{where} has {len(keys)} signatures, expected one that names inputs and outputs")
    runner = interpreter.get_signature_runner(keys[0])
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    indices = {name: details["index"] for name, details in {**inputs, **outputs}.items()}
    return _Signature(_specs(inputs, f"{where}: input"), _specs(outputs, f"{where}: output"), indices)


def _specs(details: _Details, where: str) -> list[TensorSpec]:
    for name, of in details.items():
        if of["dtype"] is not np.float32:
            raise EngineError(f"{where} {name!r} is {of['dtype'].__name__}, expected float32")
    return [TensorSpec(name, tuple(int(n) for n in of["shape"])) for name, of in details.items()]


def _view(interpreter: _Interpreter, index: int, where: str) -> FloatArray:
    try:
        return interpreter.tensor(index)()
    except ValueError:  # there is no memory for it before a run
        raise EngineError(f"{where} gets its shape only as the graph runs, expected a static one") from None


def _bytes(array: FloatArray) -> memoryview:
    return array.data.cast("B")


@contextmanager
def _quiet() -> Iterator[None]:
    """The library writes remarks to the process's standard error; what matters comes as an exception as well."""
    if sys.stderr is None:  # a process that was started without
        yield
        return
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
