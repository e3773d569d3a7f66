"""What a policy has learned on a device, kept over a restart: one small file, tied to its bundle."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.atomic import write_atomically
from acclimate.bundle import archive
from acclimate.bundle.digest import sha256_hex
from acclimate.bundle.file import MAX_BUNDLE
from acclimate.bundle.npz import check_arrays, pack_arrays, unpack_arrays
from acclimate.errors import AcclimateError, CheckpointError
from acclimate.fields import parse_object
from acclimate.policy.policy import Policy
from acclimate.whole_files import read_whole

FORMAT = 1
_HEADER, _STATE = "checkpoint.json", "state.npz"


def save_checkpoint(path: str | Path, policy: Policy) -> None:
    """Write every state tensor that the graphs change; a power cut leaves the old file or the new one.

    Raises CheckpointError, and writes nothing, where a value is not finite.
    """
    names = [tensor.name for tensor in policy.manifest.state if tensor.written_by is not None]
    arrays = {name: policy.state(name) for name in names}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"state {name!r} is not finite, and not saved to {path}: reset the policy first"
            )
    state = pack_arrays(arrays)
    header = {
        "format": FORMAT,
        "bundle": policy.manifest.name,
        "bundle_sha256": policy.bundle.sha256,
        "state_sha256": sha256_hex(state),
    }
    text = json.dumps(header, indent=2).encode() + b"\n"
    write_atomically(Path(path), archive.pack({_HEADER: text, _STATE: state}))


def load_checkpoint(path: str | Path, policy: Policy) -> None:
    """Put a saved state into `policy`.

    Raises CheckpointError for a file that is damaged, or was saved from another bundle; the policy is then
    unchanged.
    """
    path = Path(path)
    try:
        arrays = _read(path, policy)
    except CheckpointError:
        raise
    except AcclimateError as error:
        raise CheckpointError(str(error)) from None
    policy.set_states(arrays)


def _read(path: Path, policy: Policy) -> dict[str, FloatArray]:
    try:
        members = archive.unpack(io.BytesIO(read_whole(path, MAX_BUNDLE)), str(path))
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from None
    if set(members) != {_HEADER, _STATE}:
        raise CheckpointError(f"{path} is not a checkpoint; expected the members {_HEADER} and {_STATE}")
    _check_header(path, members[_HEADER], members[_STATE], policy)
    arrays = unpack_arrays(members[_STATE], f"{path}: {_STATE}")
    _check_arrays(path, arrays, policy)
    return arrays


def _check_header(path: Path, text: bytes, state: bytes, policy: Policy) -> None:
    header = parse_object(text, f"{path}: {_HEADER}")
    header.choice("format", (FORMAT,))
    name, bundle = header.text("bundle"), header.text("bundle_sha256")
    if bundle != policy.bundle.sha256:
        raise CheckpointError(
            f"{path} was saved from bundle {name!r} ({bundle[:12]}…), and this is {policy.manifest.name!r} "
            f"({policy.bundle.sha256[:12]}…); a checkpoint fits only the bundle that it was saved from"
        )
    if header.text("state_sha256") != sha256_hex(state):
        raise CheckpointError(f"{path}: {_STATE} was altered; its SHA-256 is not the one in {_HEADER}")
    header.finish()


def _check_arrays(path: Path, arrays: dict[str, FloatArray], policy: Policy) -> None:
    shapes = {t.name: t.shape for t in policy.manifest.state if t.written_by is not None}
    check_arrays(arrays, shapes, f"{path}: {_STATE}")
