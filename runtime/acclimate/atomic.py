"""Files that are there whole or not at all, whatever happens to the power."""

from __future__ import annotations

import os
from pathlib import Path

from acclimate.errors import UsageError


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, fsync, rename: at any moment `path` holds either the old content or `data`.

    Raises UsageError where the folder is missing or cannot be written.
    """
    import tempfile  # not before: most programs write nothing

    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            _write(handle, data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _write(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o666 & ~_umask())
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
