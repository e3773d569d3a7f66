"""Simulated trials: the policy's own closed loop, stage by stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_export.bundle.practice import Stage, practise, replay
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.contract.policy import Window, stacked
from acclimate_trainer.play.rollouts import draw, rollout
from acclimate_trainer.tasks.servo.spec import END_STOP

from tests.export import runs
from tests.export.shipped import shipped, untrained

TASKS = 3


@pytest.fixture(params=runs.NAMES)
def trained(request: pytest.FixtureRequest) -> Trained:
    return untrained(request.param)


@pytest.fixture
def adaptive_policy() -> Trained:
    return untrained("maml")


def _stages(trained: Trained, masked: float = 0.0, seed: int = 0) -> list[Stage]:
    return practise(trained, TASKS, np.random.default_rng(seed), masked)


def test_a_stage_for_every_adaptation_step(trained: Trained) -> None:
    adaptation = trained.policy.adaptation
    stages = _stages(trained)
    assert len(stages) == (adaptation.max_steps if adaptation else 1)
    assert [stage.adapted is not None for stage in stages] == [trained.policy.window is not None] * len(
        stages
    )


def test_each_stage_drives_with_what_the_one_before_adapted(adaptive_policy: Trained) -> None:
    first, second = _stages(adaptive_policy)
    assert first.adapted is not None
    assert float(first.state["shots"].sum()) == 0.0
    for name, value in first.adapted.next.items():
        assert torch.equal(second.state[name], value)
    assert not torch.equal(second.state["w1"], first.state["w1"])


def test_replaying_gives_the_actions_that_were_taken(trained: Trained) -> None:
    for stage in _stages(trained):
        ticks = replay(trained.policy, stage.state, stage.window.obs[:, :, :-1], stage.noise)
        torch.testing.assert_close(ticks.after["action"], stage.window.action, rtol=0.0, atol=0.0)
        before, after = ticks.before["previous_action"], ticks.after["next.previous_action"]
        assert torch.equal(before[:, :, 1:], after[:, :, :-1])
        assert float(before[:, :, 0].abs().max()) == 0.0


def test_the_servos_explore_and_move(trained: Trained) -> None:
    for stage in _stages(trained):
        assert 0.9 < float(stage.noise.std()) < 1.1
        position = stage.window.obs[..., 0]
        assert float((position.amax(2) - position.amin(2)).max()) > 0.05
        assert float(position.abs().max()) < END_STOP + 0.1


def test_an_oracle_is_told_the_truth(trained: Trained) -> None:
    (told, told_again) = (_stages(trained, seed=seed)[0].state.get("task") for seed in (0, 1))
    if not trained.policy.privileged:
        assert told is None
        return
    assert told is not None
    assert told_again is not None
    assert told.shape == (TASKS, len(trained.policy.spec.parameters))
    assert not torch.equal(told, told_again)


def test_masks_hide_up_to_the_share(adaptive_policy: Trained) -> None:
    assert all(float(stage.window.mask.min()) == 1.0 for stage in _stages(adaptive_policy))
    stage = practise(adaptive_policy, 16, np.random.default_rng(0), masked=0.5)[0]
    shares = 1.0 - stage.window.mask.mean(dim=(1, 2))
    assert 0.0 <= float(shares.min()) < 0.15  # drawn window by window
    assert 0.35 < float(shares.max()) < 0.6


def test_a_stage_is_a_roll_out_and_what_adapting_to_all_of_it_gives(adaptive_policy: Trained) -> None:
    policy, family = adaptive_policy.policy, adaptive_policy.family
    rng, stages = np.random.default_rng(7), _stages(adaptive_policy, seed=7)
    machines = family.sample(TASKS, rng)
    written = {t.name for t in policy.state if t.written_by == "act"}
    state = {n: value for n, value in stacked(policy, TASKS, 1).items() if n not in written}
    for stage in stages:
        around = draw(family, machines, rng, explore=runs.EPISODES, measure=0, steps=runs.STEPS)
        with torch.no_grad():
            window = rollout(policy, state, family.spec, around).window()
            adapted = policy.adapt(state, window)
        rng.random((TASKS, 1, 1))  # the share that is hidden, and what
        rng.random(tuple(window.mask.shape))
        assert all(torch.equal(a, b) for a, b in zip(stage.window, window, strict=True))
        assert stage.adapted is not None
        assert all(torch.equal(stage.adapted.next[name], value) for name, value in adapted.next.items())
        state = state | dict(adapted.next)


def test_what_is_hidden_is_drawn_for_each_transition_by_itself(adaptive_policy: Trained) -> None:
    mask = _stages(adaptive_policy, masked=0.5, seed=3)[0].window.mask
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert float(mask.std(dim=2).max()) > 0.0
    assert not torch.equal(mask[:, 0], mask[:, 1])


def test_what_has_no_window_drives_two_episodes_of_a_hundred_ticks() -> None:
    (stage,) = _stages(untrained("robust"))
    assert stage.window.obs.shape[1:3] == (2, 101)


def test_where_rewards_are_observed_each_machine_is_rewarded_by_weights_of_its_own() -> None:
    trained = untrained("objectives")
    window = _stages(trained)[0].window
    n_obs = trained.family.spec.n_obs
    assert window.obs.shape[-1] == n_obs + 1
    assert float(window.obs[:, :, 0, -1].abs().max()) == 0.0
    seen = Window(window.obs[..., :n_obs], window.action, window.mask)
    features, found = trained.family.features(seen)[0], []
    for phi, reward in zip(features.flatten(1, 2), window.obs[:, :, 1:, -1].flatten(1), strict=True):
        w = torch.linalg.lstsq(phi.double(), reward.double()[:, None], driver="gelsd").solution
        torch.testing.assert_close(phi.double() @ w, reward.double()[:, None], rtol=1e-3, atol=1e-4)
        found.append(reward)
    assert float((found[0] - found[1]).abs().max()) > 0.01


def test_where_the_family_has_a_reward_of_its_own_that_is_what_is_observed() -> None:
    """The reacher's library: nothing is drawn in its place."""
    trained = shipped("reacher_library").trained
    rng = np.random.default_rng(2)
    stage, policy, family = practise(trained, 2, np.random.default_rng(2))[0], trained.policy, trained.family
    assert policy.window is not None
    machines = family.sample(2, rng)
    rng.standard_exponential((2, 0), dtype=np.float32)
    written = {t.name for t in policy.state if t.written_by == "act"}
    state = {n: value for n, value in stacked(policy, 2, 1).items() if n not in written}
    episodes, steps = policy.window.episodes, policy.window.steps
    around = draw(family, machines, rng, explore=episodes, measure=0, steps=steps, n_noise=policy.n_noise)
    with torch.no_grad():
        window = rollout(policy, state, family.spec, around).window()
    assert torch.equal(stage.window.obs, window.obs)
