"""What time goes into: all of it is somebody's, and nobody's twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from acclimate_trainer.compiled.stopwatch import Stopwatch


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    """Whose every look at the clock is a second after the one before."""
    seconds = iter(range(100))
    monkeypatch.setattr(
        "acclimate_trainer.compiled.stopwatch.time.perf_counter", lambda: float(next(seconds))
    )
    return Stopwatch()


def test_what_is_inside_is_not_counted_outside(watch: Stopwatch) -> None:
    with watch.on("outer"):  # looks at 0
        with watch.on("inner"), watch.on("innermost"):  # 1 and 2, 3 and 4
            pass
        with watch.on("inner"):  # 5, 6
            pass
    assert watch.seconds == {"innermost": 1.0, "inner": 3.0, "outer": 3.0}  # 7
    assert sum(watch.seconds.values()) == 7.0


def test_what_raises_has_taken_its_time(watch: Stopwatch) -> None:
    with watch.on("outer"), pytest.raises(ValueError, match="no"), watch.on("inner"):
        raise ValueError("no")
    assert watch.seconds == {"inner": 1.0, "outer": 2.0}


def test_only_what_has_come_since_counts(watch: Stopwatch) -> None:
    found = []
    for _ in range(3):
        with watch.on("here"):
            pass
        found.append(dict(watch.seconds))
    assert [Stopwatch(after).since(before) for before, after in pairwise(found)] == [{"here": 1.0}] * 2
