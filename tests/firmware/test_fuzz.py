"""Codec and device under sanitizers: what fuzzing has found, as it is and changed. In CI libFuzzer looks for more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks._boards import FIRMWARE

CORPUS = FIRMWARE / "fuzz" / "corpus"
RUNS = 60  # of each file


@pytest.mark.parametrize("target", ["codec", "device"])
def test_nothing_that_arrives_breaks_a_promise(drivers: Path, target: str) -> None:
    kept = sorted((CORPUS / target).iterdir())
    assert len(kept) >= 10
    command = [str(drivers / f"drive_{target}"), "1", str(RUNS), *map(str, kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(kept)} files, {RUNS + 1} runs of each\n"
