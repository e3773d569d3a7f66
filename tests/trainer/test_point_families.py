"""Points: the published figures of 2D navigation, and what a frame does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.tasks.point import ARRIVED, Frames, Goals, PointFamily, PointFrameFamily
from acclimate_trainer.testing import FamilyConformance
from torch import Tensor


class TestPoint(FamilyConformance):
    def family(self) -> PointFamily:
        return PointFamily()


class TestPointFrame(FamilyConformance):
    def family(self) -> PointFrameFamily:
        return PointFrameFamily()


def returns(goals: Goals, policy: Tensor | None) -> Tensor:
    """Returns of standing still, or of going straight at the goal by `policy` metres a step, (T,)."""
    family, rng = PointFamily(), np.random.default_rng(0)
    session = family.open(goals, 1, family.horizon, rng)
    total = torch.zeros(len(goals.goal_x))
    for _ in range(family.horizon):
        way = torch.stack(goals, -1) - session.obs[..., :2]
        total += session.step(torch.zeros_like(way) if policy is None else way.clamp(-policy, policy)).reward[
            :, 0
        ]
    return total


def test_standing_still_returns_what_the_paper_s_figures_say() -> None:
    """−38.25 is the mean distance to a corner's square, times 100 steps: plain distance, not squared."""
    goals = PointFamily().sample(20_000, np.random.default_rng(0))
    found = returns(goals, None)
    assert found.mean().item() == pytest.approx(-38.26, abs=4 * found.std().item() / math.sqrt(len(found)))


def test_going_straight_returns_what_maml_reaches() -> None:
    """Knowing the goal one gets a little over −1 at the largest steps; MAML's best figure, −3.18, is below."""
    goals = PointFamily().sample(1000, np.random.default_rng(0))
    assert -3.0 < returns(goals, torch.tensor(0.1)).mean() < -0.5


def test_a_point_that_has_arrived_stays_and_pays_nothing_more() -> None:
    family = PointFamily()
    session = family.open(Goals(torch.full((1, 1), 0.15), torch.zeros(1, 1)), 1, 20, np.random.default_rng(0))
    first, second, third = (session.step(torch.tensor([[[move, 0.0]]])) for move in (0.1, 0.045, 0.1))
    assert first.reward.item() == pytest.approx(-0.05)
    assert second.reward.item() == pytest.approx(-0.005)
    assert abs(second.reward.item()) < ARRIVED
    assert third.reward.item() == 0.0
    assert session.obs[0, 0, 0].item() == pytest.approx(0.145)
    assert not third.terminated.any()


def test_actuators_push_in_their_own_frame() -> None:
    tasks = Frames(torch.tensor([[0.0], [0.5 * math.pi], [math.pi]]), torch.tensor([[1.0], [2.0], [1.0]]))
    family = PointFrameFamily()
    session = family.open(tasks, 1, 1, np.random.default_rng(0))
    before = session.obs
    session.step(torch.tensor([1.0, 0.0]).expand(3, 1, 2))
    moved = (session.obs - before)[:, 0] / family.spec.control_dt
    assert torch.allclose(moved, torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]), atol=1e-5)


def test_frames_are_turned_less_early_in_training() -> None:
    family = PointFrameFamily()
    early, late = (family.sample(1000, np.random.default_rng(0), p).frame.abs().max() for p in (0.1, 1.0))
    assert early < 0.32 < 3.0 < late


def test_what_knocks_against_actuators_does_not_make_them_stronger() -> None:
    family, rng = PointFrameFamily(), np.random.default_rng(0)
    before = family.sample(100, rng)
    after = family.change(before, rng)
    assert (after.strength <= before.strength).all()
    assert not torch.equal(after.frame, before.frame)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"goal": 0.0},
            "goal must be above 0 and within 10 m, which a point can reach in 100 steps, found 0",
        ),
        ({"goal": 2.0, "horizon": 10}, "within 1 m"),
    ],
)
def test_goals_out_of_reach_are_refused(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        PointFamily(**options)  # type: ignore[arg-type]


def test_frames_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="turn must lie from 0 to"):
        PointFrameFamily(turn=4.0)
    with pytest.raises(UsageError, match=r"strength must be \[low, high\] above 0"):
        PointFrameFamily(strength=(2.0, 1.0))
