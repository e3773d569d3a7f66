"""What policies work out from a window, once more: row by row in numpy, from the formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.features.features import Features, FeaturesConfig
from acclimate_trainer.algorithms.features.policy import features
from acclimate_trainer.algorithms.identify import fit as fits
from acclimate_trainer.algorithms.identify.fit import Belief, Fit, FitConfig, _Point, _Scales
from acclimate_trainer.algorithms.identify.stretches import Cutter
from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.context import Context
from acclimate_trainer.algorithms.model.priors import Priors
from acclimate_trainer.algorithms.model.rows import Rows
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Window, stacked
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.rollouts import draw, rollout
from acclimate_trainer.tasks.point import PointFrameFamily
from acclimate_trainer.tasks.servo.family import ServoFamily
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from .servo_tasks import FAMILY

Array: TypeAlias = NDArray[np.float64]
T, N = 2, 6


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Models that adapt: what is thought after some rows.


def rows(n_x: int, n_y: int) -> Rows:
    weight = torch.ones(T, N)
    weight[0, 2] = weight[1, 4] = 0.0
    return Rows(drawn(T, N, n_x, seed=0), drawn(T, N, n_y, seed=1), weight)


@pytest.mark.parametrize("odd", [False, True])
def test_priors_are_as_likely_as_their_errors_say(odd: bool) -> None:
    """ℓ' = κ·ℓ − ½·e·Σ (error/noise)², the largest of which is then 0; errors beyond 20 count as 20."""
    form = Priors(n_x=3, n_y=2, hidden=4, size=3)
    meta = network.stacked(form.initial(np.random.default_rng(0)), T)
    meta |= {"log_noise": drawn(T, 1, 2, seed=3) - 1.0, "kept": drawn(T, 1, 1, seed=4)}
    given, before = rows(3, 2), {"likelihood": drawn(T, 3, seed=5)}
    if odd:
        given.y[0, 0] = 100.0
    found = form.adapt(meta, before, given)["likelihood"]
    out = network.columns(meta, given.x, 2).double().numpy()
    for task in range(T):
        noise = np.exp(meta["log_noise"][task, 0].double().numpy())
        kept = 1.0 / (1.0 + math.exp(-float(meta["kept"][task, 0, 0])))
        evidence = math.exp(float(meta["log_evidence"][task, 0, 0]))
        expected = kept * before["likelihood"][task].double().numpy()
        for n in range(N):
            for prior in range(3):
                error = (given.y[task, n].numpy() - out[task, n, :, prior]) / noise
                square = float((np.clip(error, -20.0, 20.0) ** 2).sum())
                expected[prior] -= 0.5 * evidence * square * float(given.weight[task, n])
        np.testing.assert_allclose(found[task].numpy(), expected - expected.max(), rtol=1e-3, atol=1e-3)
        share = np.exp(expected - expected.max())
        counts = form.counts({"likelihood": found})[task].numpy()
        np.testing.assert_allclose(counts, share / share.sum(), rtol=1e-3, atol=1e-4)


def test_a_context_is_the_posterior_of_a_linear_regression() -> None:
    """Λ' = κ·Λ + (1 − κ)·I + e·ΣBᵀB, raised a little along its diagonal; z' = κ·z + Λ'⁻¹·e·ΣBᵀ(y − ŷ)."""
    form = Context(n_x=3, n_y=2, hidden=4, size=3)
    meta = network.stacked(form.initial(np.random.default_rng(0)), T)
    meta |= {"log_noise": 0.3 * drawn(T, 1, 2, seed=3), "kept": drawn(T, 1, 1, seed=4)}
    given = rows(3, 2)
    root = torch.linalg.qr(drawn(T, 5, 3, seed=6)).R
    before = {"context": 0.3 * drawn(T, 3, seed=5), "root": root}
    after = form.adapt(meta, before, given)
    out = network.columns(meta, given.x, 2).double().numpy()
    for task in range(T):
        noise = np.exp(meta["log_noise"][task, 0].double().numpy())
        kept = 1.0 / (1.0 + math.exp(-float(meta["kept"][task, 0, 0])))
        evidence = math.exp(float(meta["log_evidence"][task, 0, 0]))
        z = kept * before["context"][task].double().numpy()
        r = root[task].double().numpy()
        precision, pull = kept * r.T @ r + (1.0 - kept) * np.eye(3), np.zeros(3)
        for n in range(N):
            if given.weight[task, n]:
                basis = out[task, n, :, 1:] / noise[:, None]
                rest = (given.y[task, n].numpy() - out[task, n, :, 0] - out[task, n, :, 1:] @ z) / noise
                precision += evidence * basis.T @ basis
                pull += evidence * basis.T @ rest
        precision += 0.05**2 * np.diag(np.diag(precision))
        np.testing.assert_allclose(
            after["context"][task].numpy(), z + np.linalg.solve(precision, pull), rtol=1e-3, atol=1e-4
        )
        found = after["root"][task].double().numpy()
        np.testing.assert_allclose(found.T @ found, precision, rtol=1e-3, atol=1e-3)
        told = form.told(meta, after)[task].numpy()
        np.testing.assert_allclose(told[:3], after["context"][task].numpy())
        np.testing.assert_allclose(told[3:], np.sqrt(np.diag(np.linalg.inv(precision))), rtol=1e-3)


