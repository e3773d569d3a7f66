"""Frozen features: what is read out of a window in hindsight, the regression of a head on it, and what it is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.features.features import Features, FeaturesConfig
from acclimate_trainer.algorithms.features.head import fit
from acclimate_trainer.algorithms.features.hindsight import in_hindsight
from acclimate_trainer.algorithms.features.policy import FeaturesPolicy, unbounded
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Window, stacked
from acclimate_trainer.networks.feedforward import bounded
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from acclimate_trainer.play.rollouts import draw, rollout
from acclimate_trainer.tasks.point import PointFrameFamily
from torch import Tensor
from torch.testing import assert_close

from .servo_tasks import FAMILY as SERVOS

POINTS = Complete.of(PointFrameFamily())
SMALL = FeaturesConfig(
    width=4, hidden=12, ahead=1, support_episodes=2, query_episodes=2, episode_steps=30, adapt_steps=1
)
STEPS, AHEAD, DT = 12, 3, SERVOS.spec.control_dt


def servo_window(seed: int = 0) -> Window:
    """Anything that may have been seen."""
    rng = torch.Generator().manual_seed(seed)
    obs = torch.randn(2, 3, STEPS + 1, 4, generator=rng)
    action = torch.randn(2, 3, STEPS, 1, generator=rng)
    return Window(obs, action, torch.ones(2, 3, STEPS))


def test_what_happened_is_what_had_been_asked_for() -> None:
    """The target is where the machine is going to be; sensors and the target's rate stay as they were."""
    window = servo_window()
    seen = in_hindsight(SERVOS.spec, window, AHEAD)
    position, velocity, target, rate = seen.obs.unbind(-1)
    n = STEPS - AHEAD + 1
    assert_close(target + AHEAD * DT * rate, window.obs[:, :, AHEAD:, 0])
    for found, column in ((position, 0), (velocity, 1), (rate, 3)):
        assert torch.equal(found, window.obs[:, :, :n, column])
    assert torch.equal(seen.action, window.action[:, :, :n])


def test_a_machine_that_did_what_was_asked_is_seen_as_it_was() -> None:
    window = servo_window()
    window.obs[:, :, : STEPS - AHEAD + 1, 2] = (
        window.obs[:, :, AHEAD:, 0] - AHEAD * DT * window.obs[:, :, : STEPS - AHEAD + 1, 3]
    )
    assert_close(in_hindsight(SERVOS.spec, window, AHEAD).obs, window.obs[:, :, : STEPS - AHEAD + 1])


def test_the_action_before_is_that_of_the_same_episode() -> None:
    window = servo_window()
    previous = in_hindsight(SERVOS.spec, window, AHEAD).previous
    assert (previous[:, :, 0] == 0.0).all()
    assert torch.equal(previous[:, :, 1:], window.action[:, :, : STEPS - AHEAD])


def test_a_tick_counts_where_all_that_came_of_it_was_measured() -> None:
    window = servo_window()
    window.mask[0, 0, 6] = 0.0
    known = in_hindsight(SERVOS.spec, window, AHEAD).known
    assert (known[0, 0] == 0.0).nonzero().flatten().tolist() == [4, 5, 6]
    assert known.sum() == known.numel() - 3


def drawn(seed: int, n: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    phi = torch.tanh(torch.randn(2, n, 4, generator=rng))
    return phi, torch.randn(2, n, 2, generator=rng), (torch.rand(2, n, generator=rng) > 0.2).float()


PRIOR = torch.diag_embed(torch.tensor([1.0, 2.0, 0.5, 3.0])).expand(2, 4, 4)
HEAD = torch.linspace(-1.0, 1.0, 16).view(2, 4, 2)
EVIDENCE = torch.tensor([[[20.0]]])


def test_a_head_is_the_mean_of_the_posterior() -> None:
    phi, wanted, weight = drawn(0)
    found = fit(HEAD, PRIOR, phi, wanted, weight, EVIDENCE)
    for task in range(2):
        rows = weight[task] > 0.0
        x, y = (a[task][rows].double() for a in (phi, wanted))
        share = 20.0 / len(weight[task])
        precision = PRIOR[task].double() + share * x.T @ x
        mean = torch.linalg.solve(precision, PRIOR[task].double() @ HEAD[task].double() + share * x.T @ y)
        assert_close(found.head[task], mean.float(), rtol=1e-4, atol=1e-5)
        assert_close(found.precision[task], precision.float(), rtol=1e-5, atol=1e-5)
        left = (y - x @ mean).square().sum(-1).mean().float()
        assert_close(found.left[task], left, rtol=1e-4, atol=1e-5)
        assert found.left[task] < found.before[task]  # or a guard would not let it drive


def test_two_windows_one_after_the_other_are_both_at_once() -> None:
    one, two = drawn(0), drawn(1)
    first = fit(HEAD, PRIOR, *one, EVIDENCE)
    second = fit(first.head, first.precision, *two, EVIDENCE)
    both = (torch.cat(pair, dim=1) for pair in zip(one, two, strict=True))
    together = fit(HEAD, PRIOR, *both, 2.0 * EVIDENCE)
    assert_close(second.head, together.head, rtol=1e-4, atol=1e-5)
    assert_close(second.precision, together.precision, rtol=1e-5, atol=1e-5)


def test_much_evidence_finds_the_head_that_made_the_actions() -> None:
    phi, _, weight = drawn(0)
    truth = torch.linspace(2.0, -1.0, 16).view(2, 4, 2)
    found = fit(HEAD, PRIOR, phi, phi @ truth, weight, torch.tensor([[[1e4]]]))
    assert_close(found.head, truth, rtol=0, atol=3e-3)


def test_what_a_network_bounds_is_unbounded_again() -> None:
    y = torch.linspace(-4.0, 4.0, 9)
    assert_close(unbounded(bounded(y)), y, rtol=1e-4, atol=1e-5)


def trained(iterations: int) -> tuple[FeaturesPolicy, list[float]]:
    algorithm: Features[Any] = Features(POINTS, SMALL)
    found, shares = [start(algorithm, 0)], list[float]()
    settings = TrainingConfig(iterations=iterations, meta_batch_size=8, validations=0, compiled=False)

    def report(progress: Any, figures: Any) -> None:
        found.append(progress)
        shares.append(figures["error_1"] / figures["error_0"])

    train(algorithm, settings, 0, found[0], report)
    return algorithm.policy(found[-1].meta), shares


def test_one_window_makes_a_controller_and_no_target_or_reward_is_needed_for_it() -> None:
    """What was asked for in the window makes no difference, where the target's rate is not observed."""
    policy, shares = trained(40)
    assert np.mean(shares[-10:]) < 0.5
    rng = np.random.default_rng(0)
    around = draw(POINTS, POINTS.sample(2, rng), rng, explore=2, measure=0, steps=30)
    state = stacked(policy, 2, 1)
    with torch.no_grad():
        window = rollout(policy, state, POINTS.spec, around).window()
        found = policy.adapt(state, window).next["head"]
        window.obs[..., 2:] = 0.3
        assert torch.equal(policy.adapt(state, window).next["head"], found)


@pytest.mark.parametrize(("wrong", "words"), [
    ({"ahead": 31}, "ahead must fit into an episode of 30 steps, found 31"),
    ({"width": 0}, "width must be at least 1, found 0"),
    ({"evidence": 0.0}, "evidence must be above 0, found 0.0"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FeaturesConfig(**{"episode_steps": 30, **wrong})
