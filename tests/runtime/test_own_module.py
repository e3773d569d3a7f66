"""A user's file is run as it is now, however quickly it has changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from acclimate.own_module import import_file


def test_a_file_of_the_same_size_and_second_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "own.py"
    for number in range(9):
        file.write_text(f"ARMS = {number}\n")
        found = import_file("acclimate_test_own", file)
        assert number == found.ARMS
    assert [path.name for path in tmp_path.iterdir()] == ["own.py"]  # nothing is left beside it


def test_a_file_that_fails_leaves_no_module_behind(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("ARMS = 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_file("acclimate_test_own_failing", file)
    assert "acclimate_test_own_failing" not in sys.modules