@pytest.mark.parametrize("form", [Priors(3, 2, 4, 3), Context(3, 2, 4, 3)])
def test_at_first_most_is_kept_and_a_row_counts_for_less_than_one_of_its_own(form: Priors | Context) -> None:
    meta = form.initial(np.random.default_rng(0))
    assert float(torch.sigmoid(meta["kept"])) == pytest.approx(0.953, abs=0.001)
    assert float(torch.exp(meta["log_evidence"])) == pytest.approx(0.223, abs=0.001)
    assert torch.equal(meta["log_noise"], torch.full((1, 2), -1.0))


# Frozen features.

FROZEN = FeaturesConfig(
    width=4, hidden=5, depth=2, ahead=2, support_episodes=2, query_episodes=3, episode_steps=9
)


def test_features_are_layers_of_tanh_and_a_one_and_the_head_is_linear_in_them() -> None:
    algorithm, view = Features(FAMILY, FROZEN), View.of(FAMILY)
    begun = algorithm.initial(np.random.default_rng(0))
    meta = {n: v + 0.2 * drawn(*v.shape, seed=i) for i, (n, v) in enumerate(begun.items())}
    policy = algorithm.policy(meta)
    state = {n: v + 0.1 * drawn(*v.shape, seed=7) for n, v in stacked(policy, T, N).items()}
    obs, noise = drawn(T, N, view.n_obs, seed=8), drawn(T, N, view.n_act, seed=9)
    act = policy.act(state, obs, noise)
    x = view.inputs(obs, state["previous_action"])
    phi = features(state, x)
    for task in range(T):
        for row in range(N):
            h = (x[task, row] * state["scale"][task, 0]).double().numpy()
            for i in range(3):
                h = np.tanh(
                    h @ state[f"w{i}"][task].double().numpy() + state[f"b{i}"][task, 0].double().numpy()
                )
            expected = np.append(h, 1.0)
            np.testing.assert_allclose(phi[task, row].numpy(), expected, rtol=1e-4, atol=1e-5)
            y = expected @ state["head"][task].double().numpy()
            spread = max(float(state["sigma"][task, 0, 0]), 0.1)
            action = y / np.sqrt(1.0 + y**2) + spread * noise[task, row].numpy()
            np.testing.assert_allclose(act.action[task, row].numpy(), action, rtol=1e-4, atol=1e-5)
            kept = act.next["previous_action"][task, row].numpy()
            np.testing.assert_allclose(kept, np.clip(action, -1.0, 1.0), rtol=1e-4, atol=1e-5)


def test_frozen_features_begin_as_widely_spread_as_they_should_and_heads_are_known_by_the_evidence() -> None:
    config = replace(FROZEN, width=150, hidden=120, evidence=7.0)
    meta = Features(FAMILY, config).initial(np.random.default_rng(0))
    for name, spread in {
        "w1": 120**-0.5,
        "w2": 120**-0.5,
        "head": 0.1 * 150**-0.5,
        "b0": 0.0,
        "b2": 0.0,
    }.items():
        assert float(meta[name].square().mean().sqrt()) == pytest.approx(spread, rel=0.3), name
    assert float(meta["w0"].std()) > float(meta["w1"].std())
    assert torch.equal(meta["scale"], torch.ones_like(meta["scale"]))
    assert float(meta["log_evidence"].exp()) == pytest.approx(7.0)
    assert torch.equal(Features(FAMILY, config).policy(meta).prior_precision, torch.eye(151))


