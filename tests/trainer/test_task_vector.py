"""The regression for w: against least squares in double precision, and where there is too little to see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.successor.task_vector import initial_state, regress, state_tensors
from acclimate_trainer.contract.policy import Adapt
from torch import Tensor
from torch.testing import assert_close

D = 5


def begin(tasks: int, default: float = 0.0, d: int = D) -> dict[str, Tensor]:
    return {n: v.expand(tasks, *v.shape) for n, v in initial_state(torch.full((d,), default)).items()}


def correlated(rng: np.random.Generator, tasks: int, n: int, kappa: float) -> np.ndarray:
    """Features (tasks, n, D) in units from 1e-3 to 1e3; but for the units, of condition number kappa."""
    turn = [np.linalg.qr(rng.standard_normal((tasks, D, D)))[0] for _ in range(2)]
    mix = turn[0] * np.geomspace(1.0, 1.0 / kappa, D) @ turn[1]
    return rng.standard_normal((tasks, n, D)) @ mix * 10.0 ** rng.uniform(-3, 3, (tasks, 1, D))


def feed(
    state: Mapping[str, Tensor],
    features: np.ndarray,
    reward: np.ndarray,
    windows: int = 1,
    mask: np.ndarray | None = None,
    memory: float = 1.0,
) -> Adapt:
    """The transitions (tasks, n, D) in so many windows of equal length; the result of the last."""
    mask = np.ones_like(reward) if mask is None else mask
    adapt = Adapt(state, {})
    for part in np.split(np.arange(reward.shape[1]), windows):
        given = (torch.from_numpy(x[:, part].astype(np.float32)) for x in (features, reward, mask))
        adapt = regress(adapt.next, *given, memory)
    return adapt


def random_task(seed: int = 0, tasks: int = 4, n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plain features, w, and the rewards without noise."""
    rng = np.random.default_rng(seed)
    features, w = rng.standard_normal((tasks, n, D)), rng.standard_normal((tasks, D))
    return features, w, np.einsum("tnd,td->tn", features, w)


@pytest.mark.parametrize("kappa", [1.0, 30.0, 900.0])
@pytest.mark.parametrize(("windows", "length"), [(1, 60), (4, 60), (20, 3)])
def test_without_noise_w_is_exact_to_1e_4(kappa: float, windows: int, length: int) -> None:
    """In units of w times its feature, and with everything in float32, the rewards included."""
    rng = np.random.default_rng(0)
    features = correlated(rng, 100, windows * length, kappa).astype(np.float32).astype(float)
    unit = np.sqrt((features**2).mean(1))
    w = rng.standard_normal((100, D)) / unit
    reward = np.einsum("tnd,td->tn", features, w)
    found = feed(begin(100), features, reward, windows)
    assert (found.info["rank"] == D).all()
    assert np.abs((found.next["task_vector"].numpy() - w) * unit).max() < 1e-4
    assert (found.info["residual_share"] < 1e-5).all()


