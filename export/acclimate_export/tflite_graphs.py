"""Traced graphs as TFLite: built-in operators, our names, and the same bytes for the same policy."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from acclimate.errors import UsageError

from acclimate_export.flatbuffer import operators, tidy
from acclimate_export.formats import Converted, Source
from acclimate_export.tracing import Traced

_NO_PROGRESS = {"LITERT_TORCH_SHOW_PROGRESS": "n"}


def to_tflite(source: Source) -> Converted:
    """Raises UsageError for an operator that TFLite lacks."""
    model = convert_graph(source.traced, source.name)
    return Converted(model, {"operators": len(operators(model)), "bytes": len(model)})


def convert_graph(traced: Traced, name: str) -> bytes:
    """`traced` as a model whose one signature is called `name`. Raises as `to_tflite`."""
    inputs = {name: tuple(tensor.shape) for name, tensor in traced.inputs.items()}
    return tidy(_convert(traced, name), name, inputs, traced.outputs)


def _convert(traced: Traced, name: str) -> bytes:
    with _quiet():
        import litert_torch

        try:
            converted = litert_torch.convert(traced.graph.eval(), tuple(traced.inputs.values()))
        except Exception as error:  # noqa: BLE001  (it raises whatever its parts raise)
            reason = " ".join(str(error).split())
            raise UsageError(f"{name}: litert-torch cannot convert it: {reason}") from None
        model: bytes = converted.model_content()
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter, from its import on, tells of progress, of GPU libraries that it lacks, and of deprecations."""
    sys.stderr.flush()
    before = {name: os.environ.get(name) for name in _NO_PROGRESS}
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    os.environ.update(_NO_PROGRESS)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
        logging.disable(level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
