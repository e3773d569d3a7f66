"""What is compiled once per test run."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks._boards import Served, host_device, made, qemu_device
from tests.sharing import made_once

from . import bench, building


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The C core on the bench."""
    building.need("cc")
    return bench.load(made_once(tmp_path_factory, "firmware_bench", building.bench) / "bench.so")


@pytest.fixture(scope="session")
def host_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of `make host`."""
    building.need("cc")
    folder = made_once(tmp_path_factory, "firmware_host", lambda folder: made(folder, "host"))
    return folder / "device"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the images of `make mps2`."""
    building.need("arm-none-eabi-gcc")
    building.need("qemu-system-arm")
    return made_once(tmp_path_factory, "firmware_mps2", lambda folder: made(folder, "mps2"))


@pytest.fixture(params=["host", "mps2"])
def device(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The device at a port, on each board."""
    if request.param == "host":
        with host_device(request.getfixturevalue("host_build")) as served:
            yield served
    else:
        with qemu_device(request.getfixturevalue("images") / "mps2.elf") as served:
            yield served


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of `make drivers`."""
    building.need("cc")
    return made_once(tmp_path_factory, "firmware_drivers", lambda folder: made(folder, "drivers"))
