"""The benchmark of four rooms, small: what it reports, and that it goes on where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from acclimate.stats import Interval
from acclimate_trainer.baselines.rooms_players import Settings

from benchmarks import rooms_gpi
from benchmarks.harness import plots


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"TASKS": 2, "RUNS": 3, "STEPS": 400}.items():
        monkeypatch.setattr(rooms_gpi, name, value)
    monkeypatch.setattr(rooms_gpi, "FOLDER", tmp_path / "runs")
    monkeypatch.setattr(plots, "FOLDER", tmp_path)
    return tmp_path


def test_figures_are_of_what_was_earned(small: Path) -> None:
    figures = rooms_gpi.run(0)
    for prefix, half in (("", slice(0, 3)), ("optimistic.", slice(3, 6))):
        totals = {n: np.load(small / f"runs/seed0/{n}.npy")[..., half].sum((0, 1)) for n in rooms_gpi.PLAYERS}
        reward, ratio = figures[f"{prefix}reward.sfql"], figures[f"{prefix}ratio_to_scratch"]
        assert isinstance(reward, Interval)
        assert isinstance(ratio, Interval)
        assert (reward.n, ratio.n) == (3, 3)
        assert reward.mean == pytest.approx(totals["sfql"].mean(), rel=1e-5)
        assert ratio.mean == pytest.approx((totals["sfql"] / totals["scratch"]).mean(), rel=1e-5)
    shown = json.loads((small / "rooms_gpi.plot.json").read_text())
    for start, prefix in (("zero", ""), ("optimistic", "optimistic.")):
        sums = shown["panels"][f"tables start {'at ' * (start == 'zero')}{start}"]["sfql"]
        reward = figures[f"{prefix}reward.sfql"]
        assert isinstance(reward, Interval)
        assert sums["mean"][-1] == pytest.approx(reward.mean, abs=0.01)
        assert sums["half"][-1] == pytest.approx(reward.mean - reward.low, abs=0.01)


def test_an_interrupted_run_goes_on_with_the_next_player(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rooms_gpi.run(0)
    (small / "runs/seed0/sfql.npy").unlink()
    played = []

    def watched(name: str, player: rooms_gpi.Player) -> rooms_gpi.Player:
        def play(*args: object) -> np.ndarray:
            played.append(name)
            return player.play(*args)  # type: ignore[arg-type]

        return player._replace(play=play)

    monkeypatch.setattr(rooms_gpi, "PLAYERS", {n: watched(n, p) for n, p in rooms_gpi.PLAYERS.items()})
    assert rooms_gpi.run(0) == whole
    assert played == ["sfql"]


def test_the_settings_of_both_halves_stand_side_by_side(small: Path) -> None:
    del small
    beside = rooms_gpi._beside(Settings(0.5, 0.1), Settings(1.0, 0.2, 0.3))
    assert np.asarray(beside.rate).tolist() == [0.5] * 3 + [1.0] * 3
    assert np.asarray(beside.optimism) == pytest.approx([0.0] * 3 + [0.3] * 3)
