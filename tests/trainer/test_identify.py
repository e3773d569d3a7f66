"""Identification: the fit against known parameters, what it owes the prior, and that what is told is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.identify.fit import Belief, Fit, FitConfig
from acclimate_trainer.algorithms.identify.identify import Identify, IdentifyConfig
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.graphs import graph_of
from acclimate_trainer.contract.policy import Policy, Tensors, Window
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from acclimate_trainer.play.rollouts import draw, rollout
from acclimate_trainer.tasks.arm.family import ArmFamily
from acclimate_trainer.tasks.point import PointFrameFamily
from acclimate_trainer.tasks.servo.family import ServoFamily
from torch import Tensor
from torch.testing import assert_close

from .policy_conformance import AdaptivePolicyConformance, PolicyConformance

QUICK = FitConfig(stretch=4, starts=31, descents=3, fit_steps=6)
SMALL = IdentifyConfig(
    hidden=4, episode_steps=10, side_by_side=2, support_episodes=3, support_steps=14,
    stretch=4, starts=7, descents=2, fit_steps=1,
)  # fmt: skip
POINTS = Complete.of(PointFrameFamily(turn=1.0))


def stacked(belief: Belief, tasks: int) -> Belief:
    return Belief(*(part.expand(tasks, *part.shape) for part in belief))


def driven(machines: object, family: Complete[object], *, episodes: int, steps: int, seed: int = 0) -> Window:
    """Random actions of half of full scale, on machines without noise."""
    rng = np.random.default_rng(seed)
    session = family.open(machines, episodes, steps, rng)  # type: ignore[arg-type]
    actions = torch.tensor(rng.uniform(-0.5, 0.5, (*session.obs.shape[:2], steps, family.spec.n_act)))
    seen = [session.obs]
    for action in actions.float().unbind(2):
        session.step(action)
        seen.append(session.obs)
    obs = torch.stack(seen, dim=2)
    references = torch.zeros(*obs.shape[:3], family.spec.n_obs - obs.shape[3])
    return Window(torch.cat([obs, references], dim=-1), actions.float(), torch.ones(actions.shape[:3]))


def machines_and_truth(tasks: int) -> tuple[object, Tensor]:
    machines = POINTS.sample(tasks, np.random.default_rng(5))
    return machines, POINTS.standard(POINTS.parameters(machines))


class TestIdentifyPolicy(AdaptivePolicyConformance):
    counters = ("precision",)

    @pytest.fixture
    def policy(self) -> Policy:
        algorithm = Identify(ServoFamily("miswired"), SMALL)
        return algorithm.policy(algorithm.initial(np.random.default_rng(0)))

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """Each task's precision is another multiple of the prior's: not every matrix is one."""
        state = PolicyConformance.state(self, policy, tasks, episodes, seed=seed)
        times = 1.0 + 0.1 * torch.arange(tasks).view(-1, 1, 1) + 0.1 * seed
        state["precision"] = policy.initial()["precision"] * times
        return state


# The fit.


def test_without_noise_it_finds_the_true_parameters() -> None:
    machines, truth = machines_and_truth(12)
    fit = Fit(POINTS, replace(QUICK, evidence=1.0))
    found = fit(stacked(fit.prior, 12), driven(machines, POINTS, episodes=2, steps=20))
    assert_close(found.belief.mean.float(), truth, rtol=0, atol=1e-3)
    assert (found.error < 1e-4).all()


def test_a_sign_is_found_by_its_starts() -> None:
    family = Complete.of(ServoFamily("miswired"))
    machines = family.sample(8, np.random.default_rng(3))._replace(noise=torch.zeros(8, 1))
    fit = Fit(family, replace(QUICK, stretch=8, starts=127, descents=6, fit_steps=2))
    found = fit(stacked(fit.prior, 8), driven(machines, family, episodes=4, steps=80))
    polarity = [p.scale for p in family.spec.parameters].index("sign")
    truth = family.standard(family.parameters(machines))
    assert torch.equal(found.belief.mean[:, polarity].float().sign(), truth[:, polarity].sign())


def test_a_motor_without_a_polarity_is_never_found() -> None:
    """Little motion says little, and then what was thought before is likeliest, which has no sign."""
    family = Complete.of(ServoFamily("miswired"))
    machines = family.sample(16, np.random.default_rng(4))
    fit, seen = Fit(family, QUICK), driven(machines, family, episodes=1, steps=20)
    found = fit(
        stacked(fit.prior, 16),
        seen._replace(action=0.0 * seen.action, obs=seen.obs[:, :, :1] + 0.0 * seen.obs),
    )
    polarity = [p.scale for p in family.spec.parameters].index("sign")
    possible = family.standard(family.parameters(machines))[:, polarity].unique()
    assert torch.isin(found.belief.mean[:, polarity].float(), possible).all()


def test_from_nothing_it_returns_what_was_thought_before() -> None:
    machines, truth = machines_and_truth(3)
    window, fit = driven(machines, POINTS, episodes=2, steps=20), Fit(POINTS, QUICK)
    nothing = window._replace(mask=torch.zeros_like(window.mask))
    for mean in (torch.zeros_like(truth), 0.3 * truth):
        before = stacked(fit.prior, 3)._replace(mean=mean)
        found = fit(before, nothing).belief
        assert_close(found.mean.float(), mean, rtol=0, atol=1e-6)
        assert_close(found.precision.float(), before.precision, rtol=0, atol=1e-6)


def test_the_order_of_episodes_is_all_the_same() -> None:
    machines, _ = machines_and_truth(4)
    window, fit = driven(machines, POINTS, episodes=5, steps=20), Fit(POINTS, QUICK)
    window.mask[:, 1, 3:9] = 0.0
    turned = Window(*(part.flip(1) for part in window))
    found, other = (fit(stacked(fit.prior, 4), w).belief for w in (window, turned))
    assert_close(found.mean, other.mean, rtol=0, atol=1e-6)
    assert_close(fit.doubt(found), fit.doubt(other), rtol=1e-6, atol=0)


def test_more_of_the_same_leaves_less_doubt() -> None:
    machines, truth = machines_and_truth(6)
    fit = Fit(POINTS, QUICK)
    belief, doubts = stacked(fit.prior, 6), []
    for seed in range(3):
        doubts.append(fit.doubt(belief))
        belief = fit(belief, driven(machines, POINTS, episodes=1, steps=20, seed=seed)).belief
    assert (doubts[1] < doubts[0]).all()
    assert (doubts[2] <= doubts[1]).all()
    assert_close(belief.mean.float(), truth, rtol=0, atol=0.05)


def test_a_reading_out_of_all_proportion_hardly_counts() -> None:
    machines, truth = machines_and_truth(6)
    window, fit = driven(machines, POINTS, episodes=4, steps=20), Fit(POINTS, QUICK)
    clean = fit(stacked(fit.prior, 6), window).belief.mean
    window.obs[:, 1, 10, 0] += 0.5
    assert (
        (fit(stacked(fit.prior, 6), window).belief.mean - truth).abs() < 0.1 + (clean - truth).abs()
    ).all()


def test_what_is_imagined_is_what_a_fit_finds_on_a_machine_that_is_nearly_linear() -> None:
    """Without noise in the draw: the mean of what fits of that curvature find is the truth, drawn to the prior."""
    machines, truth = machines_and_truth(6)
    window, fit = driven(machines, POINTS, episodes=2, steps=20), Fit(POINTS, QUICK)
    imagined = fit.imagined(truth, stacked(fit.prior, 6), window, torch.zeros_like(truth))
    assert_close(imagined.mean, fit(stacked(fit.prior, 6), window).belief.mean, rtol=0, atol=0.02)


@pytest.mark.parametrize("family", [PointFrameFamily(), ServoFamily("miswired"), ArmFamily()])
def test_all_of_it_is_in_float64(family: TaskFamily[Any]) -> None:
    """No operation mixes precisions: engines would round what is mixed to the coarser one, and slopes with it."""
    complete: Complete[Any] = Complete.of(family)
    fit = Fit(complete, FitConfig(stretch=2, starts=2, descents=1, fit_steps=1))
    window = driven(complete.sample(1, np.random.default_rng(0)), complete, episodes=1, steps=8)

    def run(obs: Tensor, action: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(fit(stacked(fit.prior, 1), Window(obs, action, mask)).belief)

    graph, mixed = graph_of(run, window), set()
    for node in graph.graph.nodes:
        values = [
            each.meta["val"] for each in node.all_input_nodes if isinstance(each.meta.get("val"), Tensor)
        ]
        kinds = {value.dtype for value in values if value.is_floating_point()}
        if len(kinds) > 1:
            mixed.add(str(node.target))
    assert mixed == set()


def test_evidence_that_hardly_counts_leaves_what_was_thought_and_all_of_it_the_truth() -> None:
    """Whatever was thought: also where the starts that the fit may begin at are likelier by what was seen."""
    machines, truth = machines_and_truth(6)
    window = driven(machines, POINTS, episodes=2, steps=20)
    for mean in (torch.zeros_like(truth), -0.5 * truth):
        distances = []
        for evidence in (1e-7, 1e-4, 1.0):
            fit = Fit(POINTS, replace(QUICK, evidence=evidence))
            found = fit(stacked(fit.prior, 6)._replace(mean=mean), window).belief
            distances.append((found.mean.float() - mean).norm(dim=1))
        assert (distances[0] < 0.01).all()
        assert (distances[0] <= distances[1] + 1e-6).all()
        assert_close(distances[2], (truth - mean).norm(dim=1), rtol=0, atol=0.01)


def test_what_is_imagined_is_spread_as_a_linear_fits_finds_are() -> None:
    """With C what a window adds to the precision P: around m + P⁻¹·C·(z − m), with covariance P⁻¹·C·P⁻¹."""
    machines, truth = machines_and_truth(2)
    window, fit = driven(machines, POINTS, episodes=1, steps=12), Fit(POINTS, QUICK)
    before = stacked(fit.prior, 2)._replace(mean=0.2 * truth)
    still = fit.imagined(truth, before, window, torch.zeros_like(truth))
    free = fit.unknown > 0.0
    columns = [
        fit.imagined(truth, before, window, torch.eye(truth.shape[1])[i].expand_as(truth)).mean - still.mean
        for i in range(truth.shape[1])
    ]
    for task in range(2):
        after = still.precision[task]
        added = after - before.precision[task].double()
        inverse = torch.linalg.inv(after + torch.diag((~free).double()))
        spread = torch.stack([column[task] for column in columns], dim=1)
        assert_close(spread @ spread.T, inverse @ added @ inverse, rtol=1e-3, atol=1e-9)
        moved = inverse @ added @ (truth - before.mean)[task].double()
        assert_close(still.mean[task], before.mean[task].double() + moved, rtol=1e-4, atol=1e-6)
        assert (torch.linalg.eigvalsh(added) > -1e-6).all()
    assert_close(fit.doubt(still)[0].square(), torch.diagonal(torch.linalg.inv(still.precision[0])))


def test_the_prior_is_the_familys_own_spread() -> None:
    fit = Fit(POINTS, QUICK)
    z = POINTS.standard(POINTS.parameters(POINTS.sample(20_000, np.random.default_rng(1)))).double()
    covariance = torch.linalg.inv(fit.prior.precision.double())
    assert_close(covariance, z.T @ z / len(z), rtol=0.05, atol=0.05)
    assert (fit.prior.mean == 0.0).all()
    assert torch.equal(fit.unknown, torch.ones(len(z[0])))


def test_a_window_adds_the_more_precision_the_more_a_parameter_shows_in_it() -> None:
    """Of a machine that is linear in what pushes: eight times as many ticks, eight times as much; from none, none."""
    machines, truth = machines_and_truth(4)
    fit = Fit(POINTS, QUICK)
    before = stacked(fit.prior, 4)._replace(mean=truth)
    window = driven(machines, POINTS, episodes=1, steps=12)
    many = Window(*(torch.cat([part] * 8, dim=1) for part in window))
    once, often = (fit.imagined(truth, before, w, torch.zeros_like(truth)).precision for w in (window, many))
    assert_close(often - before.precision, 8.0 * (once - before.precision), rtol=0.02, atol=1e-3)
    assert_close(fit(before, many).ticks, 8.0 * fit(before, window).ticks)
    assert float(fit(before, window).ticks[0]) % QUICK.stretch == 0.0


# The policy, and its training.


def test_what_it_is_told_acts_on_it_and_other_things_do_not() -> None:
    algorithm = Identify(POINTS, SMALL)
    meta = algorithm.initial(np.random.default_rng(0))
    meta["gain"] = meta["gain"] + 0.3
    policy = algorithm.policy(meta)
    state = {name: value.expand(1, *value.shape) for name, value in policy.initial().items()}
    running = {name: state[name].unsqueeze(1) for name in ("hidden", "previous_action", "begins")}

    def action(**changed: Tensor) -> Tensor:
        obs, noise = torch.full((1, 1, 4), 0.3), torch.zeros(1, 1, 2)
        return policy.act({**state, **running, **changed}, obs, noise).action

    assert not torch.equal(action(), action(estimate=state["estimate"] + 1.0))
    assert not torch.equal(action(), action(doubt=state["doubt"] * 0.0))
    assert torch.equal(action(), action(precision=state["precision"] * 2.0))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_is_told_nothing_on_the_share_of_tasks_that_says_so(share: float) -> None:
    algorithm = Identify(POINTS, replace(SMALL, unknown=share))
    meta = algorithm.initial(np.random.default_rng(0))
    many: Tensors = {name: value.expand(5, *value.shape) for name, value in meta.items()}
    rng = np.random.default_rng(1)
    told = algorithm._told(algorithm.policy(many), many, POINTS.sample(5, rng), 5, rng)
    assert bool((told["estimate"] == 0.0).all()) == (share == 1.0)
    assert bool((told["doubt"] == 1.0).all()) == (share == 1.0)


def error(policy: Policy, state: Tensors, family: Complete[object], machines: object) -> Tensor:
    """Root mean square over noise-free episodes that are the same for every state."""
    rng = np.random.default_rng(6)
    around = draw(family, machines, rng, explore=0, measure=4, steps=20)
    obs = rollout(policy, state, family.spec, around).obs
    return (obs[..., :2] - obs[..., 2:]).square().mean().sqrt()


def test_after_a_window_it_drives_better_than_before() -> None:
    """Points whose actuators push anywhere: exploring shows which way."""
    family = Complete.of(PointFrameFamily())
    config = replace(SMALL, hidden=12, episode_steps=20, side_by_side=4, starts=63, descents=4, fit_steps=2)
    algorithm, training = Identify(family, config), TrainingConfig(iterations=49, compiled=False)
    last = start(algorithm, 0)

    def keep(progress: object, figures: object) -> None:
        nonlocal last
        del figures
        last = progress  # type: ignore[assignment]

    train(algorithm, training, 0, last, keep)
    policy, rng = algorithm.policy(last.meta), np.random.default_rng(4)
    machines = family.sample(24, rng)
    kept = [t.name for t in policy.state if t.written_by != "act"]
    state = {name: policy.initial()[name].expand(24, *policy.initial()[name].shape) for name in kept}
    with torch.no_grad():
        window = rollout(
            policy, state, family.spec, draw(family, machines, rng, explore=3, measure=0, steps=14)
        )
        after = {**state, **policy.adapt(state, window.window()).next}
        errors = [error(policy, s, family, machines) for s in (state, after)]
    assert errors[1] < 0.9 * errors[0]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="descents must be at most starts, 4, found 5"):
        FitConfig(starts=4, descents=5)
    with pytest.raises(UsageError, match="evidence must be above 0"):
        IdentifyConfig(evidence=0.0)
    with pytest.raises(UsageError, match="a stretch of 100 ticks does not fit"):
        Identify(ServoFamily(), IdentifyConfig(stretch=100))
