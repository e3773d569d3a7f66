"""Objectives: what the features are, who learns when, and that weights decide what is done."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.rl2.rl2 import new_trial
from acclimate_trainer.algorithms.successor.objective_policies import (
    ActorPolicy,
    ObjectivesPolicy,
    actions,
    direction,
    rewarded,
)
from acclimate_trainer.algorithms.successor.objectives import (
    Objectives,
    ObjectivesConfig,
    successor_features,
)
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Act, Tensors, Window, stacked
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, Progress, TrainingConfig, start, train
from acclimate_trainer.play.trials import run_trial
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .servo_tasks import FAMILY
from .windows import random_window

GLIDERS = GliderFamily()
NAMES = tuple(feature.name for feature in FAMILY.spec.features)
N_FEATURES = len(NAMES)

SMALL = ObjectivesConfig(
    hidden=6, mixing=6, critic=8, episodes=2, episode_steps=20, side_by_side=2, others=2, actor_share=0.5
)
BATCH = TrainingConfig(iterations=4, meta_batch_size=3)


def fresh(
    config: ObjectivesConfig = SMALL, family: TaskFamily[Any] = FAMILY
) -> tuple[Objectives[Any], dict[str, Tensor]]:
    algorithm = Objectives(family, config)
    return algorithm, algorithm.initial(np.random.default_rng(0))


def window(family: TaskFamily[Any] = FAMILY) -> Window:
    """Two episodes of twelve steps on each of three machines."""
    return random_window(3, 2, 12, spec=family.spec)


# Inferring what is rewarded.


def test_rewards_are_the_weighted_features_of_what_has_just_happened() -> None:
    for family in (FAMILY, GLIDERS):
        given, complete = window(family), Complete.of(family)
        w = torch.rand(3, N_FEATURES, generator=torch.Generator().manual_seed(1))
        seen = rewarded(View.of(family), given, w)
        assert torch.equal(seen.obs[..., :4], given.obs)
        assert (seen.obs[:, :, 0, 4] == 0.0).all()
        phi = complete.features(given)[0]
        for task in range(3):
            assert_close(seen.obs[task, :, 1:, 4], phi[task] @ w[task])


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_w_is_inferred_from_rewards_and_reported_where_it_cannot_be(family: TaskFamily[Any]) -> None:
    algorithm, meta = fresh(family=family)
    policy, view = algorithm.policy(meta), View.of(family)
    true = torch.rand(3, N_FEATURES, generator=torch.Generator().manual_seed(1))
    state, given = stacked(policy, 3, 1), near(family, window(family))
    adapt = policy.adapt(state, rewarded(view, given, true))
    assert_close(adapt.next["task_vector"], true, rtol=3e-3, atol=3e-3)
    assert (adapt.info["rank"] == N_FEATURES).all()
    noise = rewarded(view, given, true)
    noise.obs[:, :, :, 4] = torch.randn(noise.obs.shape[:3], generator=torch.Generator().manual_seed(2))
    assert (policy.adapt(state, noise).info["residual_share"] > 0.3).all()


def near(family: TaskFamily[Any], window: Window) -> Window:
    """The window, with targets so near that every feature says something."""
    obs = window.obs.clone()
    for measured, wanted in family.spec.headline.pairs:
        i, j = family.spec.index(measured), family.spec.index(wanted)
        obs[..., j] = obs[..., i] + 0.05 * obs[..., j]
    return window._replace(obs=obs)


def test_what_is_not_seen_of_an_objective_stays_as_it_was() -> None:
    algorithm, meta = fresh()
    policy, still = algorithm.policy(meta), window()
    true = torch.rand(3, N_FEATURES, generator=torch.Generator().manual_seed(1))
    still.action[...] = 0.0  # nothing is commanded, and so nothing is seen of frugal and quiet
    kept = policy.adapt(stacked(policy, 3, 1), rewarded(View.of(FAMILY), still, true))
    assert (kept.info["rank"] == N_FEATURES - 2).all()
    assert_close(kept.next["task_vector"], torch.eye(N_FEATURES)[:1].expand(3, -1), rtol=0, atol=0)


# Acting.


def test_only_the_ratio_of_the_weights_matters() -> None:
    w = torch.tensor([[1.0, 0.0, 0.5, 0.0, 2.0]])
    assert_close(direction(w), direction(7.0 * w))
    assert_close(direction(w).square().sum(-1), torch.ones(1))
    assert direction(torch.tensor([-1.0, 1.0, 0.0, 0.0, 0.0])).tolist() == pytest.approx(
        [0, 1, 0, 0, 0], abs=1e-5
    )


def acted(policy: ObjectivesPolicy, w: Tensor, **changed: Tensor) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    state = stacked(policy, 1, 8) | {"task_vector": w.unsqueeze(0)} | changed
    return policy.act(state, torch.randn(1, 8, 5, generator=rng), torch.zeros(1, 8, 1)).action


def test_the_actor_remembers_what_the_device_took() -> None:
    algorithm, meta = fresh(family=GLIDERS)
    actor, view = algorithm.actor(meta), View.of(GLIDERS)
    act = actor.act(stacked(actor, 2, 3), torch.zeros(2, 3, 5), torch.full((2, 3, 2), 9.0))
    assert (act.action > torch.tensor([0.2, 3.0])).all()
    assert_close(act.next["previous_action"], view.taken(act.action))


def test_by_default_the_first_feature_is_driven_for_and_the_library_has_each_and_all_of_them() -> None:
    algorithm, meta = fresh()
    initial = algorithm.policy(meta).initial()
    assert initial["task_vector"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert torch.equal(initial["library"][:5], torch.eye(5))
    assert_close(initial["library"][5], torch.full((5,), 0.2))
    config = replace(SMALL, default={"quiet": 2.0}, library=({"fast": 1.0}, {"fast": 1.0, "quiet": 0.5}))
    initial = fresh(config)[0].policy(meta).initial()
    assert initial["task_vector"].tolist() == [0.0, 0.0, 0.0, 2.0, 0.0]
    assert initial["library"].tolist() == [[0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.5, 1.0]]


def test_the_action_is_within_what_the_policies_propose_and_not_changed_by_the_reward() -> None:
    algorithm, meta = fresh()
    policy, w = algorithm.policy(meta), torch.tensor([1.0, 0.0, 2.0, 0.0, 0.5])
    library = policy.initial()["library"]
    alone = torch.cat([acted(algorithm.actor(meta), z) for z in (*library, w)], dim=-1)  # (1, 8, P + 1)
    action = acted(policy, w).squeeze(-1)
    assert (action <= alone.amax(-1) + 1e-6).all()
    assert (action >= alone.amin(-1) - 1e-6).all()
    assert float((alone.amax(-1) - alone.amin(-1)).min()) > 0.0


def test_the_policy_worth_most_is_the_one_that_acts() -> None:
    """ψ made by hand: its last layer sees one unit, whose sign is the objective's share of "quiet"."""
    algorithm, meta = fresh()
    for name in ("psi_seen", "psi_objective", "psi_action", "psi_hidden", "psi"):
        meta[name] = torch.zeros_like(meta[name])
    meta["psi_objective"][NAMES.index("quiet"), 0] = 50.0
    meta["psi_bias0"][0, 0] = -25.0
    meta["psi_hidden"][0, 0] = 50.0
    meta["psi"][0, NAMES.index("fast")] = 100.0  # whoever is quiet, it says, is fast
    policy, actor = algorithm.policy(meta), algorithm.actor(meta)
    library = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    fast = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    assert_close(acted(policy, fast, library=library.unsqueeze(0)), acted(actor, library[1]))


