"""An eye on a drive: a line each second, a verdict, and an end where the error is too large."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from acclimate.control.trial import EpisodeKey
from acclimate.errors import Diverged
from acclimate_bridge.command.watch import Announced, Watch
from acclimate_bridge.link.messages import State

from .fail_safe import Bench
from .sled import HOMING


@pytest.fixture
def bench(tiny: ModuleType) -> Bench:
    bench = Bench(tiny.manifest())
    bench.loop.start()
    return bench


def _reference(seconds: float, target: float = 0.0, speed: float = 0.0) -> np.ndarray:
    reference = np.zeros((round(seconds * 100) + 1, 2), np.float32)
    reference[:, 0] = target + speed * np.arange(len(reference)) / 100
    return reference


def test_a_line_is_told_for_each_second_and_phase(bench: Bench) -> None:
    told: list[str] = []
    watch = Watch(bench.manifest.task, tell=told.append)
    watch.of(bench.loop)
    references = Announced(lambda *_: _reference(1.5), watch)
    for key in (EpisodeKey(0, "measure", 0), EpisodeKey(0, "measure", 1), EpisodeKey(0, "explore", 0)):
        bench.loop.run_episode(references(bench.loop.measure(), key))
    assert [line.split("  ")[0] for line in told] == ["before adapting"] * 3 + ["exploring for step 1"]
    assert all("error" in line and "rad" in line for line in told)


def test_what_follows_is_well_and_what_runs_away_is_not(bench: Bench) -> None:
    """The cart moves at .3 rad/s whatever is asked for."""
    watch = Watch(bench.manifest.task)
    watch.of(bench.loop)
    bench.loop.run_episode(_reference(3.0, speed=0.3))
    assert watch.verdict() == ""
    assert watch.error < 0.05
    watch.begin("again")
    bench.loop.run_episode(_reference(3.0, target=float(bench.loop.obs[0])))
    assert "larger than that of standing still" in watch.verdict()


def test_too_large_an_error_for_too_long_ends_the_drive(bench: Bench) -> None:
    watch = Watch(bench.manifest.task, abort_error=0.1)
    watch.of(bench.loop)
    with pytest.raises(Diverged, match=r"more than 0\.1 away for 0\.25 s; the device was stopped") as ended:
        bench.loop.run_episode(_reference(9.0))
    assert ended.value.exit_code == 3
    assert bench.core.state is State.SAFE
    assert 0.1 + 0.25 * 0.3 <= bench.cart.measure()[0] < 0.1 + 0.3 * 0.3


def test_an_error_that_passes_ends_nothing(bench: Bench) -> None:
    watch = Watch(bench.manifest.task, abort_error=0.2)
    watch.of(bench.loop)
    reference = _reference(1.0, speed=0.3)
    reference[20:40, 0] += 1.0  # for .2 s
    bench.loop.run_episode(reference)
    assert bench.core.state is State.IDLE


def test_a_task_without_an_error_is_left_alone(bench: Bench) -> None:
    watch = Watch(HOMING, abort_error=0.1)
    watch.of(bench.loop)
    bench.loop.run_episode(_reference(1.0))
    assert watch.verdict() == ""
    assert math.isnan(watch.error)
