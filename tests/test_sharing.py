"""Turns and folders of parallel runs, among threads: every lock here belongs to one open file, as to a process."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.sharing import Turns, made_once


@pytest.mark.parametrize("places", [1, 2])
def test_nobody_runs_beside_those_who_are_alone_but_as_many_of_them_as_have_places(
    tmp_path: Path, places: int
) -> None:
    inside, seen = list[str](), list[tuple[str, ...]]()

    def run(name: str, *, alone: bool) -> None:
        for _ in range(20):
            with Turns(tmp_path, places).take(alone=alone):
                inside.append(name)
                seen.append(tuple(inside))
                time.sleep(0.001)
                inside.remove(name)

    threads = [threading.Thread(target=run, args=(n,), kwargs={"alone": n.isupper()}) for n in "abABC"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    quiet = [names for names in seen if any(name.isupper() for name in names)]
    assert all(name.isupper() for names in quiet for name in names)
    assert max(map(len, quiet)) == places
    assert any(names[0].islower() and len(names) == 2 for names in seen)  # the others run together


def test_a_folder_is_made_once_and_anew_after_a_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        made_once(tmp_path_factory, "test_once", fail)
    made = made_once(tmp_path_factory, "test_once", lambda folder: (folder / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert made_once(tmp_path_factory, "test_once", fail) == made
