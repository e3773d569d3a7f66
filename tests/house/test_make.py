"""The Makefile: what it offers, and that it refuses what cannot be with a sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = (
    "setup", "demo", "demo-full", "test", "test-fast", "bench", "bundles", "pictures", "wheel", "lint", "clean", "help",
)  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_without_a_target_it_lists_all_of_them() -> None:
    done = _make()
    assert done.returncode == 0
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    assert set(TARGETS) <= set(listed)


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_of_that_name_hides_no_target(tmp_path: Path, target: str) -> None:
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready").touch()  # newer than what it depends on
    (tmp_path / target).touch()
    assert "is up to date" not in _make("-C", str(tmp_path), "--dry-run", target).stdout


def test_a_python_that_fits_is_taken() -> None:
    assert _make("python", f"PYTHON={sys.executable}").stdout.strip() == sys.executable


@pytest.mark.parametrize("python", ["/no/such/python", "false", ""])
def test_without_a_python_that_fits_one_sentence_says_what_to_install(python: str) -> None:
    done = _make("python", f"PYTHON={python}")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "found no Python 3.11 to 3.13" in done.stderr
    assert "make setup PYTHON=/path/to/python3" in done.stderr


def test_torch_is_the_pinned_one() -> None:
    pinned = next(t for t in (ROOT / "constraints.txt").read_text().split() if t.startswith("torch=="))
    recipe = _make("--dry-run", "--always-make", "setup").stdout
    assert f'"{pinned}+cpu"' in recipe if sys.platform == "linux" else f'"{pinned}"' in recipe
