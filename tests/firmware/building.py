"""Compiling what is in firmware_bridge/firmware/, once per test run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks._boards import CORE, CORTEX_M4, SOURCES, compiled

ROOT = Path(__file__).parents[2]
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
IN_CI = "CI" in os.environ


def need(program: str) -> str:
    """Where it is. The test is skipped where it is not installed, and fails in CI."""
    found = shutil.which(program)
    if found is None and IN_CI:
        pytest.fail(f"{program} is not installed; .ci/run is to install it")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def bench(folder: Path) -> Path:
    """The core with tests/firmware/bench.c, as a library."""
    path = folder / "bench.so"
    sources = [SOURCES / name for name in CORE] + [Path(__file__).parent / "bench.c"]
    compiled("cc", "-std=c99", "-O1", "-shared", "-fPIC", "-I", SOURCES, *sources, "-o", path)
    return path


def sketch(path: Path, include: Path, folder: Path) -> None:
    """Compile a sketch as an Arduino with a Cortex-M would, against the few declarations of arduino/Arduino.h."""
    declared = Path(__file__).parent / "arduino"
    flags = ("-std=gnu++11", *CORTEX_M4, "-Os", "-fno-exceptions", "-Wall", "-Wextra", "-Werror")
    where = ("-I", include, "-I", declared)
    compiled("arm-none-eabi-g++", *flags, *where, "-x", "c++", "-c", path, "-o", folder / "sketch.o")
