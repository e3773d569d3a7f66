"""The wheel, a board that it was installed on, and a bundle to run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.runtime import bundles
from tests.sharing import made_once

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Board:
    """A clean environment with nothing but the board's install, in a folder outside the checkout."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def acclimate(self) -> Path:
        return self.folder / "venv" / "bin" / "acclimate"

    @property
    def environment(self) -> Mapping[str, str]:
        """Without anything that would let the checkout or the developer's packages shine through."""
        return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(self, program: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env=self.environment
        )

    def pip(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """By the developer's pip: to put one into each environment takes seconds."""
        return self.run(Path(sys.executable), "-m", "pip", "--python", self.python, *arguments)

    def distributions(self) -> set[str]:
        """Names of all that is installed."""
        listed = self.pip("list", "--format", "json").stdout
        return {entry["name"].lower() for entry in json.loads(listed)}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built from the checkout."""
    (path,) = made_once(tmp_path_factory, "wheel", _build).glob("*.whl")
    return path


def _build(folder: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def board(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """What `pip install acclimate[onnx,serial]` leaves on a fresh board."""
    return install(tmp_path_factory, "board", "-c", ROOT / "constraints.txt", f"{wheel}[onnx,serial]")


def install(factory: pytest.TempPathFactory, name: str, *arguments: str | Path) -> Board:
    """A new environment with what `pip install ARGUMENTS` puts there."""

    def make(folder: Path) -> None:
        board = Board(folder)
        venv.create(folder / "venv", with_pip=False)
        done = board.pip("install", "-q", *arguments)
        if done.returncode and "Failed to establish a new connection" in done.stderr:
            pytest.skip("the package index cannot be reached")
        assert done.returncode == 0, done.stderr

    return Board(made_once(factory, name, make))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle, made with the developer's packages."""
    return bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate")