def test_the_loss_is_what_driving_costs_before_and_after_each_window() -> None:
    """The same roll-outs again: the cost before any window counts for a share, and each after one for all of it."""
    config = replace(FROZEN, adapt_steps=2, unadapted_weight=0.3, curriculum=(0.0, 0.0))
    complete = Complete.of(FAMILY)
    algorithm = Features(FAMILY, config)
    meta = {n: v.expand(T, *v.shape) for n, v in algorithm.initial(np.random.default_rng(0)).items()}
    losses, rng = algorithm.losses(meta, T, np.random.default_rng(1), 0.5), np.random.default_rng(1)
    policy, machines = algorithm.policy(meta), complete.sample(T, rng, 1.0)
    state, total = {**meta, "precision": policy.prior_precision}, torch.zeros(T)
    for k in range(3):
        if k:
            around = draw(complete, machines, rng, explore=2, measure=0, steps=9)
            state |= policy.adapt(state, rollout(policy, state, complete.spec, around).window()).next
        driven = rollout(
            policy, state, complete.spec, draw(complete, machines, rng, explore=0, measure=3, steps=9)
        )
        costs = complete.costs(driven.window(), driven.reward)
        for cost in costs:
            mean = cost.values.mean(dim=(1, 2))
            total = total + (1.0 if k else 0.3) * cost.weight * (mean.sqrt() if cost.root else mean)
        assert_close(
            losses.report[f"{costs[0].name}_{k}"],
            costs[0].values.mean(dim=(1, 2)).sqrt(),
            rtol=1e-3,
            atol=1e-5,
        )
    assert_close(losses.total, total, rtol=1e-3, atol=1e-4)


# Identification: what a step of the fit is made of.

POINTS = Complete.of(PointFrameFamily(turn=1.0))
SERVOS = Complete.of(ServoFamily("miswired"))
QUICK = FitConfig(stretch=3, starts=7, descents=2, fit_steps=1, evidence=0.5)


def window_of(family: Complete[object], steps: int) -> Window:
    tasks = family.sample(T, np.random.default_rng(1))
    session = family.open(tasks, 2, steps, np.random.default_rng(2))
    seen, actions = [session.obs], 0.4 * drawn(T, 2, steps, family.spec.n_act, seed=4)
    for action in actions.unbind(2):
        session.step(action)
        seen.append(session.obs)
    obs = torch.stack(seen, dim=2)
    unseen = torch.zeros(*obs.shape[:3], family.spec.n_obs - obs.shape[3])
    return Window(torch.cat([obs, unseen], dim=-1), actions, torch.ones(T, 2, steps))


@pytest.mark.parametrize("family", [POINTS, SERVOS])
def test_stretches_are_cut_one_after_the_other_from_where_enough_was_done_before(
    family: Complete[object],
) -> None:
    cutter, window = Cutter(family, 3), window_of(family, 20)
    window.action[0, 0, 3] = 50.0  # far beyond what an actuator takes
    past = cutter.needs - 3
    window.mask[0, 1, past + 4] = 0.0
    cut = cutter.cut(window)
    count = (20 - past) // 3
    assert cut.valid.shape == (T, 2 * count)
    low, high = (torch.tensor(ends) for ends in family.spec.limits())
    sensors = [family.spec.index(n) for c in family.spec.sensors for n in c.scalars]
    middle = torch.tensor([0.5 * (c.maximum + c.minimum) for c in family.spec.sensors for _ in range(c.size)])
    half = torch.tensor([0.5 * (c.maximum - c.minimum) for c in family.spec.sensors for _ in range(c.size)])
    for task in range(T):
        for episode in range(2):
            for n in range(count):
                i, t = episode * count + n, past + 3 * n
                obs = (window.obs[task, episode][:, sensors] - middle) / half
                action = torch.minimum(torch.maximum(window.action[task, episode], low), high)
                assert_close(cut.begin[task, i].float(), obs[t])
                assert_close(cut.measured[task, i].float(), obs[t + 1 : t + 4])
                assert_close(cut.action[task, i].float(), action[t : t + 3])
                assert not past or torch.equal(cut.past[task, i].float(), action[t - past : t])
                assert float(cut.valid[task, i]) == float(window.mask[task, episode, t - past : t + 3].min())
    assert_close(cut.ticks, 3.0 * cut.valid.sum(1))


def test_from_the_truth_a_stretch_is_predicted_as_it_was_measured() -> None:
    tasks = POINTS.sample(T, np.random.default_rng(1))
    cutter = Cutter(POINTS, 3)
    cut = cutter.cut(window_of(POINTS, 20))
    z = POINTS.standard(POINTS.parameters(tasks)).double()
    assert_close(cutter.predict(z, cut), cut.measured, rtol=0, atol=1e-6)
    assert float((cutter.predict(z + 0.3, cut) - cut.measured).abs().max()) > 1e-3


