"""Environments of others through the adapter: Pendulum-v1, and what episodes that end and discrete actions do."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, Parameter, TaskSpec
from acclimate_trainer.tasks.gymnasium import Env, GymnasiumFamily, make
from acclimate_trainer.tasks.pendulum import TORQUE, PendulumFamily, PendulumModel
from acclimate_trainer.testing import FamilyConformance

gymnasium = pytest.importorskip("gymnasium")


class TestPendulum(FamilyConformance):
    def family(self) -> PendulumFamily:
        return PendulumFamily()


class TestModel(FamilyConformance):
    def family(self) -> PendulumFamily:
        return PendulumFamily(model=True)


def test_the_model_is_the_environment() -> None:
    """From the same state and under the same torques both go the same way, for a while: pendulums are chaotic."""
    family, rng = PendulumFamily(), np.random.default_rng(3)
    tasks = family.sample(20, rng)
    session, model = family.open(tasks, 2, 20, rng), PendulumFamily(model=True).open(tasks, 2, 20, rng)
    assert isinstance(model, PendulumModel)
    cos, sin, velocity, reward = session.obs.unbind(-1)
    model.state = (torch.atan2(sin, cos), velocity, reward)
    for _ in range(20):
        torque = torch.from_numpy(rng.uniform(-3.0, 3.0, (20, 2, 1))).float()
        one, other = session.step(torque), model.step(torque)
        assert torch.allclose(session.obs, model.obs, atol=1e-3)
        assert torch.allclose(one.reward, other.reward, atol=2e-2)


class CartPoles(GymnasiumFamily):
    """Two actions, and episodes that end in themselves."""

    spec = TaskSpec(
        name="cart_pole",
        control_dt=0.02,
        observation=(
            ObservationChannel("place", "m", -4.8, 4.8),
            ObservationChannel("speed", "m/s", -10.0, 10.0),
            ObservationChannel("angle", "rad", -0.5, 0.5),
            ObservationChannel("turning", "rad/s", -10.0, 10.0),
            ObservationChannel("reward", "1", 0.0, 1.0, "reward"),
        ),
        action=(ActionChannel("push", "1", 0.0, 1.0),),
        parameters=(Parameter("length", "m", 0.3, 1.0),),
        metrics=(Metric("reward", "reward"),),
        choices=((0.0,), (1.0,)),
        horizon=60,
    )  # type: ignore[assignment]

    def make(self) -> Env:
        return make("CartPole-v1")

    def adjust(self, env: Env, task: Mapping[str, float]) -> None:
        pole: Any = env.unwrapped
        pole.length = task["length"]
        pole.polemass_length = pole.masspole * pole.length


class TestCartPoles(FamilyConformance):
    def family(self) -> CartPoles:
        return CartPoles()


def test_a_pendulum_of_typical_parameters_is_gymnasium_s_own() -> None:
    family, rng = PendulumFamily(), np.random.default_rng(0)
    ones = family.tasks_type(*(torch.ones(1, 1) for _ in range(3)))
    session = family.open(ones, 1, 50, rng)
    env = gymnasium.make("Pendulum-v1")
    expected, _ = env.reset(seed=int(np.random.default_rng(0).integers(0, 2**31, (1, 1))[0, 0]))
    assert session.obs[0, 0, :3].numpy() == pytest.approx(expected)
    for _ in range(50):
        torque = rng.uniform(-3.0, 3.0, 1).astype(np.float32)
        step = session.step(torch.from_numpy(torque).view(1, 1, 1))
        expected, reward, *_ = env.step(torque.clip(-TORQUE, TORQUE))
        assert session.obs[0, 0, :3].numpy() == pytest.approx(expected)
        assert step.reward.item() == pytest.approx(reward, rel=1e-6)
        assert session.obs[0, 0, 3] == step.reward


def test_mass_length_and_gain_act_as_the_equation_of_motion_says() -> None:
    family = PendulumFamily()
    tasks = family.tasks_type(
        torch.tensor([[0.8], [1.3]]), torch.tensor([[0.9], [1.2]]), torch.tensor([[1.5], [0.7]])
    )
    session = family.open(tasks, 1, 1, np.random.default_rng(1))
    cos, sin, before, _ = session.obs[:, 0].unbind(-1)
    session.step(torch.full((2, 1, 1), 1.0))
    mass, length, gain = (column[:, 0] for column in tasks)
    wanted = before + 0.05 * (15.0 / length * sin + 3.0 / (mass * length**2) * gain)
    assert session.obs[:, 0, 2].tolist() == pytest.approx(wanted.tolist(), abs=1e-4)
    assert (cos**2 + sin**2).tolist() == pytest.approx([1.0, 1.0])


def test_where_an_episode_ends_the_next_begins_and_its_last_reward_is_observed() -> None:
    family, rng = CartPoles(), np.random.default_rng(2)
    session = family.open(family.sample(3, rng), 2, 200, rng)
    ends = 0
    for _ in range(60):
        step = session.step(torch.ones(3, 2, 1))
        assert session.obs[..., 4].equal(step.reward)
        assert (session.obs[..., 2][step.terminated].abs() < 0.06).all()  # begins near upright
        ends += int(step.terminated.sum())
    assert ends > 6
    assert not step.truncated.any()


def test_what_lacks_gymnasium_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ModuleType:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        UsageError, match=r"environment Pendulum-v1 needs gymnasium, .*acclimate\[gymnasium\]"
    ):
        make("Pendulum-v1")


def test_pendulums_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mass must be \[low, high\] above 0"):
        PendulumFamily(mass=(0.0, 1.0))
