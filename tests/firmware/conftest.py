"""What is compiled once per test run."""

from __future__ import annotations

import ctypes

import pytest

from tests.sharing import made_once

from . import bench, building


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The C core on the bench."""
    building.need("cc")
    return bench.load(made_once(tmp_path_factory, "firmware_bench", building.bench) / "bench.so")
