"""Named float32 arrays as bytes: a strict, deterministic subset of .npz that never unpickles anything."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np
from numpy.lib import format as npy

from acclimate.arrays import FloatArray
from acclimate.bundle import archive
from acclimate.errors import BundleError

_SUFFIX = ".npy"


def pack_arrays(arrays: Mapping[str, FloatArray]) -> bytes:
    """The arrays as an uncompressed .npz whose bytes depend on nothing but names, shapes and values.

    Raises BundleError for an array that is not float32.
    """
    return archive.pack({name + _SUFFIX: _pack_array(name, arrays[name]) for name in sorted(arrays)})


def unpack_arrays(data: bytes, where: str) -> dict[str, FloatArray]:
    """The arrays of an .npz made by `pack_arrays`, fresh and writable; `where` names the member in errors.

    Raises BundleError for anything but plain little-endian float32 arrays in C order.
    """
    arrays = {}
    for member, content in archive.unpack(io.BytesIO(data), where).items():
        if not member.endswith(_SUFFIX):
            raise BundleError(f"{where} holds {member!r}; expected arrays named NAME.npy only")
        name = member.removesuffix(_SUFFIX)
        arrays[name] = _unpack_array(content, f"{where}: array {name!r}")
    return arrays


def check_arrays(arrays: Mapping[str, FloatArray], shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise BundleError unless `arrays` has exactly the names and shapes of `shapes`, and finite values."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise BundleError(f"{where} lacks the array {name!r}; it has: {', '.join(arrays) or 'none'}")
        if arrays[name].shape != shape:
            raise BundleError(
                f"{where}: array {name!r} has shape {list(arrays[name].shape)}, expected {list(shape)}"
            )
        if not np.isfinite(arrays[name]).all():
            raise BundleError(f"{where}: array {name!r} holds values that are not finite")
    extra = sorted(arrays.keys() - shapes.keys())
    if extra:
        raise BundleError(
            f"{where} holds the unexpected array {extra[0]!r}; valid names: {', '.join(shapes) or 'none'}"
        )


def _pack_array(name: str, array: FloatArray) -> bytes:
    if array.dtype != np.float32:
        raise BundleError(f"array {name!r} is {array.dtype}; a bundle stores float32 only")
    buffer = io.BytesIO()
    npy.write_array(buffer, np.ascontiguousarray(array).reshape(array.shape), (1, 0))
    return buffer.getvalue()


def _unpack_array(content: bytes, where: str) -> FloatArray:
    stream = io.BytesIO(content)
    try:
        version = npy.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version} of the .npy format")
        shape, fortran, dtype = npy.read_array_header_1_0(stream)
    except (ValueError, EOFError) as error:
        raise BundleError(f"{where} is not a version 1.0 .npy array ({_first_line(error)})") from None
    if dtype.hasobject:
        raise BundleError(f"{where} holds pickled Python objects, which are never loaded; expected float32")
    if dtype != np.dtype("<f4") or fortran:
        order = ", Fortran order" if fortran else ""
        raise BundleError(f"{where} is {dtype.str}{order}; expected little-endian float32 in C order")
    return _values(content, stream.tell(), shape, where)


def _values(content: bytes, offset: int, shape: tuple[int, ...], where: str) -> FloatArray:
    # The header is checked against the bytes that are there, so that a lie in it cannot make us allocate.
    expected, found = 4 * math.prod(shape), len(content) - offset
    if expected != found or any(n < 0 for n in shape):
        raise BundleError(
            f"{where} has shape {list(shape)}, that is {expected} bytes, but {found} bytes follow"
        )
    return np.frombuffer(content, np.float32, offset=offset).reshape(shape).astype(np.float32)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