def test_which_of_two_features_is_larger_by_a_last_digit_does_not_change_the_root() -> None:
    """Two engines round differently, and must keep the same state."""
    features, _, reward = random_task()
    features[..., 1] = features[..., 0][:, ::-1]  # as long as each other
    nearly = features * (1.0 + 1e-7 * np.random.default_rng(1).standard_normal(features.shape))
    one, other = (feed(begin(4), x, reward).next for x in (features, nearly))
    for name, value in one.items():
        assert_close(value, other[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("windows", [1, 8])
def test_with_noise_w_is_the_least_squares_solution(windows: int) -> None:
    rng = np.random.default_rng(1)
    features = correlated(rng, 6, 80, 30.0).astype(np.float32).astype(float)
    reward = (rng.standard_normal((6, 80)) + features.sum(-1)).astype(np.float32).astype(float)
    found = feed(begin(6), features, reward, windows)
    for task in range(6):
        expected, *_ = np.linalg.lstsq(features[task], reward[task], rcond=None)
        unit = np.sqrt((features[task] ** 2).mean(0))
        w = found.next["task_vector"][task].numpy()
        largest = np.abs(expected * unit).max()
        np.testing.assert_allclose(w * unit, expected * unit, atol=1e-6 * largest, rtol=1e-4)
        last = slice(80 - 80 // windows, None)
        rest = reward[task, last] - features[task, last] @ expected
        assert float(found.info["residual"][task]) == pytest.approx(np.sqrt((rest**2).mean()), rel=1e-3)


@pytest.mark.parametrize("spans", [True, False])
def test_the_state_is_a_root_of_the_normal_equations(spans: bool) -> None:
    features, _, reward = random_task()
    if not spans:
        features[..., 3] = features[..., 1]
    state = feed(begin(4, default=0.5), features, reward, 4).next
    root, projection, w = (state[name].numpy() for name in ("root", "projection", "solution"))
    np.testing.assert_allclose(root.swapaxes(1, 2) @ root, features.swapaxes(1, 2) @ features, atol=1e-4)
    surprise = reward - np.einsum("tnd,td->tn", features, w)
    moment = np.einsum("tkd,tk->td", root, projection)
    np.testing.assert_allclose(moment, np.einsum("tnd,tn->td", features, surprise), atol=1e-3)
    assert (state["count"] == 40.0).all()


def test_rounding_does_not_pile_up() -> None:
    """After 300 windows w is no worse than after ten: were rewards themselves kept, it would be 1e-5 off."""
    rng = np.random.default_rng(2)
    w = torch.from_numpy(rng.standard_normal((10, D)))
    state: Mapping[str, Tensor] = begin(10)
    error = {}
    for window in range(1, 301):
        phi = torch.from_numpy(rng.standard_normal((10, 20, D), dtype=np.float32))
        reward = torch.einsum("tnd,td->tn", phi.double(), w).float()
        state = regress(state, phi, reward, torch.ones(10, 20)).next
        error[window] = float((state["task_vector"] - w).abs().max())
    assert error[300] < 1e-6
    assert error[10] < 1e-6


def test_w_is_kept_until_the_features_span() -> None:
    """Five features, two transitions a time: the third window is the first to say what w is."""
    features, w, reward = random_task(n=6)
    state: Mapping[str, Tensor] = begin(4, default=7.0)
    for window, rank in enumerate((2, 4, 5)):
        part = slice(2 * window, 2 * window + 2)
        found = feed(state, features[:, part], reward[:, part])
        assert (found.info["rank"] == rank).all()
        if rank < D:
            assert_close(found.next["task_vector"], torch.full((4, D), 7.0), rtol=0, atol=0)
            assert (found.info["step_norm"] == 0.0).all()
        state = found.next
    np.testing.assert_allclose(state["task_vector"], w, atol=1e-4)
    np.testing.assert_allclose(found.info["step_norm"], np.linalg.norm(w - 7.0, axis=1), rtol=1e-4)


def test_w_set_from_outside_holds_until_rewards_say_otherwise() -> None:
    """One window later it is the least-squares solution again, as if nobody had touched it."""
    features, w, reward = random_task()
    state = dict(feed(begin(4), features[:, :30], reward[:, :30]).next)
    state["task_vector"] = torch.full((4, D), 100.0)
    found = feed(state, features[:, 30:], reward[:, 30:])
    np.testing.assert_allclose(found.next["task_vector"], w, atol=1e-5)
    np.testing.assert_allclose(found.info["step_norm"], np.linalg.norm(w - 100.0, axis=1), rtol=1e-4)


@pytest.mark.parametrize("kind", ["twice the same", "sum of others", "always 0", "all always 0"])
def test_features_that_never_span_are_found_out(kind: str) -> None:
    features, _, reward = random_task(n=400)
    if kind == "twice the same":
        features[..., 3] = 1e3 * features[..., 1]
    elif kind == "sum of others":
        features[..., 4] = features[..., :4].sum(-1)
    else:
        features[..., 2 if kind == "always 0" else slice(None)] = 0.0
    found = feed(begin(4, default=2.0), features, reward, 10)
    assert (found.info["rank"] == (0 if kind == "all always 0" else D - 1)).all()
    assert (found.next["task_vector"] == 2.0).all()
    assert all(value.isfinite().all() for value in (*found.next.values(), *found.info.values()))


def test_the_residual_is_what_no_w_explains_even_where_w_is_kept() -> None:
    features, _, _ = random_task(n=400)
    features[..., 3] = features[..., 1]
    noise = np.random.default_rng(5).standard_normal(features.shape[:2])
    for reward, rest in ((features @ np.arange(5.0), 0.0), (noise, 1.0)):
        found = feed(begin(4, default=3.0), features, reward)
        assert (found.next["task_vector"] == 3.0).all()
        np.testing.assert_allclose(found.info["residual"], rest, atol=0.15)
        np.testing.assert_allclose(found.info["residual_share"], rest, atol=0.05)


def test_a_reward_that_changes_is_inconsistent_with_any_w() -> None:
    features, w, reward = random_task(n=60)
    reward[:, 30:] = np.einsum("tnd,td->tn", features[:, 30:], -w)
    assert (feed(begin(4), features[:, :30], reward[:, :30]).info["residual_share"] < 1e-5).all()
    assert (feed(begin(4), features, reward, 2).info["residual_share"] > 0.5).all()


def test_features_that_are_dependent_only_together_are_found_out() -> None:
    """Each of 24 is far from the span of those before it, and yet they are all but singular."""
    d = 24
    triangle = np.eye(d) - np.triu(np.ones((d, d)), 1)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((40, d)))[0]
    features = (turn @ triangle)[None]
    found = feed(begin(1, d=d), features, features.sum(-1))
    assert float(found.info["rank"]) < d


def test_memory_weighs_what_was_seen_before() -> None:
    features, _, reward = random_task(n=20)
    reward = reward + np.random.default_rng(3).standard_normal(reward.shape)
    found = feed(begin(4), features, reward, 2, memory=0.25).next["task_vector"].numpy()
    weight = np.where(np.arange(20) < 10, 0.5, 1.0)[:, None]  # its square is the weight of a squared residual
    for task in range(4):
        x, y = weight * features[task], weight[:, 0] * reward[task]
        np.testing.assert_allclose(found[task], np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-4)


def test_memory_lets_go_of_the_task_before() -> None:
    features, w, reward = random_task(n=800)
    reward[:, 400:] = np.einsum("tnd,td->tn", features[:, 400:], -w)
    found = feed(begin(4), features, reward, 40, memory=0.5)
    np.testing.assert_allclose(found.next["task_vector"], -w, atol=1e-4)
    assert_close(found.next["count"], torch.full((4, 1), 40.0), atol=1e-3, rtol=0)
    even = feed(begin(4), features, reward, 40).next["task_vector"]
    assert np.abs(even.numpy() + w).max() > 0.5


@pytest.mark.parametrize("garbage", [1e38, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("where", ["features", "reward"])
@pytest.mark.parametrize("masked", [True, False])
def test_garbage_does_not_matter(garbage: float, where: str, masked: bool) -> None:
    """Behind a mask, nor where somebody forgot it."""
    features, _, reward = random_task(n=40)
    good = np.arange(40) % 3 > 0
    clean = feed(begin(4), features[:, good], reward[:, good])
    broken, broken_reward = features.copy(), reward.copy()
    if where == "features":
        broken[:, ~good, 2] = garbage
    else:
        broken_reward[:, ~good] = garbage
    mask = np.broadcast_to(good, reward.shape).astype(float) if masked else None
    found = feed(begin(4), broken, broken_reward, mask=mask)
    assert_close(found.next["task_vector"], clean.next["task_vector"], rtol=1e-5, atol=1e-6)
    assert (found.info["valid"] == good.sum()).all()


def test_an_empty_window_changes_nothing() -> None:
    features, _, reward = random_task()
    before = feed(begin(4), features, reward)
    after = feed(before.next, features, reward, mask=np.zeros_like(reward))
    for name, value in before.next.items():
        if name not in ("root", "projection"):  # which are as good in any order of their rows
            assert_close(after.next[name], value, rtol=1e-5, atol=1e-5)
    assert (after.info["valid"] == 0.0).all()
    assert (after.info["residual"] == 0.0).all()


def test_tasks_do_not_see_each_other() -> None:
    features, _, reward = random_task()
    together = feed(begin(4), features, reward).next["task_vector"]
    for task in range(4):
        alone = feed(begin(1), features[task : task + 1], reward[task : task + 1]).next["task_vector"]
        assert_close(alone[0], together[task], rtol=1e-5, atol=1e-6)


def test_the_state_is_declared_as_it_is() -> None:
    initial = initial_state([1.0, 2.0, 3.0])
    assert {t.name: t.shape for t in state_tensors(3)} == {n: tuple(v.shape) for n, v in initial.items()}
    assert {(t.reset, t.written_by) for t in state_tensors(3)} == {("trial", "adapt")}
    assert initial["task_vector"].tolist() == [1.0, 2.0, 3.0]
