"""Environments with exactly what an install of some extras needs, made from packages that are here already.

pip would resolve and download the same distributions; torch alone takes minutes. Here they are linked into a new
environment, so that a package that an extra forgot is as absent as on a fresh computer.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sharing import made_once

from .conftest import Board

DISTRIBUTION = "acclimate"


@functools.cache
def needed(extras: str) -> dict[str, metadata.Distribution]:
    """Every distribution that `pip install acclimate[EXTRAS]` brings beside acclimate, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    seen, waiting = set[tuple[str, str]](), [(DISTRIBUTION, extra) for extra in ("", *extras.split(","))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        distribution = metadata.distribution(name)
        if name != DISTRIBUTION:
            found[name] = distribution
        for requirement in _requirements(distribution, extra):
            inner = canonicalize_name(requirement.name)
            waiting += [(inner, wanted) for wanted in ("", *requirement.extras)]
    return found


def environment(factory: pytest.TempPathFactory, wheel: Path, extras: str) -> Board:
    """What `pip install acclimate[EXTRAS]` leaves."""
    name = f"extras_{extras.replace(',', '_')}"
    return Board(made_once(factory, name, lambda folder: make_environment(folder, wheel, extras)))


def make_environment(folder: Path, wheel: Path, extras: str) -> None:
    """FOLDER/venv: acclimate from `wheel`, and links to what the extras need."""
    venv.create(folder / "venv", with_pip=False)
    (packages,) = folder.glob("venv/lib/python3*/site-packages")
    for distribution in needed(extras).values():
        link(distribution, packages)
    python = folder / "venv" / "bin" / "python"
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "-q",
        "--no-deps",
        "--no-compile",
    ]
    subprocess.run([*command, str(wheel)], check=True)


def _requirements(distribution: metadata.Distribution, extra: str) -> Iterator[Requirement]:
    """Those that its extra adds, or where `extra` is empty, those that it always has."""
    for text in distribution.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always if not extra else not always and marker is not None and marker.evaluate({"extra": extra}):
            yield requirement


def link(distribution: metadata.Distribution, packages: Path) -> None:
    """Link its folders, and file by file where another distribution has files in the same folder."""
    root, shared = Path(str(distribution.locate_file(""))), _shared_folders()
    files = _files(distribution)
    for name in {top for file in files if (top := file.split("/")[0]) not in shared} | {
        file for file in files if file.split("/")[0] in shared
    }:
        target = packages / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(root / name)


def _files(distribution: metadata.Distribution) -> list[str]:
    """What lies in site-packages, without scripts and what Python makes itself."""
    record = distribution.read_text("RECORD") or ""
    names = [line.rsplit(",", 2)[0].strip('"') for line in record.splitlines()]
    return [name for name in names if not name.startswith("..") and "__pycache__/" not in name]


@functools.cache
def _shared_folders() -> set[str]:
    """Top folders that several distributions have files in, as namespace packages do."""
    owners: dict[str, set[str]] = {}
    for distribution in metadata.distributions():
        name = distribution.name  # read from a file each time
        for folder in {file.split("/")[0] for file in _files(distribution)}:
            owners.setdefault(folder, set()).add(name)
    return {folder for folder, names in owners.items() if len(names) > 1}
