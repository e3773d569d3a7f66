"""The reacher: its equation of motion against Lagrange's, what its features are, and where it can get to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.tasks import reacher
from acclimate_trainer.tasks.reacher import Arms, ReacherFamily, ReacherTasks
from acclimate_trainer.testing import FamilyConformance
from torch.testing import assert_close


class TestReacherConformance(FamilyConformance):
    def family(self) -> ReacherFamily:
        return ReacherFamily()


class TestAnyTorques(FamilyConformance):
    def family(self) -> ReacherFamily:
        return ReacherFamily(targets="training", discrete=False)


def arms(angle: tuple[float, float], velocity: tuple[float, float] = (0.0, 0.0)) -> Arms:
    return Arms(torch.tensor([angle]), torch.tensor([velocity]))


@pytest.mark.usefixtures("float64")
def test_it_moves_as_lagranges_equation_says() -> None:
    """d/dt ∂E/∂θ̇ − ∂E/∂θ = torque − damping·θ̇, with the energy's derivatives by differentiation."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        angle, velocity = (torch.tensor(rng.normal(0.0, 2.0, 2)) for _ in range(2))
        torque = torch.tensor(rng.uniform(-0.05, 0.05, 2))
        acceleration = reacher.acceleration(Arms(angle, velocity), torque)

        def energy(x: torch.Tensor) -> torch.Tensor:
            return reacher.energy(Arms(x[:2], x[2:]))

        at = torch.cat([angle, velocity])
        gradient = torch.func.jacrev(energy)(at)
        hessian = torch.func.hessian(energy)(at)
        inertial = hessian[2:, 2:] @ acceleration + hessian[2:, :2] @ velocity - gradient[:2]
        assert_close(inertial, torque - reacher.DAMPING * velocity, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_a_step_follows_the_equation() -> None:
    """Against a hundred times finer steps, over one control period and far from the stops."""
    start, torque = arms((0.3, 1.0), (1.0, -2.0)), reacher.ACTIONS[[2]]
    fine, n = start, 500
    for _ in range(n):
        velocity = fine.velocity + reacher.CONTROL_DT / n * reacher.acceleration(fine, torque)
        fine = Arms(fine.angle + reacher.CONTROL_DT / n * velocity, velocity)
    found = reacher.driven(start, torque)
    assert_close(found.angle, fine.angle, rtol=0, atol=0.02)
    assert_close(found.velocity, fine.velocity, rtol=0, atol=0.1)


def test_features_are_one_at_a_target_and_fall_by_four_per_metre() -> None:
    """Straight out along x the tip is at 21 cm: 7 cm beyond the first target, 1 cm short of the fifth."""
    phi = reacher.features(reacher.directions(torch.tensor([[0.0, 0.0]])))[0]
    assert float(phi[0]) == pytest.approx(1.0 - 4.0 * 0.07)
    assert float(phi[4]) == pytest.approx(1.0 - 4.0 * 0.01)
    assert float(phi[1]) == pytest.approx(1.0 - 4.0 * 0.35)
    bent = reacher.features(reacher.directions(torch.tensor([[math.pi / 2, math.pi / 2]])))[
        0
    ]  # tip (−.11, .1)
    assert float(bent[10]) == pytest.approx(1.0 - 4.0 * 0.01, abs=1e-6)


def test_there_are_4_targets_to_train_on_and_8_to_test_on_and_9_actions() -> None:
    assert (len(reacher.TRAINING), len(reacher.TEST)) == (4, 8)
    spec = ReacherFamily().spec
    assert len(set(spec.choices)) == 9
    assert [feature.name for feature in spec.features] == [*reacher.TRAINING, *reacher.TEST]
    assert reacher.task_vectors(["south"]).tolist() == [[0.0] * 3 + [1.0] + [0.0] * 8]


@pytest.mark.parametrize(
    ("targets", "numbers"), [("training", range(4)), ("test", range(4, 12)), ("all", range(12))]
)
def test_a_task_is_one_of_the_targets_that_are_asked_for(targets: str, numbers: range) -> None:
    w = ReacherFamily(targets).sample(200, np.random.default_rng(0)).w
    assert torch.equal(w.sum(1), torch.ones(200))
    assert set(w.argmax(1).tolist()) == set(numbers)


def test_other_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="targets is 'near'; valid: training, test, all"):
        ReacherFamily("near")
    with pytest.raises(UsageError, match="the reacher has no target 'up'; targets: east, west"):
        reacher.task_vectors(["up"])


def test_the_elbow_stops_at_its_stop() -> None:
    state = arms((0.0, 2.9), (0.0, 8.0))
    for _ in range(3):
        state = reacher.driven(state, reacher.ACTIONS[[5]])  # the elbow's torque pushes on
    assert float(state.angle[0, 1]) == pytest.approx(reacher.ELBOW_STOP)
    assert float(state.velocity[0, 1]) == 0.0


def test_without_torque_an_arm_comes_to_rest() -> None:
    state = arms((1.0, 0.5), (4.0, -3.0))
    before = float(reacher.energy(state))
    for _ in range(60):
        state = reacher.driven(state, reacher.ACTIONS[[4]])
    assert float(reacher.energy(state)) < 1e-4 * before


def test_episodes_begin_at_rest_and_anywhere_and_alike_for_the_same_seed() -> None:
    state = reacher.reset((3, 500), np.random.default_rng(0))
    assert state.angle.shape == (3, 500, 2)
    assert not state.velocity.any()
    low, high = state.angle.flatten(0, 1).aminmax(dim=0)
    assert_close(high, torch.tensor([math.pi, math.pi / 2]), rtol=0.02, atol=0)
    assert_close(low, -high, rtol=0.02, atol=0)
    assert torch.equal(state.angle, reacher.reset((3, 500), np.random.default_rng(0)).angle)


def test_rewards_are_what_the_features_of_the_observations_are_worth() -> None:
    family, rng = ReacherFamily(), np.random.default_rng(0)
    tasks = ReacherTasks(torch.tensor(rng.normal(size=(4, 12)), dtype=torch.float32))
    session = family.open(tasks, 100, 60, rng)
    assert not session.obs[..., -1].any()
    for _ in range(60):
        step = session.step(reacher.ACTIONS[torch.from_numpy(rng.integers(0, 9, (4, 100)))])
        known = reacher.features(reacher.directions(session.obs[..., :2]))
        assert_close((known * tasks.w.unsqueeze(1)).sum(-1), step.reward, rtol=0, atol=1e-4)
        assert torch.equal(session.obs[..., -1], step.reward)
