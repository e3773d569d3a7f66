"""What the workers of one parallel test run share: folders made once, and turns for what needs a core to itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from acclimate.cores import usable_cores

_POLL = 0.05  # s


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
    """Who may run: any number of tests together, or a few that are alone with their kind.

    Those mostly wait for a device's clock, each with a core of its own: as many run together as there are `places`.
    Whoever waits for the other kind to leave waits at the gate and holds it, so that nobody else can slip in before.
    """

    def __init__(self, folder: Path, places: int = usable_cores()) -> None:
        self._gate = folder / "gate.lock"
        self._rooms = {
            alone: folder / f"room_{'alone' if alone else 'together'}.lock" for alone in (False, True)
        }
        self._places = [folder / f"place_{place}.lock" for place in range(places)]

    @contextlib.contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            if alone:
                held.enter_context(_first_free(self._places))
            with _locked(self._gate, fcntl.LOCK_EX):
                with _locked(self._rooms[not alone], fcntl.LOCK_EX):
                    pass  # the other kind has left
                held.enter_context(_locked(self._rooms[alone], fcntl.LOCK_SH))
            yield


@contextlib.contextmanager
def _first_free(paths: Sequence[Path]) -> Iterator[None]:
    while True:
        for path in paths:
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
                except BlockingIOError:
                    continue
                yield
                return
        time.sleep(_POLL)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do: a forked child may hold the file open
