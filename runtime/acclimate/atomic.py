"""Files that are there whole or not at all, whatever happens to the power."""

from __future__ import annotations

import os
from pathlib import Path

from acclimate.errors import UsageError


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, fsync, rename: at any moment `path` holds either the old content or `data`.

    Where `path` is a link, what it leads to is replaced. Raises UsageError where the folder is missing or cannot be
    written, and for what is no file.
    """
    import tempfile  # not before: most programs write nothing

    try:
        path = _file(path)
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


def check_writable(path: Path) -> None:
    """Raises UsageError where `write_atomically` would, as far as can be told before there is anything to write."""
    import tempfile  # not before: most programs write nothing

    try:
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=_file(path).parent):
            return
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _file(path: Path) -> Path:
    """Where the content lies. Raises UsageError for a device or a pipe: a rename would put a file in its place."""
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise UsageError(f"cannot write {path}: it is a device or a pipe, expected a file")
    return target


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
