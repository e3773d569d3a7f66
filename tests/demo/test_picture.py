"""The demo's picture: what is read from recordings and reports, and that it is the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from acclimate.fields import Json
from acclimate_demo.picture import draw_picture, stages
from acclimate_demo.traces import change_in_mid_drive, steps_taken

PNG = b"\x89PNG\r\n\x1a\n"
STEPS = 20


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """As `run --record` leaves it: four episodes measured, two exploring, four measured after a step."""
    shot, purpose = np.repeat([0, 0, 1], [4, 2, 4]), np.repeat([0, 1, 0], [4, 2, 4])
    obs = np.arange(10)[:, None, None] + np.zeros((10, STEPS + 1, 4))
    obs[..., 2] += 0.5
    action = np.full((10, STEPS, 1), -0.25)
    np.savez(tmp_path / "trial.npz", obs=obs, applied=action, shot=shot, purpose=purpose)
    return tmp_path / "trial.npz"


def test_before_and_after_show_the_same_references(recording: Path) -> None:
    before, after = steps_taken(recording)
    assert (before.title, after.title) == ("before adapting", "after 1 step")
    assert before.position == [0.0] * STEPS + [None] + [1.0] * STEPS
    assert after.position == [6.0] * STEPS + [None] + [7.0] * STEPS
    assert after.target == [6.5] * STEPS + [None] + [7.5] * STEPS
    assert after.action == [-0.25] * STEPS + [None] + [-0.25] * STEPS
    assert after.time[-1] == pytest.approx((2 * STEPS - 1) * 0.01)


def test_a_drive_is_shown_whole_with_what_happened(recording: Path) -> None:
    (drive,) = change_in_mid_drive(recording, "payload dropped", 1.0)
    assert len(drive.time) == 10 * STEPS + 9
    assert (drive.mark, drive.event) == (1.0, "payload dropped")


def machine(family: str, before: float, after: float) -> Json:
    maml: list[Json] = [{"error": before}, {"error": 9.0}, {"error": after}]
    return {
        "family": family,
        "figures": {"oracle": [{"error": 0.01}], "maml": maml, "pid": [{"error": 0.04}]},
    }


def test_who_takes_steps_is_shown_before_the_first_and_after_the_last() -> None:
    report: dict[str, Json] = {
        "metric": "error",
        "machines": [machine("a", 0.3, 0.02), machine("b", 1.0, 1.0)],
    }
    found = stages(report, "a")
    assert [(stage.label, stage.errors) for stage in found] == [
        ("pid", (0.04,)),
        ("maml\nbefore", (0.3,)),
        ("maml\nafter 2 steps", (0.02,)),
        ("oracle", (0.01,)),
    ]


@pytest.mark.parametrize("n", [1, 3])
def test_the_same_picture_each_time(recording: Path, tmp_path: Path, n: int) -> None:
    shown: dict[str, Json] = {
        "metric": "error",
        "unit": "rad",
        "machines": [machine("a", 0.3, 0.02)] * n,
        "traces": {"a": [trace.tree() for trace in steps_taken(recording)]},
    }
    for name in ("one", "two"):
        draw_picture(shown, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes().startswith(PNG)
