"""onnxruntime, bound once to fixed memory: a run copies nothing, allocates nothing, and never spins."""

from __future__ import annotations

from collections.abc import Mapping

import onnxruntime as ort

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import GraphSpec, TensorSpec
from acclimate.engines import Graph, arrays_for
from acclimate.errors import EngineError

_ERRORS_ONLY = 3


class OnnxEngine:
    """Runs `.onnx` members on the CPU with one thread."""

    name = "onnxruntime"
    suffix = "onnx"
    remark = ""

    def load(self, model: bytes, spec: GraphSpec, where: str) -> OnnxProgram:
        return OnnxProgram(_open_session(model, where), spec, where)


class OnnxProgram:
    """One session; every `bind` is another binding over it."""

    def __init__(self, session: ort.InferenceSession, spec: GraphSpec, where: str) -> None:
        _compare(session.get_inputs(), spec.inputs, f"{where}: input")
        _compare(session.get_outputs(), spec.outputs, f"{where}: output")
        self._session = session
        self._spec = spec

    def bind(
        self, inputs: Mapping[str, FloatArray] | None = None, outputs: Mapping[str, FloatArray] | None = None
    ) -> Graph:
        bound = arrays_for(self._spec, inputs, outputs)
        return OnnxGraph(self._session, *bound)


class OnnxGraph:
    """A session bound to numpy memory; see `acclimate.engines.Graph`."""

    def __init__(
        self, session: ort.InferenceSession, inputs: dict[str, FloatArray], outputs: dict[str, FloatArray]
    ) -> None:
        self.inputs: Mapping[str, FloatArray] = inputs  # held here, since onnxruntime keeps bare pointers
        self.outputs: Mapping[str, FloatArray] = outputs
        self._run = session.run_with_iobinding
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, array in outputs.items():
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))

    def run(self) -> None:
        self._run(self._binding)


def _open_session(model: bytes, where: str) -> ort.InferenceSession:
    ort.disable_telemetry_events()
    try:
        return ort.InferenceSession(model, _options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (onnxruntime's own exceptions share no public base class)
        reason = " ".join(str(error).split())
        raise EngineError(f"{where} is refused by onnxruntime {ort.__version__}: {reason}") from None


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    return options


def _compare(found: list[ort.NodeArg], expected: tuple[TensorSpec, ...], where: str) -> None:
    """The manifest is trusted nowhere: the graph itself must have the tensors that it names."""
    names = [node.name for node in found]
    for spec in expected:
        if spec.name not in names:
            raise EngineError(
                f"{where} {spec.name!r} is in the manifest, but the graph has: {', '.join(names)}"
            )
    wanted = {spec.name: spec for spec in expected}
    for node in found:
        if node.name not in wanted:
            raise EngineError(
                f"{where} {node.name!r} is in the graph, but the manifest lists: {', '.join(wanted)}"
            )
        shape = list(wanted[node.name].shape)
        if list(node.shape) != shape or node.type != "tensor(float)":
            raise EngineError(
                f"{where} {node.name!r} is {node.type} of shape {node.shape}, "
                f"expected tensor(float) of shape {shape}"
            )