def test_a_larger_reward_for_the_same_is_the_same_objective() -> None:
    """Also in the choice among policies, some of which are nearly alike and some are not."""
    algorithm, meta = fresh()
    policy, w = algorithm.policy(meta), torch.tensor([1.0, 0.0, 2.0, 0.0, 0.5])
    assert_close(acted(policy, w), acted(policy, 7.0 * w), rtol=1e-4, atol=1e-5)
    library = policy.initial()["library"]
    alone = torch.cat([acted(algorithm.actor(meta), z) for z in library], dim=-1)
    assert (alone.amax(-1) - alone.amin(-1)).max() > 0.03


def test_policies_that_are_worth_the_same_are_blended() -> None:
    """The action changes no faster with w than the values do: no jump, where an argmax would have one."""
    algorithm, meta = fresh()
    policy = algorithm.policy(meta)
    path = [acted(policy, torch.tensor([1.0, x, 0.1, 0.1, 0.1])) for x in torch.linspace(0.1, 2.0, 401)]
    steps = torch.stack([(b - a).abs().max() for a, b in pairwise(path)])
    whole = torch.stack(path).amax(0) - torch.stack(path).amin(0)
    assert float(steps.max()) < 0.05 * float(whole.max()) + 1e-3


def test_trained_for_one_objective_there_is_nothing_to_choose_from() -> None:
    config = ObjectivesConfig(hidden=6, mixing=6, critic=8, only={"accurate": 1.0, "quiet": 3.0})
    algorithm, meta = fresh(config)
    policy = algorithm.policy(meta)
    assert policy.initial()["library"].tolist() == [[1.0, 0.0, 0.0, 3.0, 0.0]]
    w = policy.initial()["task_vector"]
    assert w.tolist() == [1.0, 0.0, 0.0, 3.0, 0.0]
    assert_close(acted(policy, w), acted(algorithm.actor(meta), w))
    drawn = [algorithm.objectives(5, np.random.default_rng(0), progress) for progress in (0.0, 0.25, 1.0)]
    usual, wanted = torch.eye(N_FEATURES)[0], torch.tensor([0.25, 0.0, 0.0, 0.75, 0.0])
    for w, expected in zip(drawn, (usual, (usual + wanted) / 2.0, wanted), strict=True):
        assert_close(w, expected.expand(5, -1))


