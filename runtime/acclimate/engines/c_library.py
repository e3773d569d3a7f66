"""From C to a loaded library: compiled once by the board's own compiler, and kept in the user's cache folder.

A library is kept under a name that says all it depends on: the source, the flags and the processor, then the compiler.
A board without a compiler takes one that another compiler has made: an image can be built with the library in it. Its
last bytes are a hash of the others, so that a file cut short by a power cut, or altered, is never loaded: mapping one
would end the process. It is written beside and renamed, so that several processes may compile the same at once.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.bundle.digest import sha256_bytes, sha256_hex
from acclimate.cache import cache_folder
from acclimate.engines.c_compiler import FLAGS, find_compiler
from acclimate.engines.findings import processor
from acclimate.errors import EngineError, UsageError

_DIGEST = 32  # bytes of SHA-256 at the end of a file


def build(source: bytes, where: str, flags: Sequence[Sequence[str]] = FLAGS) -> ctypes.CDLL:
    """The library that `source` makes, from the cache where it is there.

    flags: sets of them, of which the first counts that the compiler knows.
    Raises EngineError where no compiler is found, nor a library that one has made, or where it refuses the source;
    `where` names that in errors.
    """
    stem, folder = _stem(source, flags), _folder()
    try:
        compiler = find_compiler()
    except EngineError:
        if (library := _of_any_compiler(folder, stem)) is None:
            raise
        return library
    name = f"{stem}-{sha256_hex(compiler.identity.encode())[:8]}.so"
    if folder is not None and (library := _recall(folder / name)) is not None:
        return library
    # Not before: a library that is there needs nothing of it.
    from acclimate.engines.c_compiling import compiled

    content = compiled(source, compiler, where, flags)
    if (
        folder is not None
        and _keep(folder / name, content)
        and (library := _recall(folder / name)) is not None
    ):
        return library
    return _load_once(content, where)


def is_kept(library: ctypes.CDLL) -> bool:
    """Whether a library that `build` made lies in the cache, where the next process finds it."""
    return Path(library._name).exists()


def _stem(source: bytes, flags: Sequence[Sequence[str]]) -> str:
    parts = (source, repr(flags).encode(), processor().encode())
    return sha256_hex(b"".join(map(sha256_bytes, parts)))[:32]


def _folder() -> Path | None:
    """Where libraries are kept: a folder that nobody else but root may write to. None where there is none."""
    caches = cache_folder()
    if caches is None:
        return None
    folder = caches / "native"
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
        found = folder.stat()
    except OSError:
        return None
    return folder if found.st_uid in (0, os.getuid()) and not found.st_mode & 0o022 else None


def _of_any_compiler(folder: Path | None, stem: str) -> ctypes.CDLL | None:
    """The newest library of this source, these flags and this processor."""
    if folder is None:
        return None
    for path in sorted(folder.glob(f"{stem}-*.so"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if (library := _recall(path)) is not None:
            return library
    return None


def _recall(path: Path) -> ctypes.CDLL | None:
    """The library in a file; None where it is not there, not whole, or not for this machine."""
    try:
        content = path.read_bytes()
        whole = sha256_bytes(content[:-_DIGEST]) == content[-_DIGEST:]
        return ctypes.CDLL(str(path)) if whole else None
    except OSError:
        return None


def _keep(path: Path, content: bytes) -> bool:
    """Whether the file could be written; a full disk is no reason not to drive."""
    try:
        write_atomically(path, content + sha256_bytes(content))
    except UsageError:
        return False
    return True


def _load_once(content: bytes, where: str) -> ctypes.CDLL:
    """For this process only."""
    from acclimate.engines.c_compiling import scratch  # not before: a library that is there needs none

    with scratch() as folder:
        path = folder / "graph.so"
        path.write_bytes(content)
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            raise EngineError(f"{where}: the library that it compiles to cannot be loaded: {error}") from None
