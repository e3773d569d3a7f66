"""Bundles with one thing wrong, but consistent with themselves: only a comparison can find it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.npz import pack_arrays, unpack_arrays
from onnx import numpy_helper


def rewritten(bundle: Bundle, folder: Path, member: str, content: bytes) -> Bundle:
    """The bundle in ONNX alone, with another content of one member, hashes and all."""
    path = folder / "broken.acclimate"
    kept = {name: old for name, old in bundle.members.items() if not name.endswith((".c", ".tflite"))}
    write_bundle(path, bundle.manifest, {**kept, member: content})
    return load(path)


def with_constant(
    bundle: Bundle, folder: Path, graph: str, change: Callable[[FloatArray], FloatArray]
) -> Bundle:
    """The graph's largest constant changed."""
    model = onnx.load_from_string(bundle.members[f"{graph}.onnx"])
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    largest = max(floats, key=lambda tensor: int(np.prod(tensor.dims)))
    values = change(numpy_helper.to_array(largest).copy()).astype(np.float32)
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    return rewritten(bundle, folder, f"{graph}.onnx", model.SerializeToString())


def with_array(bundle: Bundle, folder: Path, member: str, name: str, amount: float) -> Bundle:
    """One number of an array in an .npz raised by `amount`."""
    arrays = unpack_arrays(bundle.members[member], member)
    arrays[name].flat[0] += np.float32(amount)
    return rewritten(bundle, folder, member, pack_arrays(arrays))
