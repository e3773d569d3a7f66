"""Whose C may run here: to load a bundle's C is to run a program of whoever made it, with the rights of this process.

A bundle is trusted by its SHA-256, which names its whole content: one that was exported here, or that somebody has said
to trust (`trust`, or `--trust` on the command line). It is remembered in the file `trusted` of the user's configuration
folder, a line for each: the hash, then the bundle's name for people. $ACCLIMATE_TRUST holds further hashes, with commas
between them, for this process and those that it starts. All other engines take graphs as data, and need no trust.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.bundle.file import Bundle
from acclimate.errors import UsageError
from acclimate.whole_files import read_whole

VARIABLE, FOLDER = "ACCLIMATE_TRUST", "ACCLIMATE_CONFIG"
_PROGRAMS = frozenset({"c"})  # suffixes of members that are programs
_MOST = 2**20  # bytes of the file


def is_trusted(bundle: Bundle) -> bool:
    """Whether the bundle's C may run here."""
    return bundle.sha256 in _for_this_process() or bundle.sha256 in _remembered()


def trust(bundle: Bundle) -> str:
    """Let this bundle's C run, from now on; returns why that cannot be remembered, or nothing where it is."""
    os.environ[VARIABLE] = ",".join([*_for_this_process(), bundle.sha256])
    if bundle.sha256 in _remembered():
        return ""
    path = _path()
    if path is None:
        return "there is no home to remember it in"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            lines = [*_lines(path), f"{bundle.sha256} {bundle.manifest.name}"]
            write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    except (OSError, UsageError) as error:
        return str(error)
    return ""


def untrusted(suffix: str, bundle: Bundle) -> str:
    """Why the bundle's members of this suffix may not be loaded, since they are programs; empty where they may."""
    if suffix not in _PROGRAMS or is_trusted(bundle):
        return ""
    return (
        f"engine 'native' would run the C in {bundle.path}, which is not trusted here; "
        f"if you know who made it, say so once: acclimate inspect {bundle.path} --trust"
    )


def _for_this_process() -> list[str]:
    return [part for part in os.environ.get(VARIABLE, "").split(",") if part]


def _remembered() -> set[str]:
    path = _path()
    return set() if path is None else {line.partition(" ")[0] for line in _lines(path)}


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """So that of two exports side by side, neither forgets what the other has written."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lines(path: Path) -> Iterator[str]:
    """None of a file that somebody else could have written."""
    try:
        found = path.stat()
        if found.st_uid in (0, os.getuid()) and not found.st_mode & 0o022:
            yield from read_whole(path, _MOST).decode(errors="replace").splitlines()
    except OSError:
        return


def _path() -> Path | None:
    """$ACCLIMATE_CONFIG, or else $XDG_CONFIG_HOME/acclimate, or else ~/.config/acclimate; None without a home."""
    if named := os.environ.get(FOLDER):
        return Path(named) / "trusted"
    if configurations := os.environ.get("XDG_CONFIG_HOME"):
        return Path(configurations) / "acclimate" / "trusted"
    try:
        return Path.home() / ".config" / "acclimate" / "trusted"
    except RuntimeError:
        return None
