"""Bundles for the bridge's tests: the runtime's small real one, its frozen twin, and an oracle."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from acclimate.bundle.file import write_bundle
from acclimate.bundle.manifest import StateTensor
from acclimate.bundle.npz import pack_arrays
from acclimate.command.cli import main
from acclimate.own_module import import_file

Acclimate = Callable[..., subprocess.CompletedProcess[str]]


def _tiny() -> ModuleType:
    return import_file("tiny_bundles", Path(__file__).parents[1] / "runtime" / "bundles.py")


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module that makes the runtime's small bundle."""
    return _tiny()


@pytest.fixture(scope="session")
def bundles(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny, rl2, continual, robust and oracle.acclimate, for harder ranges than its own."""
    folder = tmp_path_factory.mktemp("bundles")
    manifest = tiny.manifest()
    harder = {"delay": [0.0, 0.02], "gravity_fraction": [0.0, 0.1]}
    manifest = replace(manifest, family=tiny.servos("wide", **tiny.RANGES, **harder))
    tiny.write_tiny(folder / "tiny.acclimate", manifest)
    tiny.write_tiny(folder / "rl2.acclimate", tiny.recurrent(manifest))
    continual = replace(tiny.continual(manifest), name="continual", algorithm="model")
    tiny.write_tiny(folder / "continual.acclimate", continual)
    frozen = tiny.without_adapt(manifest)
    tiny.write_tiny(folder / "robust.acclimate", replace(frozen, name="robust"))
    task = StateTensor("task", (2,), "never", None)
    oracle = replace(
        frozen,
        name="oracle",
        algorithm="oracle",
        state=(*frozen.state, task),
        privileged=("voltage", "delay"),
    )
    state = pack_arrays(tiny.INITIAL | {"task": np.zeros(2, np.float32)})
    write_bundle(folder / "oracle.acclimate", oracle, tiny.members(frozen) | {"state.npz": state})
    return folder


@pytest.fixture(scope="session")
def acclimate() -> Acclimate:
    """Runs the command in a process of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        code = "from acclimate.command.cli import main; raise SystemExit(main())"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="session")
def here() -> Acclimate:
    """Runs the command in this process: for what is refused before anything is driven."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as said,
        ):
            code = main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), said.getvalue())

    return run
