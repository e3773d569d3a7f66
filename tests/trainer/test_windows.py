"""Trials in windows: each goes on where the one before has ended, and only its gradient does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.outer_loop.training import Progress, TrainingConfig, start, train
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.windows import Windowing, Windows
from acclimate_trainer.tasks.point import PointFamily, PointFrameFamily
from torch import Tensor

PLACES, STEPS, WINDOW = 4, 20, 5
CONFIG = Rl2Config(hidden=5, episodes=2, episode_steps=STEPS, side_by_side=2, window=WINDOW, trials=2)


def plan(window: int = WINDOW, **changes: float) -> Windowing:
    known: dict[str, Any] = {"places": PLACES, "side_by_side": 2, "episodes": 2, "steps": STEPS, "trials": 2}
    return Windowing(**{**known, "window": window, **changes})


def stacked(algorithm: Rl2[Any]) -> dict[str, Tensor]:
    meta = algorithm.initial(np.random.default_rng(0))
    return {name: x.expand(PLACES, *x.shape).clone() for name, x in meta.items()}


def played(family: TaskFamily[Any], plan: Windowing, oracle: bool = False) -> list[Episodes]:
    """All windows of a policy that nobody trains."""
    algorithm = Rl2(family, CONFIG, oracle=oracle)
    meta = stacked(algorithm)
    windows = Windows(Complete.of(family), plan, np.random.default_rng(1))
    return [windows.play(algorithm.policy(meta), meta) for _ in range(windows.count)]


@pytest.mark.parametrize("oracle", [False, True])
@pytest.mark.parametrize("family", [PointFamily(horizon=STEPS), PointFrameFamily(horizon=STEPS)])
@pytest.mark.parametrize("change", [0.0, 1.0])
def test_windows_are_whole_episodes_cut_up(family: TaskFamily[Any], change: float, oracle: bool) -> None:
    """Rewards, what is remembered, and what happens to the machines and is told of it, included."""
    cut, whole = (
        played(family, plan(change=change), oracle),
        played(family, plan(STEPS, change=change), oracle),
    )
    for name in ("action", "reward"):
        parts = torch.cat(
            [getattr(each, name)[0] for each in cut], 1
        )  # the place that begins at the beginning
        assert torch.equal(parts, torch.cat([getattr(each, name)[0] for each in whole], 1))


def test_in_every_window_some_trials_begin() -> None:
    """As many as in any other, once each place has come to its first end."""
    family = PointFrameFamily(horizon=STEPS)
    algorithm = Rl2(family, CONFIG)
    meta, begun = stacked(algorithm), []
    policy = algorithm.policy(meta)
    windows = Windows(Complete.of(family), plan(places=PLACES), np.random.default_rng(1))
    for _ in range(windows.count):
        episodes = windows.play(policy, meta)
        at_rest = (episodes.obs[:, :, 0, :2] - episodes.obs[:, :, 0, 2:]).abs().amax((1, 2)) == 0.0
        begun.append(int(at_rest.sum()))  # a reference begins where its machine stands
    assert begun[0] == PLACES
    assert begun[1:5] == begun[5:9] == begun[9:13]
    assert sum(begun[1:5]) == PLACES


def test_no_gradient_passes_from_one_window_into_the_one_before() -> None:
    algorithm = Rl2(PointFrameFamily(horizon=STEPS), CONFIG)
    first, second = ({n: x.requires_grad_() for n, x in stacked(algorithm).items()} for _ in range(2))
    windows = Windows(Complete.of(PointFrameFamily(horizon=STEPS)), plan(), np.random.default_rng(1))
    windows.play(algorithm.policy(first), first)
    loss = windows.play(algorithm.policy(second), second).obs.square().sum()
    gradients = torch.autograd.grad(
        loss, [*first.values(), *second.values()], allow_unused=True, materialize_grads=True
    )
    assert all(bool((g == 0.0).all()) for g in gradients[: len(first)])
    assert any(bool((g != 0.0).any()) for g in gradients[len(first) :])


def test_the_optimizer_takes_a_step_after_every_window() -> None:
    algorithm = Rl2(PointFrameFamily(horizon=STEPS), CONFIG)
    config = TrainingConfig(iterations=1, meta_batch_size=PLACES, validations=0)
    steps = list[float]()

    def report(progress: Progress, figures: Mapping[str, float]) -> None:
        assert figures["skipped"] == 0.0
        states = progress.optimizer["state"].values()
        steps.append(float(next(iter(states))["step"]))

    train(algorithm, config, 0, start(algorithm, 0), report)
    assert steps == [2 * 2 * STEPS / WINDOW]


def test_without_windows_an_iteration_is_one_trial() -> None:
    whole = Rl2Config(hidden=5, episodes=2, episode_steps=STEPS, side_by_side=2)
    algorithm = Rl2(PointFrameFamily(horizon=STEPS), whole)
    (piece,) = algorithm.pieces(PLACES, np.random.default_rng(3), 0.5)
    meta = stacked(algorithm)
    expected = algorithm.losses(meta, PLACES, np.random.default_rng(3), 0.5)
    assert torch.equal(piece(meta).total, expected.total)


def test_a_window_that_does_not_divide_an_episode_is_refused() -> None:
    with pytest.raises(UsageError, match="window must divide episode_steps, 75, found 20"):
        Rl2Config(window=20)
