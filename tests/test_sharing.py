"""Turns and folders of parallel runs, among threads: every lock here belongs to one open file, as to a process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.sharing import Turns, made_once


def test_nobody_runs_beside_one_who_is_alone(tmp_path: Path) -> None:
    inside, seen = list[str](), list[tuple[str, ...]]()

    def run(name: str, *, alone: bool) -> None:
        for _ in range(20):
            with Turns(tmp_path).take(alone=alone):
                inside.append(name)
                seen.append(tuple(inside))
                time.sleep(0.001)
                inside.remove(name)

    threads = [
        threading.Thread(target=run, args=(n,), kwargs={"alone": n == "alone"}) for n in ("a", "b", "alone")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {names for names in seen if "alone" in names} == {("alone",)}
    assert any(len(names) == 2 for names in seen)  # the others run together


def test_a_folder_is_made_once_and_anew_after_a_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        made_once(tmp_path_factory, "test_once", fail)
    made = made_once(tmp_path_factory, "test_once", lambda folder: (folder / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert made_once(tmp_path_factory, "test_once", fail) == made
