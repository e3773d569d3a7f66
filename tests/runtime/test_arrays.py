import io

import numpy as np
import pytest
from acclimate.bundle import archive
from acclimate.bundle.npz import pack_arrays, unpack_arrays
from acclimate.errors import BundleError


def _npz(name: str, array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return archive.pack({f"{name}.npy": buffer.getvalue()})


def test_arrays_survive_and_numpy_reads_them() -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([np.pi], np.float32)}
    data = pack_arrays(arrays)
    ours, numpys = unpack_arrays(data, "x.npz"), np.load(io.BytesIO(data), allow_pickle=False)
    for name, array in arrays.items():
        np.testing.assert_array_equal(ours[name], array)
        np.testing.assert_array_equal(numpys[name], array)
        ours[name][...] = 0.0  # fresh and writable


def test_pickled_objects_are_refused_and_never_loaded() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("the pickle was loaded",))

    with pytest.raises(BundleError, match="'w' holds pickled Python objects"):
        unpack_arrays(_npz("w", np.array([Bomb()], dtype=object)), "state.npz")


@pytest.mark.parametrize("array", [np.zeros(2), np.zeros(2, ">f4"), np.zeros((2, 2), np.float32, order="F")])
def test_other_types_and_orders_are_refused(array: np.ndarray) -> None:
    order = ", Fortran order" if not array.flags.c_contiguous else ""
    said = f"{array.dtype.str}{order}; expected little-endian float32 in C order"
    with pytest.raises(BundleError, match=said):
        unpack_arrays(_npz("w", array), "state.npz")


def test_a_header_that_claims_more_than_is_there_cannot_make_us_allocate() -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (64 - (10 + len(header) + 1) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\x00" * 8
    with pytest.raises(BundleError, match="4000000000000 bytes, but 8 bytes follow"):
        unpack_arrays(archive.pack({"w.npy": content}), "state.npz")


def _header(shape: str, content: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 1, 3)])
def test_every_shape_survives(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float32)
    found = unpack_arrays(pack_arrays({"w": array}), "state.npz")["w"]
    assert found.shape == shape
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("shape", ["(-1,)", "(-2, -1)", "(-1, 2, -1)", "(3,)", "(1,)"])
def test_a_shape_is_what_follows(shape: str) -> None:
    """Also where two lengths below 0 would give a number that is right."""
    with pytest.raises(BundleError, match=r"has shape .* bytes, but 8 bytes follow"):
        unpack_arrays(archive.pack({"w.npy": _header(shape, bytes(8))}), "state.npz")


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"array 'w' is not a version 1\.0 \.npy array"):
        unpack_arrays(archive.pack({"w.npy": content}), "state.npz")


def test_why_it_is_no_array_is_told() -> None:
    with pytest.raises(
        BundleError, match=r"is not a version 1\.0 \.npy array \(the magic string is not correct"
    ):
        unpack_arrays(archive.pack({"w.npy": b"not an array"}), "state.npz")


def test_other_members_are_refused() -> None:
    with pytest.raises(BundleError, match=r"expected arrays named NAME\.npy only"):
        unpack_arrays(archive.pack({"w.txt": b""}), "state.npz")


def test_only_float32_is_written() -> None:
    with pytest.raises(BundleError, match="'w' is float64"):
        pack_arrays({"w": np.zeros(2)})  # type: ignore[dict-item]
