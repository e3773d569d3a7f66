"""Episodes: what is random about them, what is recorded, and the gradient through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig, ReactivePolicy
from acclimate_trainer.contract.policy import Act, Tensors
from acclimate_trainer.play.rollouts import Episodes, Surroundings, draw, rollout, tracking_rms
from acclimate_trainer.tasks.servo import ServoState, ServoTasks
from torch import Tensor
from torch.testing import assert_close

from .servo_tasks import FAMILY, at, drive, positions, servos

STEPS = 12


class Constant(ReactivePolicy):
    """Duty is the state `duty`, plus noise, whatever is observed; counts its ticks."""

    def __init__(self) -> None:
        super().__init__(
            Reactive(FAMILY, ReactiveConfig(hidden=2), oracle=False).initial(np.random.default_rng(0))
        )

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        ticks = state["previous_action"] + 1.0
        return Act(state["duty"].unsqueeze(1) + noise + 0.0 * obs[..., :1], {"previous_action": ticks}, {})


def duty(value: float, tasks: int = 1) -> dict[str, Tensor]:
    return {"duty": torch.full((tasks, 1), value)}


def still(episodes: int = 1, steps: int = STEPS) -> Surroundings:
    """One servo at 0 rad, a target of 0, no noise of any kind."""
    start = ServoState(*(x.expand(1, episodes, *x.shape[2:]) for x in at(0.0)))
    shape = (1, episodes, steps)
    return Surroundings(
        start, torch.zeros(1, episodes, steps + 1, 2), torch.zeros(shape), torch.zeros(*shape, 1)
    )


def test_exploring_episodes_come_first_and_the_others_are_noise_free() -> None:
    rng = np.random.default_rng(0)
    surroundings = draw(FAMILY, FAMILY.sample(5, rng), rng, explore=3, measure=2, steps=50)
    assert surroundings.noise.shape == (5, 5, 50, 1)
    assert surroundings.noise[:, :3].std().item() == pytest.approx(1.0, abs=0.1)
    assert (surroundings.noise[:, 3:] == 0.0).all()
    assert surroundings.target.shape == (5, 5, 51, 2)


def test_encoders_are_as_noisy_as_their_servos() -> None:
    rng = np.random.default_rng(0)
    tasks = FAMILY.sample(4, rng)
    encoder = draw(FAMILY, tasks, rng, explore=0, measure=8, steps=200).encoder
    assert_close(encoder.std(dim=(1, 2)), tasks.noise[:, 0], rtol=0.1, atol=0)


def test_what_is_recorded_is_what_happened() -> None:
    episodes = rollout(Constant(), duty(0.3), FAMILY, servos(), still())
    expected = positions(drive(servos(), at(0.0), [0.3] * STEPS))
    assert episodes.obs.shape == (1, 1, STEPS + 1, 4)
    assert_close(episodes.obs[:, 0, 1:, 0], expected)
    assert_close(episodes.obs[:, 0, 0], torch.zeros(1, 4))
    assert_close(episodes.action, torch.full((1, 1, STEPS, 1), 0.3))


def test_the_running_state_begins_anew_in_every_rollout() -> None:
    class Counting(Constant):
        seen: list[float]

        def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
            self.seen.append(state["previous_action"].max().item())
            return super().act(state, obs, noise)

    policy = Counting()
    policy.seen = []
    for _ in range(2):
        rollout(policy, duty(0.0), FAMILY, servos(), still(steps=3))
    assert policy.seen == [0.0, 1.0, 2.0] * 2


def test_a_window_is_the_first_episodes_all_valid() -> None:
    episodes = rollout(Constant(), duty(0.3), FAMILY, servos(), still(4))
    window = episodes.window(3)
    assert window.obs.shape == (1, 3, STEPS + 1, 4)
    assert window.action.shape == (1, 3, STEPS, 1)
    assert torch.equal(window.mask, torch.ones(1, 3, STEPS))


def test_rms_is_over_what_was_measured_after_each_tick() -> None:
    obs = torch.zeros(1, 2, 3, 4)
    obs[0, 0, 0, 0] = 99.0  # before the first action
    obs[0, 0, 1, 0], obs[0, 1, 2, 2] = 0.3, -0.5
    assert_close(
        tracking_rms(Episodes(obs, torch.zeros(1, 2, 2, 1))), torch.tensor([0.29155]), rtol=1e-3, atol=0
    )


def test_the_gradient_through_an_episode_is_right(float64: None) -> None:
    del float64
    tasks = servos(gravity=0.3, delay=0.013, coulomb=0.02)

    def error(value: Tensor) -> Tensor:
        return tracking_rms(rollout(Constant(), {"duty": value}, FAMILY, tasks, still(steps=30)))

    assert torch.autograd.gradcheck(error, torch.tensor([[0.3]]).requires_grad_())


def test_each_tick_back_costs_the_gradient_one_factor() -> None:
    """The last error's gradient is a sum over the actions; that of k ticks before counts decay to the k-th."""

    class Schedule(Constant):
        def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
            tick = int(state["previous_action"].max())
            return super().act({**state, "duty": state["duties"][:, tick]}, obs, noise)

    def gradient(decay: float) -> Tensor:
        duties = torch.full((1, 5, 1), 0.3, requires_grad=True)
        episodes = rollout(Schedule(), {"duties": duties}, FAMILY, servos(), still(steps=5), decay)
        return torch.autograd.grad(episodes.obs[0, 0, -1, 0], duties)[0].flatten()

    exact, decayed = gradient(1.0), gradient(0.5)
    assert (exact > 0.0).all()
    assert_close(decayed, exact * 0.5 ** torch.arange(5.0, 0.0, -1.0))


def test_forgetting_changes_no_value() -> None:
    rng = np.random.default_rng(0)
    tasks: ServoTasks = FAMILY.sample(2, rng)
    surroundings = draw(FAMILY, tasks, rng, explore=1, measure=1, steps=STEPS)
    algorithm = Reactive(FAMILY, ReactiveConfig(hidden=4), oracle=False)
    meta = {n: v.expand(2, *v.shape) for n, v in algorithm.initial(rng).items()}
    runs = [rollout(algorithm.policy(meta), meta, FAMILY, tasks, surroundings, decay) for decay in (1.0, 0.7)]
    assert torch.equal(runs[0].obs, runs[1].obs)
