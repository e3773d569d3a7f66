"""What the workers of one parallel test run share: folders that are made once, and turns for what must run alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def base_of(factory: pytest.TempPathFactory) -> Path:
    """The folder of the whole run, which all workers see."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # a worker's own lies in it


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that whichever worker comes first fills by `make`, and the others only read."""
    base = base_of(factory)
    folder, done = base / name, base / f"{name}.done"
    with _locked(base / f"{name}.lock", fcntl.LOCK_EX):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed half-way
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


class Turns:
    """Who may run: any number of workers together, or one of them alone.

    Whoever wants to be alone waits at the gate and holds it, so that nobody else can slip in before.
    """

    def __init__(self, folder: Path) -> None:
        self._gate, self._room = folder / "gate.lock", folder / "room.lock"

    @contextlib.contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        with contextlib.ExitStack() as room:
            with _locked(self._gate, fcntl.LOCK_EX):
                room.enter_context(_locked(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
            yield


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do: a forked child may hold the file open
