"""Files that are read whole: never more of one than it may hold, and nothing that has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_whole(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises OSError where there is none, with a reason in `strerror`: also for a device, a pipe, and a larger file.
    """
    found = path.stat()
    if stat.S_ISREG(found.st_mode):
        with path.open("rb") as file:
            return read_bounded(file.fileno(), most, path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is a device or a pipe, expected a file", str(path))


def read_bounded(handle: int, most: int, path: Path) -> bytes:
    """All that there is to read, if it is at most `most` bytes. Raises OSError where it is more."""
    parts, size = [], 0
    while part := os.read(handle, min(2**20, most + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return b"".join(parts)