# Training.


def test_objectives_are_drawn_from_all_directions() -> None:
    algorithm, _ = fresh()
    w = algorithm.objectives(4000, np.random.default_rng(0))
    assert_close(w.sum(-1), torch.ones(4000))
    assert (w >= 0.0).all()
    assert_close(w.mean(0), torch.full((N_FEATURES,), 1.0 / N_FEATURES), rtol=0, atol=0.02)
    assert float((w.amax(-1) > 0.9).float().mean()) > 0.01  # some care for hardly anything else


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_the_loss_is_minus_the_reward_and_each_tasks_own(family: TaskFamily[Any]) -> None:
    algorithm, meta = fresh(family=family)
    given = {n: v.expand(3, *v.shape).clone().requires_grad_() for n, v in meta.items()}
    losses = algorithm.losses(given, 3, np.random.default_rng(1), 0.0)
    assert_close(losses.total, -losses.report["return"])
    w = algorithm.objectives(3, np.random.default_rng(1))
    phi = torch.stack([losses.report[feature.name] for feature in family.spec.features], dim=-1)
    assert_close((w * phi).sum(-1), losses.report["return"])
    gradient = torch.autograd.grad(losses.total[1], list(given.values()), materialize_grads=True)
    for name, value in zip(given, gradient, strict=True):
        assert (value[0] == 0.0).all()
        acts = not name.removeprefix(FOR_TRAINING).startswith("psi") and name != "sigma"
        assert bool((value[1] != 0.0).any()) is acts, name


def test_the_return_is_that_of_the_actor_told_its_objective() -> None:
    """Recomputed from a trial that is driven here, the features averaged tick by tick."""
    algorithm, meta = fresh(family=GLIDERS)
    complete, given = Complete.of(GLIDERS), {n: v.expand(3, *v.shape) for n, v in meta.items()}
    found = algorithm.losses(given, 3, np.random.default_rng(1), 0.9)
    rng = np.random.default_rng(1)
    w = algorithm.objectives(3, rng)
    trial = new_trial(complete, SMALL, 3, rng, 0.9)
    episodes = run_trial(algorithm.actor(meta), {**given, "task_vector": w}, complete, trial)
    phi = torch.cat([complete.features(part.window())[0] for part in episodes], dim=2)
    assert_close(
        found.report["return"], (phi * w[:, None, None]).sum(-1).mean(dim=(1, 2)), rtol=1e-3, atol=1e-4
    )


def trained(
    iterations: int, config: ObjectivesConfig = SMALL, family: TaskFamily[Any] = FAMILY
) -> list[Progress]:
    algorithm, seen = Objectives(family, config), list[Progress]()
    settings = TrainingConfig(iterations=iterations, meta_batch_size=4)
    train(algorithm, settings, 0, start(algorithm, 0), lambda progress, _: seen.append(progress))
    return seen


def test_first_the_actor_learns_and_then_its_successor_features() -> None:
    seen = trained(4)
    for before, after, psi in ((seen[0], seen[1], False), (seen[2], seen[3], True)):
        changed = {n for n, v in after.meta.items() if not torch.equal(v, before.meta[n])}
        assert changed == {
            n for n in after.meta if n.removeprefix(FOR_TRAINING).startswith("psi") is psi and n != "sigma"
        }


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_the_target_is_the_features_now_and_what_the_policy_earns_after(family: TaskFamily[Any]) -> None:
    algorithm, meta = fresh(family=family)
    w = algorithm.objectives(3, np.random.default_rng(2))
    batch, phi = algorithm.transitions(meta, w, np.random.default_rng(3), 0.5)
    n = 2 * 2 * (20 - 1)  # episodes, side by side, ticks that have a next one
    assert batch.x.shape[:2] == (3, n)
    assert batch.action.shape == (3, n, family.spec.n_act)
    assert batch.action.abs().max() <= 1.0
    assert batch.z.shape == (3, 1 + SMALL.others, N_FEATURES)
    assert phi.shape == (3, N_FEATURES)
    target = algorithm.targets(meta, batch)
    given = {name: value.expand(3, *value.shape) for name, value in meta.items()}
    action = actions(given, batch.next_x, batch.next_hidden, batch.z)
    for k in range(1 + SMALL.others):
        following = batch._replace(
            x=batch.next_x, hidden=batch.next_hidden, action=action[:, :, k], z=batch.z[:, k : k + 1]
        )
        expected = (1.0 - SMALL.discount) * batch.phi + SMALL.discount * successor_features(meta, following)[
            :, :, 0
        ]
        assert_close(target[:, :, k], expected)