def test_slopes_are_derivatives_of_what_is_predicted() -> None:
    fit = Fit(POINTS, QUICK)
    cut = fit._cutter.cut(window_of(POINTS, 14))
    z = 0.3 * drawn(T, len(POINTS.spec.parameters), seed=2).double()
    point = fit._around(z, cut)
    assert_close(point.rest, (cut.measured - fit._cutter.predict(z, cut)) * cut.valid[..., None, None])
    for i in range(z.shape[1]):
        step = torch.zeros_like(z)
        step[:, i] = 1e-4
        slope = (fit._cutter.predict(z + step, cut) - fit._cutter.predict(z - step, cut)) / 2e-4
        assert_close(point.slopes[:, i], slope, rtol=1e-3, atol=1e-5)
    for i in range(cut.begin.shape[-1]):
        moved = torch.zeros_like(cut.begin)
        moved[..., i] = 1e-4
        ends = [fit._cutter.predict(z, cut._replace(begin=cut.begin + s * moved)) for s in (1.0, -1.0)]
        assert_close(point.begins[:, i], (ends[0] - ends[1]) / 2e-4, rtol=1e-3, atol=1e-5)
    square = (point.rest.square() * cut.valid[..., None, None]).sum((1, 2))
    assert_close(point.variance, square / (3.0 * cut.valid.sum(1, keepdim=True)) + 3e-5**2)


def test_the_begin_of_a_stretch_is_chosen_for_each_column_by_least_squares() -> None:
    """min over g of |b − A·g|² + |g|²: what is left, and g itself, stretch by stretch."""
    columns, begins = drawn(T, 3, 4, 5, 2, seed=0).double(), drawn(T, 2, 4, 5, 2, seed=1).double()
    left = fits._left(columns, begins)
    assert left.shape == (T, 3, 4, 6, 2)
    for task in range(T):
        for n in range(4):
            a = begins[task, :, n].reshape(2, 10).T.numpy()
            for c in range(3):
                b = columns[task, c, n].reshape(10).numpy()
                whole = np.concatenate([a, np.eye(2)])
                g = np.linalg.lstsq(whole, np.concatenate([b, np.zeros(2)]), rcond=None)[0]
                expected = np.concatenate([g, b - a @ g]).reshape(6, 2)
                np.testing.assert_allclose(left[task, c, n].numpy(), expected, rtol=1e-6, atol=1e-8)


def point_by_hand(seed: int, fit: Fit) -> _Point:
    """Anything: of four stretches of three ticks, on two machines."""
    n, p = fit._cutter.n_sensors, len(POINTS.spec.parameters)
    valid = torch.ones(T, 4, dtype=torch.float64)
    valid[0, 1] = 0.0
    masked = valid[:, None, :, None, None]
    return _Point(
        z=drawn(T, p, seed=seed).double(),
        rest=drawn(T, 4, 3, n, seed=seed + 1).double() * masked[:, 0],
        slopes=drawn(T, p, 4, 3, n, seed=seed + 2).double() * masked,
        begins=drawn(T, n, 4, 3, n, seed=seed + 3).double(),
        valid=valid,
        cost=torch.tensor([1.0, -1.0]).double() * (-1) ** seed,
        slope=drawn(T, p, seed=seed + 4).double(),
        curvature=torch.eye(p).double().expand(T, p, p) * (2.0 + seed),
        variance=drawn(T, n, seed=seed + 5).double().square() + 0.1,
        weight=valid * drawn(T, 4, seed=seed + 6).double().abs(),
    )


def belief_by_hand() -> Belief:
    p = len(POINTS.spec.parameters)
    root = drawn(T, p, p, seed=20).double()
    return Belief(0.2 * drawn(T, p, seed=21).double(), root @ root.mT + torch.eye(p).double())


def test_the_normal_equations_are_those_of_weighed_errors() -> None:
    fit = Fit(POINTS, QUICK)
    point, belief = point_by_hand(0, fit), belief_by_hand()
    scales = _Scales(point.variance, point.weight)
    found = fit._weighed(point, scales, belief)
    for task in range(T):
        sigma = point.variance[task].sqrt()
        columns = torch.cat([point.rest[task][None], point.slopes[task]]) / sigma
        begins = point.begins[task] * sigma[:, None, None, None] / sigma
        left = fits._left(columns[None], begins[None])[0]  # (1 + P, 4, 4, n)
        cost, slope, curvature = 0.0, torch.zeros(left.shape[0] - 1).double(), 0.0
        for n in range(4):
            each = left[:, n].flatten(1)
            weight = 0.5 * float(point.weight[task, n])  # of the evidence, half
            cost += weight * float(each[0] @ each[0])
            slope = slope + weight * each[1:] @ each[0]
            curvature = curvature + weight * each[1:] @ each[1:].T
        away = point.z[task] - belief.mean[task]
        assert float(found.cost[task]) == pytest.approx(
            0.5 * (cost + float(away @ belief.precision[task] @ away))
        )
        assert_close(found.slope[task], slope)
        assert_close(found.curvature[task], torch.as_tensor(curvature))


