"""What whole trainings by the built-in configs take: by the clock, which other work stretches, and of the processor.

Each is `acclimate train` as a user starts it, compiler and all, with an empty cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from acclimate.cache import VARIABLE

from benchmarks.harness import BenchmarkError, Figure

FOLDER = Path("runs/bench/training_time")
CONFIGS = {"servo_wide_rl2": 130, "servo_wide_maml": 600}
"""And the iterations after which they are as good as they were when torch alone trained them. The configs themselves go
on for longer."""


def run(seed: int) -> Mapping[str, Figure]:
    """By config: wall_s, cpu_s, the errors that it came to, and the shares of its time."""
    found = {name: _trained(name, iterations, seed) for name, iterations in CONFIGS.items()}
    return {f"{name}.{key}": figure for name, figures in found.items() for key, figure in figures.items()}


def _trained(name: str, iterations: int, seed: int) -> dict[str, Figure]:
    out = FOLDER / name
    command = [sys.executable, "-m", "acclimate", "train", name, "--out", str(out), "--seed", str(seed)]
    command += ["--iterations", str(iterations)]
    with tempfile.TemporaryDirectory(prefix="acclimate-") as cache:
        environment = {**os.environ, VARIABLE: cache, "OMP_NUM_THREADS": "1"}
        before, begin = os.times(), time.perf_counter()
        done = subprocess.run(
            [*command, "--fresh", "--json"], env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        wall, after = time.perf_counter() - begin, os.times()
    if done.returncode:
        raise BenchmarkError(f"training {name} ended with exit code {done.returncode}; see its output above")
    result = json.loads(done.stdout)
    errors = {key: value for key, value in result["figures"].items() if key.startswith("error")}
    cpu = sum(b - a for a, b in zip(before[2:4], after[2:4], strict=True))
    shares = {f"{part}_share": value for part, value in result["shares"].items()}
    return {"wall_s": wall, "cpu_s": cpu, **errors, **shares}