def test_successor_features_are_learned_from_an_actor_that_explores() -> None:
    algorithm, meta = fresh()
    w, batches = algorithm.objectives(3, np.random.default_rng(2)), []
    for sigma in (0.1, 0.5):
        wider = {**meta, "sigma": torch.full_like(meta["sigma"], sigma)}
        batches.append(algorithm.transitions(wider, w, np.random.default_rng(3), 0.5)[0])
    first = 19 * torch.arange(4)  # of each episode, where both have seen the same
    deviation = batches[1].action[:, first] - batches[0].action[:, first]
    assert deviation.abs().mean() > 0.1


def test_the_belief_in_a_batch_is_that_of_the_drive() -> None:
    """Recomputed over whole trials, the hidden state is what `act` carried along."""
    algorithm, meta = fresh()
    seen: list[Tensor] = []

    class Watched(ActorPolicy):
        def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
            act = super().act(state, obs, noise)
            seen.append(act.next["hidden"])
            return act

    w = algorithm.objectives(3, np.random.default_rng(2))
    algorithm.actor = lambda m: Watched(m, View.of(FAMILY), algorithm._library, algorithm._default)  # type: ignore[method-assign]
    with torch.no_grad():
        batch, _ = algorithm.transitions(meta, w, np.random.default_rng(3), 0.5)
    driven = torch.stack(seen).view(2, 20, 3, 2, SMALL.hidden)  # (episodes, S, T, E, H)
    expected = driven[:, :-1].permute(2, 0, 3, 1, 4).reshape(3, -1, SMALL.hidden)
    assert_close(batch.hidden, expected, rtol=1e-4, atol=1e-5)


def returns(progress: Progress, config: ObjectivesConfig) -> float:
    algorithm: Objectives[Any] = Objectives(FAMILY, config)
    given = {n: v.expand(64, *v.shape) for n, v in progress.meta.items()}
    with torch.no_grad():
        return float(algorithm.losses(given, 64, np.random.default_rng(9), 1.0).report["return"].mean())


def test_it_learns_to_earn_what_is_asked_for() -> None:
    config = ObjectivesConfig(
        hidden=6,
        mixing=8,
        critic=8,
        episodes=1,
        episode_steps=50,
        side_by_side=2,
        change=0.0,
        actor_share=1.0,
    )
    seen = trained(80, config)
    first, last = returns(seen[0], config), returns(seen[-1], config)
    assert last > first + 0.3
    algorithm, meta, complete = Objectives(FAMILY, config), seen[-1].meta, Complete.of(FAMILY)
    duty = {}
    for name in ("accurate", "frugal"):
        w = torch.eye(N_FEATURES)[NAMES.index(name)].expand(32, -1)
        given = {n: v.expand(32, *v.shape) for n, v in meta.items()} | {"task_vector": w}
        with torch.no_grad():
            trial = new_trial(complete, config, 32, np.random.default_rng(5), 1.0)
            episodes = run_trial(algorithm.actor(meta), given, complete, trial)
        duty[name] = float(torch.cat([e.action for e in episodes], dim=2).clamp(-1, 1).square().mean())
    assert duty["frugal"] < 0.5 * duty["accurate"]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"quiet": -1.0}, "quiet must be a finite number, at least 0"),
        ({"quiet": float("nan")}, "quiet must be a finite number"),
        ({"quiet": 0.0}, "at least one weight must be above 0"),
    ],
)
def test_an_objective_that_cannot_be(only: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ObjectivesConfig(only=only)


@pytest.mark.parametrize("key", ["default", "only", "library"])
def test_an_objective_that_the_family_does_not_have(key: str) -> None:
    objective = {"near": 1.0, "loud": 1.0}
    config = replace(SMALL, **{key: (objective,) if key == "library" else objective})
    with pytest.raises(UsageError) as caught:
        Objectives(GLIDERS, config)
    expected = f"{key}: there is no objective 'loud'; valid names: near, exact, calm, level, soft"
    assert str(caught.value) == expected