def test_a_stretch_that_is_out_of_all_proportion_counts_for_less() -> None:
    """Cauchy's weight: 1 where errors are as large as σ, half of what it is at none at six times σ², and so on."""
    fit = Fit(POINTS, QUICK)
    left, valid = drawn(T, 4, 4, 2, seed=3).double(), torch.ones(T, 4).double()
    left[0, 1] *= 9.0
    valid[1, 3] = 0.0
    before = _Scales(torch.tensor([[0.5, 2.0], [1.0, 3.0]]).double(), valid)
    found = fit._reconsidered(left, before, valid)
    for task in range(T):
        square = left[task].square()
        weights = [(7 / 6) / (1 + float(square[n].sum()) / 6 / 6) * float(valid[task, n]) for n in range(4)]
        assert found.weight[task].tolist() == pytest.approx(weights)
        share = sum(w * square[n].sum(0) for n, w in enumerate(weights)) / max(3 * sum(weights), 1.0)
        assert_close(found.variance[task], before.variance[task] * share + 3e-5**2)


def test_a_step_is_gauss_newtons_damped_and_within_the_ranges() -> None:
    fit = Fit(POINTS, QUICK)
    point, belief = point_by_hand(0, fit), belief_by_hand()
    damping = torch.tensor([0.1, 3.0]).double()
    found = fit._step(point, belief, damping)
    for task in range(T):
        matrix = (point.curvature[task] + belief.precision[task]).numpy()
        pull = point.slope[task] - belief.precision[task] @ (point.z[task] - belief.mean[task])
        raised = matrix + float(damping[task]) * np.diag(np.diag(matrix))
        z = point.z[task].numpy() + np.linalg.solve(raised, pull.numpy())
        np.testing.assert_allclose(
            found[task].numpy(), np.clip(z, fit._low.numpy(), fit._high.numpy()), rtol=1e-5, atol=1e-6
        )
    far = fit._step(point._replace(slope=1e6 * torch.ones_like(point.slope)), belief, damping)
    assert torch.equal(far.amax(0), far.amin(0))
    assert ((far == fit._low) | (far == fit._high)).all()


def test_the_lowest_of_all_points_is_taken_on_each_machine() -> None:
    fit = Fit(POINTS, QUICK)
    one, two = point_by_hand(0, fit), point_by_hand(1, fit)  # of costs 1, −1 and −1, 1
    found = fits._lowest(T, one, two)
    for task, best in ((0, two), (1, one)):
        for part, expected in zip(found, best, strict=True):
            assert_close(part[task], expected[task])


def test_merit_weighs_how_likely_the_errors_are_and_what_was_thought() -> None:
    fit = Fit(POINTS, QUICK)
    cut = fit._cutter.cut(window_of(POINTS, 14))
    cut.valid[0, 0] = 0.0
    z, belief = drawn(T, len(POINTS.spec.parameters), seed=2).double(), belief_by_hand()
    variance = drawn(T, fit._cutter.n_sensors, seed=3).double().square()
    found = fit._merit(z, variance, belief, cut)
    for task in range(T):
        away = z[task] - belief.mean[task]
        ticks = 3.0 * float(cut.valid[task].sum())
        logs = sum(math.log(float(x)) for x in variance[task])
        expected = 0.5 * (0.5 * ticks * logs + float(away @ belief.precision[task] @ away))
        assert float(found[task]) == pytest.approx(expected)


def test_a_logarithm_may_leave_its_range_by_two_and_nothing_else_may() -> None:
    for family in (POINTS, SERVOS):
        fit, parameters = Fit(family, QUICK), family.spec.parameters
        ends = (torch.tensor([getattr(p, end) for p in parameters]) for end in ("low", "high"))
        low, high = (family.standard(end.unsqueeze(0))[0].double() for end in ends)
        room = torch.tensor([2.0 if p.scale == "log" else 0.0 for p in parameters]).double()
        assert_close(fit._low, low - room)
        assert_close(fit._high, high + room)
