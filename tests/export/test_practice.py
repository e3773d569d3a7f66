"""Simulated trials: the policy's own closed loop, stage by stage."""

from __future__ import annotations

import numpy as np
import torch
from acclimate_export.bundle.practice import Stage, practise, replay
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.tasks.servo.spec import END_STOP

TASKS = 3


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
